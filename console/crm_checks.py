"""What free requests tell about a CRM: its account, the scopes of the token, and the fields of contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp

from enrichment.crms.base import Account, Crm, CrmContact, Failure, Gone, Page, Property, Writing, Written
from enrichment.outcome import Pause, Refused, Retry, Unclear
from enrichment.providers.base import HttpRequest, HttpResponse
from submitter.transport import Unanswered, Unsent, send

# No contact has this id: a write to it changes nothing, and tells whether the token may write.
NOBODY = CrmContact("0", {}, None, None, (), datetime.fromtimestamp(0, UTC), None)
MOST_OF_AN_ANSWER = 16 << 20  # bytes: the definitions of all fields of contacts
LINKEDIN = "linkedin"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of contacts that we use. *linkedin*: the one to read; None if a person has to choose."""

    linkedin: str | None
    candidates: tuple[Property, ...] = ()
    unknown: tuple[str, ...] = ()  # names in our settings that the CRM does not have


@dataclass(frozen=True, slots=True)
class Standing:
    """The rights of the token. *troubles*: what it may not do, in words."""

    account: str | None
    troubles: tuple[str, ...] = field(default=())


async def ask(
    session: aiohttp.ClientSession, request: HttpRequest, read: Callable[[HttpResponse], Answer | Failure]
) -> Answer | Failure:
    """Make one request, and read its answer."""
    answer = await send(session, request, most=MOST_OF_AN_ANSWER)
    match answer:
        case Unsent(reason) | Unanswered(reason):
            return Retry(reason)
        case _:
            return read(answer)


async def check_token(session: aiohttp.ClientSession, crm: Crm, *, writes: bool) -> Standing:
    """Check the token's account, that it may read contacts, and, if *writes*, that it may write them."""
    account = await ask(session, crm.account(), crm.read_account)
    lacks = account.lacks if isinstance(account, Account) else ()
    troubles = [] if isinstance(account, Account) else [_trouble(account, crm)]
    if not troubles:  # a refused token is refused at every address
        page: Page | Failure = await ask(session, crm.walk(None), crm.read_page)
        if not isinstance(page, Page):
            troubles.append(f"it may not read contacts: {page.reason}")
        if writes:
            written: Written | Gone | Failure = await ask(
                session, crm.write(NOBODY, Writing(status="found")), crm.read_write
            )
            if isinstance(written, Pause | Retry | Unclear):
                troubles.append(f"it may not write contacts: {written.reason}")
    if lacks and troubles:
        troubles.append(f"it lacks the scopes {', '.join(lacks)}")
    return Standing(account.id if isinstance(account, Account) else None, tuple(dict.fromkeys(troubles)))


def _trouble(failure: Failure, crm: Crm) -> str:
    if not isinstance(failure, Retry) or failure.throttled:
        return failure.reason
    return f"{failure.reason}; check {crm.name.upper()}_BASE_URL, and that this machine may call out"


def find_fields(
    properties: Sequence[Property], *, usual: str, wanted: str | None, conditions: Sequence[str] = ()
) -> Fields:
    """Find the field that holds LinkedIn profiles: the *wanted* one, else the *usual* one, else the only candidate.

    *conditions*: the fields that ONLY_IF names. They are checked, because a CRM silently omits fields that it lacks.
    """
    names = {one.name for one in properties}
    candidates = tuple(
        one for one in properties if one.type == "string" and LINKEDIN in f"{one.name} {one.label}".casefold()
    )
    unknown = tuple(name for name in (wanted, *conditions) if name is not None and name not in names)
    if wanted is not None:
        return Fields(wanted, candidates, unknown)
    if usual in names:
        return Fields(usual, candidates, unknown)
    return Fields(candidates[0].name if len(candidates) == 1 else None, candidates, unknown)


async def read_fields(session: aiohttp.ClientSession, crm: Crm) -> tuple[Property, ...] | Failure:
    """Read the definitions of the contacts' fields."""
    return await ask(session, crm.properties(), crm.read_properties)


async def create_properties(session: aiohttp.ClientSession, crm: Crm) -> str | None:
    """Create our own properties where they are missing. Return why that failed, None if it did not."""
    for request in crm.create_properties():
        failure = await ask(session, request, _read_created(crm))
        if failure is not None:
            return failure.reason
    return None


def _read_created(crm: Crm) -> Callable[[HttpResponse], Failure | None]:
    def read(response: HttpResponse) -> Failure | None:
        if 200 <= response.status < 300 or response.status == 409:  # 409: it is there already
            return None
        failure = crm.read_properties(response)
        return failure if isinstance(failure, Retry | Pause | Refused | Unclear) else None

    return read
