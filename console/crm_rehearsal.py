"""Rehearse a backfill: count the contacts that would be asked about, and the most that this would cost. It is free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from enrichment.crms.base import CrmContact, Failure, Page
from enrichment.money import cents
from enrichment.outcome import Pause, Refused, Retry
from enrichment.providers.base import Provider
from enrichment.reading import Skip, read_contact
from rig.processes import NotRunning
from submitter.crm_calls import CrmCaller, Withheld

TRIES = 5  # tries of one call
LONGEST_PAUSE = 30.0  # seconds between two tries


@dataclass(slots=True)
class Rehearsal:
    """The counts. *contacts*: in the whole span; *read*: the ones read; *askable*, *credits*: of the read ones."""

    contacts: int = 0
    read: int = 0
    askable: int = 0
    credits: Decimal = Decimal(0)
    dearest: Decimal = Decimal(0)  # the most for one contact

    @property
    def is_estimate(self) -> bool:
        """Tell whether only some of the contacts were read."""
        return self.read < self.contacts

    @property
    def most_askable(self) -> int:
        """Return how many of all contacts would be asked about, in proportion to those that were read."""
        return round(self.askable * self._share)

    @property
    def most_credits(self) -> Decimal:
        """Return the most that this would cost: at most one provider's number is paid for per contact."""
        return cents(self.credits * Decimal(self._share))

    @property
    def _share(self) -> float:
        return self.contacts / self.read if self.read else 0.0

    def words(self) -> str:
        """Format the counts as one line."""
        text = f"{self.contacts:,} contacts, {self.most_askable:,} askable, at most {_plain(self.most_credits)} credits"
        return f"{text} (estimated from {self.read:,} of them)" if self.is_estimate else text


def _plain(credits: Decimal) -> str:
    return f"{credits.normalize():,f}"


def price_of(contact: CrmContact, providers: Mapping[str, Provider]) -> Decimal | None:
    """Return the most that asking about this contact would cost; None if it would not be asked about."""
    wish = read_contact(contact, connected_at=None, named_by="backfill", providers=providers)
    if isinstance(wish, Skip):
        return None
    return max((providers[name].price for name in wish.providers), default=Decimal(0))


async def rehearse(
    caller: CrmCaller, providers: Mapping[str, Provider], *, since: datetime, until: datetime, most: int
) -> Rehearsal:
    """Count the contacts created from *since* to *until*, and read up to *most* of them, within the CRM's limits."""
    rehearsal = Rehearsal()
    async for page in pages(caller, since=since, until=until):
        rehearsal.contacts += len(page.changes)
        ids = [change.record_id for change in page.changes][: most - rehearsal.read]
        contacts, unread = await read_contacts(caller, ids)
        for contact in contacts:
            price = price_of(contact, providers)
            rehearsal.askable += price is not None
            rehearsal.credits += price or 0
            rehearsal.dearest = max(rehearsal.dearest, price or Decimal(0))
        rehearsal.read += len(ids) - len(unread)
        if rehearsal.read >= most:
            # Each page's total counts from that page on.
            rehearsal.contacts += max((page.total or 0) - len(page.changes), 0)
            break
    return rehearsal


async def pages(
    caller: CrmCaller, *, since: datetime, until: datetime, after: str | None = None
) -> AsyncIterator[Page]:
    """Yield the pages of contacts created from *since* to *until*. Raise NotRunning if they cannot be read."""
    while True:
        page = await _page(caller, since, until, after)
        yield page
        after = page.after
        if after is None:
            return


async def _page(caller: CrmCaller, since: datetime, until: datetime, after: str | None) -> Page:
    for tries in range(1, TRIES + 1):
        request = caller.crm.sweep(since=since, until=until, after=after, news_only=False)
        page: Page | Failure | Withheld = await caller.call(
            request, caller.crm.read_page, purpose="search", sweeps=True
        )
        if isinstance(page, Page):
            return page
        await _pause(caller, page, tries)
    raise AssertionError("unreachable: the last try raises")


async def read_contacts(caller: CrmCaller, record_ids: list[str]) -> tuple[list[CrmContact], dict[str, str]]:
    """Read these contacts; leave out deleted ones. Return also why others cannot be shown, by id.

    Raise NotRunning if the CRM cannot be called.
    """
    found: list[CrmContact] = []
    unread: dict[str, str] = {}
    step = caller.crm.most_per_read
    for start in range(0, len(record_ids), step):
        left = record_ids[start : start + step]
        for tries in range(1, TRIES + 1):
            shown = await caller.read_many(left, sweeps=True)
            found += [one for id, one in shown.items() if isinstance(one, CrmContact) and one.record_id == id]
            unread |= {id: one.reason for id, one in shown.items() if isinstance(one, Refused)}
            failed = {id: one for id, one in shown.items() if isinstance(one, Retry | Pause | Withheld)}
            if not failed:
                break
            left = list(failed)
            # While others are shown, or to the end, such a failure is the contact's own.
            if all(isinstance(one, Retry) for one in failed.values()) and (found or tries == TRIES) and tries > 1:
                unread |= {id: one.reason for id, one in failed.items()}
                break
            await _pause(caller, max(failed.values(), key=_rank), tries)
    return found, unread


def _rank(why: Retry | Pause | Withheld) -> tuple[bool, float]:
    """Order failures: that the CRM cannot be called counts for more than a contact's, then the longest wait."""
    return not isinstance(why, Retry), getattr(why, "after", None) or 0.0


async def _pause(caller: CrmCaller, why: Failure | Withheld, tries: int) -> None:
    """Wait before the next try. Raise NotRunning after the last, or if waiting does not help."""
    pause = getattr(why, "after", None) or 1.0 * tries
    if tries == TRIES or pause > LONGEST_PAUSE or not hasattr(why, "after"):
        raise NotRunning(f"{caller.crm.label} cannot be read: {why.reason}. Remedy: `ringback doctor`, then try again.")
    await asyncio.sleep(pause)
