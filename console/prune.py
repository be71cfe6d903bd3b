"""`ringback prune`: drop months of history that are no longer needed."""

from __future__ import annotations

import asyncio
import json
import math
import random
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from enrichment.settings import Settings
    from store.partitions import Connection
    from store.prune import Found, Needed

MOST_DAYS = 36_500  # as for REUSE_FOUND_DAYS
TRIES = 20  # attempts to lock all tables of a month for some milliseconds
PAUSE = 0.5  # seconds between two tries, and up to as much again at random


@dataclass
class Pruned:
    """The result of one run, or of a dry run what it would do. Every value is JSON-able."""

    older_than_days: int
    dry_run: bool
    months: list[dict[str, str | int]] = field(default_factory=list)
    keys: int = 0  # deleted, because every search that they led to is gone
    fingerprints: int = 0  # deleted, because their lookup is gone
    campaigns: int = 0  # deleted with their rows and uploads
    lookups_without_month: int = 0


def prune(
    *,
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", min=0, max=MOST_DAYS, help="Keep what is newer.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be dropped; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Drop whole months that ended more than DAYS ago: events, lookups, searches, jobs, callbacks, ledger; and
    campaigns that were made before then.

    A month that is still needed stays, and the reason is printed. The sums in `usage` stay. Safe to run while the
    processes work, and again after an interruption. Exit code 1 if a month could not be dropped now.

    \b
      ringback prune --older-than 365 --dry-run
      ringback prune --older-than 365
    """
    from enrichment.settings import Settings

    settings = Settings.load("console")
    _refuse_too_little(settings, older_than)
    pruned = Pruned(older_than, dry_run)
    asyncio.run(_prune(settings, pruned, (lambda _: None) if as_json else typer.echo))
    if as_json:
        typer.echo(json.dumps(asdict(pruned), indent=2))
    raise typer.Exit(1 if any(month["fate"] == "busy" for month in pruned.months) else 0)


def least_days(settings: Settings) -> tuple[int, str]:
    """Return the least number of days whose history must be kept, and the setting that demands it."""
    reasons = {
        "REUSE_FOUND_DAYS": settings.reuse_found_days,
        "REUSE_NOT_FOUND_DAYS": settings.reuse_not_found_days,
        "JOB_DEADLINE_HOURS": settings.job_deadline / timedelta(days=1),
    }
    name = max(reasons, key=lambda name: reasons[name])
    return max(1, math.ceil(reasons[name])), name


def _refuse_too_little(settings: Settings, days: int) -> None:
    least, name = least_days(settings)
    if days < least:
        why = (
            "a question that was asked since then may still be answered"
            if name == "JOB_DEADLINE_HOURS"
            else "an answer since then is reused for free; without it, the same would be paid for twice"
        )
        typer.echo(
            f"--older-than {days} is too short: {why} ({name}). The least is {least}. "
            f"Remedy: --older-than {least}, or a smaller {name} for all processes first.",
            err=True,
        )
        raise typer.Exit(2)


async def _prune(settings: Settings, pruned: Pruned, say: Callable[[str], None]) -> None:
    from console.database import connected, embedded_exists
    from store import prune as store
    from store.migrations import require_current

    if not embedded_exists(settings):
        return say("There is no database yet, and nothing to drop.")
    cutoff = datetime.now(UTC) - timedelta(days=pruned.older_than_days)
    async with connected(settings) as connection:
        await require_current(connection)
        months = await store.months_before(connection, cutoff)
        if not months:
            oldest = await store.oldest_month(connection)
            say(f"No month is older than {pruned.older_than_days} days; the oldest there is: {oldest or 'none'}.")
        for month in months:
            found = await store.look_at(connection, month, cutoff)
            fate, why = await _fate(connection, found, pruned)
            pruned.months.append(
                {"month": str(month), "fate": fate, "why": why, "lookups": found.lookups, "bytes": found.bytes}
            )
            say(f"{month}: {why}")
        pruned.lookups_without_month = await store.without_month(connection, cutoff)
        if pruned.lookups_without_month:
            say(f"{pruned.lookups_without_month:,} older lookups stay: they came before their month was made.")
        if not pruned.dry_run:
            await _forget(connection, cutoff, pruned)
        if pruned.keys or pruned.fingerprints:
            say(f"Deleted with them: {pruned.keys:,} keys, {pruned.fingerprints:,} fingerprints of events.")
        if pruned.campaigns:
            say(f"Deleted: {pruned.campaigns:,} older campaigns, with their rows and uploads.")
    return None


async def _forget(connection: Connection, cutoff: datetime, pruned: Pruned) -> None:
    """Delete the keys and fingerprints that lead only to dropped months, and the campaigns of that time."""
    from store.prune_campaigns import drop_campaigns
    from store.prune_keys import drop_fingerprints, drop_keys

    async for gone in drop_keys(connection, cutoff):
        pruned.keys += gone
    async for gone in drop_fingerprints(connection, cutoff):
        pruned.fingerprints += gone
    pruned.campaigns = await drop_campaigns(connection, cutoff)


async def _fate(connection: Connection, found: Found, pruned: Pruned) -> tuple[str, str]:
    """Drop a month that is not needed. Return "dropped", "kept" or "busy", and the reason in words."""
    size = f"{found.lookups:,} lookups, {found.bytes / 1e6:,.1f} MB"
    if found.needed:
        return "kept", f"stays, {size}: {_in_words(found.needed, pruned.older_than_days)}"
    if pruned.dry_run:
        return "dropped", f"would be dropped, {size}"
    dropped = await _drop(connection, found)
    if dropped is None:
        return "busy", (
            f"stays for now, {size}: a long transaction is using the tables. Nothing was changed. Remedy: look for a "
            "dump or an old transaction in pg_stat_activity, and run this again"
        )
    return ("dropped", f"dropped, {size}") if dropped else ("kept", f"stays, {size}: it was used just now")


async def _drop(connection: Connection, found: Found) -> bool | None:
    """Drop the month. Return whether it was dropped, or None when the tables were never free."""
    import asyncpg

    from store.prune import drop_month

    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(PAUSE * (1 + random.random()))  # noqa: S311  so that two runs do not collide again
        try:
            return await drop_month(connection, found)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError):
            continue
    return None


def _in_words(needed: Needed, days: int) -> str:
    reasons = {
        "lookups that are still open": needed.open,
        "open jobs": needed.asked,
        "searches that are open or not swept": needed.searching,
        "open lookups that wait for its searches": needed.awaited,
        f"that ended less than {days} days ago": needed.recent,
        "jobs whose answer is still to be verified": needed.to_check,
        "jobs of older lookups that stay": needed.of_others,
        "deliveries that have not ended": needed.delivering,
    }
    return ", ".join(f"{count:,} {what}" for what, count in reasons.items() if count)
