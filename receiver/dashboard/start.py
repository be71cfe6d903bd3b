"""/start, the first run: what is not set or connected yet, what to do about it, and a test contact to try it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import Response

from enrichment.crms import CRMS
from enrichment.crms.ways import URL, Way
from enrichment.money import cents
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.first_run import Facts, checks, later
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import as_page, back_to
from receiver.dashboard.session import came_by
from receiver.problems import wrong_fields
from store import present, reports

log = structlog.get_logger()

FIELDS = ("work_email", "profile_url")  # one of them is enough
LONGEST_TICKET = 64  # characters
EXAMPLE = """{"event_id": "evt-1", "record_id": "crm-42", "name": "Jane Doe", "company": "Acme",
 "work_email": "jane@acme.com", "profile_url": "linkedin.com/in/janedoe"}"""
CURL = """curl -s {url} \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{example}'"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A CRM, whether it is connected, and how to connect it."""

    name: str
    label: str
    connection: dict[str, Any] | None
    url: str
    ways: tuple[Way, ...]

    def fill(self, value: str) -> str:
        """Put the address of its events into a value to paste."""
        return value.replace(URL, self.url)


class StartPage:
    """The handlers of the page and of its form."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: Request) -> Response:
        """Answer GET /start."""
        desk, address = self._desk, came_by(request)
        facts = Facts(
            address,
            {row["name"]: dict(row) for row in await reports.provider_states(desk.pool)},
            {name: dict(row) for name, row in (await present.balances(desk.pool)).items()},
            {name: dict(row) for name, row in (await present.processes(desk.pool)).items()},
        )
        base = desk.settings.public_url or address
        return as_page(
            request,
            "start.html",
            checks=list(checks(desk.settings, facts)),
            later=list(later(desk.settings)),
            crms=await self._crms(base),
            generic=await self._has_come("generic"),
            url=f"{base}/events/generic",
            example=EXAMPLE,
            curl=CURL.format(url=f"{base}/events/generic", example=EXAMPLE),
            senders=sorted({holder.name for _, holder in desk.tokens.known if "events" in holder.scopes}),
            prices=[cents(desk.settings.provider(name).credits_per_found) for name in desk.settings.providers],
            ticket=f"dashboard-{uuid4()}",
        )

    async def send(self, request: Request) -> Response:
        """Begin a lookup for the contact that the form names, as POST /v1/lookups does, and show it."""
        form = read_form(request)
        given = {name: form.get(name, "").strip() for name in FIELDS}
        contact = {name: value for name, value in given.items() if value}
        if not contact:
            raise wrong_fields([("", "an e-mail address or a LinkedIn profile")])
        # A form that is sent twice begins one lookup.
        ticket = form.get("ticket", "")[:LONGEST_TICKET] or f"dashboard-{uuid4()}"
        receipt = await self._desk.events.store_contact(contact | {"event_id": ticket})
        log.info("test_contact", lookup=str(receipt.id), who=who(request))
        return back_to(f"/lookups/{receipt.id}", "test-sent")

    async def _crms(self, base: str) -> list[Shown]:
        rows = {row["crm"]: dict(row) for row in await reports.connections(self._desk.pool)}
        return [Shown(name, crm.label, rows.get(name), f"{base}/events/{name}", crm.ways) for name, crm in CRMS.items()]

    async def _has_come(self, source: str) -> bool:
        """Tell whether there is a lookup of *source*."""
        return bool(
            await reports.list_lookups(
                self._desk.pool, status=None, record_id=None, source=source, before=None, limit=1
            )
        )
