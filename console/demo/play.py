"""The run of the demo: send events, create contacts, wait until all lookups end, compare with the vendors' books."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from rich.console import Console
from rich.live import Live

from console.demo import crm_show, show
from console.demo.books import Books, Json
from console.demo.cast import Cast, invent
from console.demo.crm_books import CrmBooks, Story
from console.demo.crm_cast import HAD, Contact, invent_contacts
from console.demo.crm_verdict import judge_contacts
from console.demo.stage import staged
from console.demo.verdict import Verdict, judge, still_open

TICK = 0.25  # seconds between two looks
SAID_EVERY = 5.0  # seconds, where there is no terminal to draw on
LONGEST = 90.0  # seconds for two hundred events to end, and a bit for each more
SETTLED_WITHIN = 10.0  # seconds for the vendors to finish jobs that no lookup waits for
FEW = 12  # contacts shown where events are the most of it

T = TypeVar("T")


@dataclass(slots=True)
class _Account:
    """The record of the run so far."""

    answers: list[Json] = field(default_factory=list)
    lookups: list[Json] = field(default_factory=list)
    stories: list[Story] = field(default_factory=list)
    stats: dict[str, Json] = field(default_factory=dict)
    forged: list[int] = field(default_factory=list)


async def play(*, events: int, seed: int, keep: bool) -> int:
    """Run and judge the demo, then stop everything. Return 0 when all is as it should be, else 1.

    Without *events* only the CRM's contacts play, and all of them are shown.
    """
    console = Console(highlight=False, soft_wrap=True)
    cast, contacts = invent(events, seed) if events else Cast([], [], 0), invent_contacts(seed)
    coming = f"{len(contacts)} contacts are created in HubSpot"
    coming = f"{len(cast)} events come, and {coming}" if events else coming
    console.print(f"Starting PostgreSQL, two pretend vendors, HubSpot and our three processes. Then {coming}.")
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, staged(session, seed) as stage:
        books = Books(session, stage)
        crm = CrmBooks(books, stage.vendors["hubspot"])
        verdict = await stage.unless_one_ends(_play(console, books, crm, cast, contacts))
        console.print(show.verdict_text(verdict))
        console.print(show.where_next(stage, kept=keep), markup=False)
        if keep:
            with suppress(asyncio.CancelledError):
                await stage.until_one_ends()
            console.print("Stopping.")
    return 1 if verdict.differences else 0


async def _play(console: Console, books: Books, crm: CrmBooks, cast: Cast, contacts: Sequence[Contact]) -> Verdict:
    account = _Account()
    expected = len(cast) - cast.repeated + sum(contact.remark != HAD for contact in contacts)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    deadline = begun + LONGEST + len(cast) / 20
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        said, found = begun, False

        def draw() -> None:
            nonlocal said, found
            now = loop.time()
            if not found and any(lookup["status"] == "found" for lookup in account.lookups):
                found = True
                console.print(f"{now - begun:.1f} s: the first number is here")
            if console.is_terminal:
                live.update(show.progress(account.lookups, expected, account.stats, now - begun))
            elif now - said >= SAID_EVERY:
                said = now
                left = expected - sum(lookup["finished_at"] is not None for lookup in account.lookups)
                console.print(f"{now - begun:.0f} s: {left} of {expected} lookups have not ended")

        forging = asyncio.create_task(_forge(books, account))
        creating = asyncio.create_task(crm.create(contacts))
        try:
            for events in (cast.first, cast.later):
                account.answers += await _seen(books, account, draw, books.send(events))
                await _until_all_ended(books, account, draw, deadline)
            account.stories = await _seen(books, account, draw, creating)
            await _until_all_ended(books, account, draw, deadline, crm)
            await _until_settled(books)
        finally:
            forging.cancel()
            creating.cancel()
    account.lookups = await books.listed("lookups")
    await crm.follow(account.stories, account.lookups)
    console.print(show.table(account.lookups))
    console.print(show.numbers(account.lookups))
    console.print(crm_show.contacts(account.stories, FEW if cast.first else len(contacts)))
    console.print(crm_show.summary(account.stories))
    return await _judge(books, crm, account)


async def _judge(books: Books, crm: CrmBooks, account: _Account) -> Verdict:
    unfinished = list(still_open(account.lookups))
    verdict = await judge(books, account.lookups, account.answers, account.forged)
    judge_contacts(verdict, account.stories, await crm.stats())
    if not account.forged:
        verdict.differences.append("no job ever waited for a callback, so none could be forged")
    if unfinished:
        verdict.differences.insert(0, f"{len(unfinished)} lookups did not end in time")
    return verdict


async def _seen(books: Books, account: _Account, draw: Callable[[], None], doing: Awaitable[T]) -> T:
    """Run *doing*, drawing the progress meanwhile, and return its result."""
    task = asyncio.ensure_future(doing)
    try:
        while not task.done():
            await _look(books, account, draw)
            await asyncio.wait([task], timeout=TICK)
        return await task
    finally:
        task.cancel()


async def _until_all_ended(
    books: Books, account: _Account, draw: Callable[[], None], deadline: float, crm: CrmBooks | None = None
) -> None:
    """Wait until every lookup and every contact of the *crm* has ended, at most until the deadline."""
    while asyncio.get_running_loop().time() < deadline:
        await _look(books, account, draw)
        if crm is not None:
            await crm.follow(account.stories, account.lookups)
        if not any(still_open(account.lookups)) and all(story.has_ended for story in account.stories):
            return
        await asyncio.sleep(TICK)


async def _look(books: Books, account: _Account, draw: Callable[[], None]) -> None:
    account.lookups, leadmagic, nyne = await asyncio.gather(
        books.listed("lookups"), books.stats("leadmagic"), books.stats("nyne")
    )
    account.stats = {"leadmagic": leadmagic, "nyne": nyne}
    draw()


async def _until_settled(books: Books) -> None:
    """Wait until the vendors have finished every job and sent every callback, at most SETTLED_WITHIN."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_WITHIN):
            while True:
                stats = await books.stats("nyne")
                if not stats["jobs_unfinished"] and not stats["callbacks_pending"]:
                    return
                await asyncio.sleep(TICK)


async def _forge(books: Books, account: _Account) -> None:
    """Send a false callback as soon as a job waits for one."""
    while not account.forged:
        for lookup in account.lookups:
            for job in lookup["jobs"]:
                if job["state"] == "awaiting":
                    account.forged.append(await books.forge(job["id"]))
                    return
        await asyncio.sleep(TICK / 5)
