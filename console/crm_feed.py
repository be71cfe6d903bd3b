"""Hand a backfill's contacts to the submitter, at a pace that leaves room for live events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from console.crm_link import CrmLink
from console.crm_rehearsal import pages, price_of, read_contacts
from store.backfills import left_to_name, name_old, queued_backfill
from submitter.crm_calls import CrmCaller

MOST_QUEUED = 500  # contacts that may wait to be read; live ones come before them
LOOK_EVERY = 1.0  # seconds between two looks while too many wait
TOLD_EVERY = 1000  # contacts looked at between two lines of progress


@dataclass(slots=True)
class Fed:
    """The progress of a backfill. *passed*: named before, or no longer worth asking about."""

    looked_at: int = 0
    named: int = 0
    stopped: bool = False

    @property
    def passed(self) -> int:
        """Return how many were looked at and not named."""
        return self.looked_at - self.named

    def words(self) -> str:
        """Format the progress as one line."""
        return f"{self.looked_at:,} contacts looked at, {self.named:,} handed to the submitter, {self.passed:,} passed"


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace, and when to stop. *most*: contacts in all; *per_minute*: contacts, None for no limit."""

    stop: asyncio.Event
    most: int | None = None
    per_minute: int | None = None


async def feed(
    link: CrmLink, caller: CrmCaller, pace: Pace, *, since: datetime, until: datetime, say: Callable[[str], None]
) -> Fed:
    """Name the contacts created from *since* to *until* that are worth asking, until all are named or *stop* is set."""
    fed = Fed()
    step = caller.crm.most_per_read
    async for page in pages(caller, since=since, until=until):
        ids = [change.record_id for change in page.changes]
        for start in range(0, len(ids), step):
            if fed.stopped or (pace.most is not None and fed.named >= pace.most):
                return fed
            before = fed.looked_at // TOLD_EVERY
            await _feed_some(link, caller, pace, ids[start : start + step], fed, say)
            if fed.looked_at // TOLD_EVERY > before:
                say(f"{fed.words()}.")
    return fed


async def _feed_some(
    link: CrmLink, caller: CrmCaller, pace: Pace, ids: list[str], fed: Fed, say: Callable[[str], None]
) -> None:
    """Name those of these contacts that are worth asking, when there is room."""
    left = await left_to_name(link.pool, caller.name, ids)
    contacts, unread = await read_contacts(caller, left)
    if unread:
        id, why = next(iter(unread.items()))
        say(f"{len(unread)} contacts cannot be read, and are passed. Of {id}, {link.crm.label} says: {why}.")
    worth = [one.record_id for one in contacts if price_of(one, link.asked) is not None]
    wanted = worth if pace.most is None else worth[: pace.most - fed.named]
    if not await _wait_for_room(link, pace, len(wanted), say):
        fed.stopped = True
        return
    named = await name_old(link.pool, caller.name, wanted) if wanted else 0
    fed.looked_at += len(ids) - (len(worth) - len(wanted))  # leave the others for the next run
    fed.named += named
    if named and pace.per_minute:
        fed.stopped = await _stopped(pace.stop, named * 60 / pace.per_minute)


async def _wait_for_room(link: CrmLink, pace: Pace, wanted: int, say: Callable[[str], None]) -> bool:
    """Wait until the submitter has read enough of the named contacts. Return False if *stop* is set first."""
    said = False
    while not pace.stop.is_set():
        if await queued_backfill(link.pool, link.crm.name) + wanted <= MOST_QUEUED:
            return True
        if not said:
            say(f"{MOST_QUEUED} contacts wait to be read by the submitter; going on as they are.")
            said = True
        await _stopped(pace.stop, LOOK_EVERY)
    return False


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait *seconds*, or until *stop* is set; return whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
