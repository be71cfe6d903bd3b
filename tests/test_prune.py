"""`ringback prune`: whole months go when nothing in them is needed any more, and no sooner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from enrichment.settings import Settings
from store import prune_keys
from store.partitions import HISTORY
from tests import factories
from tests.old_history import DAYS, MONTHS, NOW, OLD, OLDER, at, finished_job, lookup, open_lookup
from tests.pruning import left, prune
from tests.wishes import POLICY, end, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

    Make: TypeAlias = Callable[[Pool], Awaitable[Any]]


async def deliver(pool: Pool, lookup_id: UUID) -> None:
    """Insert a delivery of this old lookup, made when the lookup was."""
    await pool.execute(
        "INSERT INTO deliveries (id, lookup_id, channel, state, ended_at) VALUES ($1, $1, 'webhook', 'delivered', $2)",
        lookup_id,
        OLD,
    )


async def test_a_month_that_is_over_goes_as_a_whole(history: Pool, settings: Settings) -> None:
    """Every table's part of the month goes at once, and the keys that led there."""
    old = await finished_job(history)
    await deliver(history, old["lookup_id"])
    new = await take_one(history, work_email="new@acme.co")
    await end(history, new.id)
    before = await left(history)

    fates, said = await prune(settings)

    twice = dict.fromkeys(("events", "lookups", "searches", "finished_jobs"), 2)
    assert before == dict.fromkeys(HISTORY, 1) | twice | {"keys": 4, "fingerprints": 1}
    once = dict.fromkeys(twice, 1)
    assert await left(history) == dict.fromkeys(HISTORY, 0) | once | {"keys": 2, "fingerprints": 1}
    assert fates[str(MONTHS[1])] == "dropped"
    assert f"{MONTHS[1]}: dropped, 1 lookups, " in "\n".join(said)
    assert "Deleted with them: 2 keys, 0 fingerprints of events." in said


async def test_the_sums_of_money_outlive_the_rows(history: Pool, settings: Settings) -> None:
    """Charges can still be compared with a bill after the questions are pruned."""
    await finished_job(history, reserved_on=OLD.date())

    await prune(settings)

    assert await history.fetchval("SELECT sum(charged) FROM usage WHERE day = $1", OLD.date()) == 3


async def test_a_dry_run_drops_nothing(history: Pool, settings: Settings) -> None:
    """It says what would go."""
    await finished_job(history)
    before = await left(history)

    fates, said = await prune(settings, dry_run=True)

    assert fates[str(MONTHS[1])] == "dropped"
    assert f"{MONTHS[1]}: would be dropped, 1 lookups" in "\n".join(said)
    assert await left(history) == before


async def test_a_second_run_finds_nothing(history: Pool, settings: Settings) -> None:
    """Nothing more is dropped; the oldest remaining month is named."""
    await prune(settings)

    fates, said = await prune(settings)

    assert fates == {}
    assert said[0].startswith(f"No month is older than {DAYS} days; the oldest there is: 20")


async def keep_open(pool: Pool) -> None:
    """Insert an open lookup whose search was decided to be another, newer one."""
    search = await factories.search_of(pool, (await lookup(pool, NOW))["id"])
    await open_lookup(pool, search_id=search["id"])


async def keep_asking(pool: Pool) -> None:
    """Insert a late answer's leftover: the lookup has ended, and the next provider is being asked."""
    await factories.job(pool, "awaiting", lookup_id=(await lookup(pool))["id"])


async def keep_job(pool: Pool) -> None:
    """Insert an open job of that month for a lookup that began before."""
    await factories.job(pool, "awaiting", id=at(OLD), lookup_id=(await lookup(pool, OLDER))["id"])


async def keep_job_of_search(pool: Pool) -> None:
    """Insert an open job of today for a search of that month that began for an older lookup."""
    search = await factories.search_of(pool, (await lookup(pool))["id"])
    older = await lookup(pool, OLDER, search_id=search["id"])
    await factories.job(pool, "awaiting", lookup_id=older["id"], search_id=search["id"])


async def keep_search(pool: Pool) -> None:
    """Insert an open search without an open lookup: the process died between two commits."""
    search = await factories.search_of(pool, (await lookup(pool))["id"])
    await pool.execute("UPDATE searches SET status = NULL, ended_at = NULL WHERE id = $1", search["id"])


async def keep_unswept(pool: Pool) -> None:
    """Insert an ended search whose lookups have not all followed."""
    search = await factories.search_of(pool, (await lookup(pool))["id"])
    await pool.execute("UPDATE searches SET unswept = true WHERE id = $1", search["id"])


async def keep_awaited(pool: Pool) -> None:
    """Insert a lookup of today that waits for a search of that month, which has ended: it is decided anew."""
    search = await factories.search_of(pool, (await lookup(pool))["id"])
    await open_lookup(pool, NOW, search_id=search["id"])


async def keep_recent_end(pool: Pool) -> None:
    """Insert a lookup that a person retried: its answer is of yesterday, and may be reused."""
    await lookup(pool, finished_at=NOW - timedelta(days=1))


async def keep_recent_search(pool: Pool) -> None:
    """Insert a search that a late number ended yesterday, for a lookup that had been cancelled."""
    search = await factories.search_of(pool, (await lookup(pool))["id"])
    await pool.execute("UPDATE searches SET ended_at = $2 WHERE id = $1", search["id"], NOW - timedelta(days=1))


async def keep_late_answer(pool: Pool) -> None:
    """Insert a job that was answered yesterday, long after it was given up."""
    await finished_job(pool, finished_at=NOW - timedelta(days=1))


async def keep_doubt(pool: Pool) -> None:
    """Insert a finished job whose callback is still to be verified with the provider."""
    await finished_job(pool, check_at=NOW, check_request_id="req-2")


async def keep_of_older(pool: Pool) -> None:
    """Insert an open lookup of the month before, with a job of this month that names who was asked."""
    await finished_job(pool, lookup_id=(await open_lookup(pool, OLDER))["id"])


async def keep_delivery(pool: Pool) -> None:
    """Insert a delivery of that month that a person replayed, for a lookup of the month before."""
    await factories.delivery(pool, id=at(OLD), lookup_id=(await lookup(pool, OLDER))["id"])


async def keep_told(pool: Pool) -> None:
    """Insert a delivery of today for a lookup of that month, whose result it sends."""
    await factories.delivery(pool, "sending", lookup_id=(await lookup(pool))["id"])


KEPT: list[tuple[Make, str]] = [
    (keep_open, "1 lookups that are still open"),
    (keep_asking, "1 open jobs"),
    (keep_job, "1 open jobs"),
    (keep_job_of_search, "1 open jobs"),
    (keep_search, "1 searches that are open or not swept"),
    (keep_unswept, "1 searches that are open or not swept"),
    (keep_awaited, "1 open lookups that wait for its searches"),
    (keep_recent_end, f"1 that ended less than {DAYS} days ago"),
    (keep_recent_search, f"1 that ended less than {DAYS} days ago"),
    (keep_late_answer, f"1 that ended less than {DAYS} days ago"),
    (keep_doubt, "1 jobs whose answer is still to be verified"),
    (keep_of_older, "1 jobs of older lookups that stay"),
    (keep_delivery, "1 deliveries that have not ended"),
    (keep_told, "1 deliveries that have not ended"),
]


@pytest.mark.parametrize(("make", "why"), KEPT, ids=[make.__name__ for make, _ in KEPT])
async def test_what_may_still_be_asked_for_keeps_its_month(
    history: Pool, settings: Settings, make: Make, why: str
) -> None:
    """The month stays as it is, keys included, and the reason is said."""
    await make(history)
    before = await left(history)

    fates, said = await prune(settings)

    assert fates[str(MONTHS[1])] == "kept"
    assert any(line.startswith(f"{MONTHS[1]}: stays, ") and line.endswith(f": {why}") for line in said)
    assert await left(history) == before


async def test_a_month_that_stays_does_not_keep_the_others(history: Pool, settings: Settings) -> None:
    """One lookup that a person asked again does not hold up what came after it."""
    await lookup(history, OLDER, finished_at=NOW)
    await finished_job(history)

    fates, _ = await prune(settings)

    assert (fates[str(MONTHS[0])], fates[str(MONTHS[1])]) == ("kept", "dropped")
    assert (await left(history))["keys"] == 2


async def test_a_month_goes_only_when_all_of_it_is_old_enough(history: Pool, settings: Settings) -> None:
    """A month that did not end so many days ago is not looked at."""
    days = (NOW - MONTHS[1].next.begin).days

    assert str(MONTHS[1]) not in (await prune(settings, days=days + 1, dry_run=True))[0]
    assert str(MONTHS[1]) in (await prune(settings, days=days, dry_run=True))[0]


async def test_a_contact_that_comes_back_afterwards_is_looked_up_anew(history: Pool, settings: Settings) -> None:
    """No key leads to the dropped search, and the new one's keys lead to the new one only."""
    await lookup(history, work_email="jane@acme.co", final_status="found", mobile="+15551234567")
    await prune(settings)

    taken = await take_one(history, work_email="jane@acme.co")

    assert (taken.status, taken.duplicate) == ("queued", False)
    search = await factories.search_of(history, taken.id)
    assert [row["searches"] for row in await history.fetch("SELECT searches FROM keys")] == [[search["id"]]] * 2


async def test_keys_of_what_is_there_stay(history: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys and fingerprints are looked at in portions; only those that lead nowhere are removed."""
    monkeypatch.setattr(prune_keys, "CHUNK", 3)
    for number in range(5):
        await fingerprint(history, await lookup(history), number)
    for number in range(5, 10):
        await fingerprint(history, await lookup(history, NOW), number)

    _, said = await prune(settings)

    rows = await left(history)
    assert (rows["keys"], rows["fingerprints"]) == (10, 5)
    assert "Deleted with them: 10 keys, 5 fingerprints of events." in said
    assert await history.fetchval("SELECT count(*) FROM fingerprints JOIN lookups ON lookups.id = lookup_id") == 5


async def fingerprint(pool: Pool, row: asyncpg.Record, number: int) -> None:
    """Insert the fingerprint of the lookup's event."""
    await pool.execute("INSERT INTO fingerprints VALUES ($1, $2)", number.to_bytes(16, "big"), row["id"])


async def test_links_to_dropped_searches_are_removed(history: Pool, settings: Settings) -> None:
    """A key of searches of several months keeps the remaining ones, the newest last."""
    ids = [(await lookup(history, at, work_email="jane@acme.co"))["id"] for at in (OLD, NOW, NOW)]
    searches = [(await factories.search_of(history, id))["id"] for id in ids]

    await prune(settings)

    assert [row["searches"] for row in await history.fetch("SELECT searches FROM keys")] == [searches[1:]] * 2


async def test_a_shared_key_stays_shared(history: Pool, settings: Settings) -> None:
    """Without the mark, two people with the same address would be taken for one a year later."""
    await lookup(history, work_email="pat@acme.co")
    email = POLICY.hash("email", "pat@acme.co")
    await history.execute("UPDATE keys SET shared = true, searches = '{}' WHERE key = $1", email)

    await prune(settings)

    assert await history.fetch("SELECT key, shared FROM keys") == [(email, True)]


async def test_what_came_without_a_month_is_said(history: Pool, settings: Settings) -> None:
    """The default partition is never dropped; the count of its older rows is printed."""
    await lookup(history, OLDER - timedelta(days=90))

    _, said = await prune(settings)

    assert "1 older lookups stay: they came before their month was made." in said
