"""After a restore, what may have been paid for is held until a person releases it, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from enrichment.guards import Budget
from enrichment.outcome import Answered
from enrichment.providers.base import Health
from store import figures
from store.database import transaction
from store.lookups import cancel, release_many, retry
from store.pauses import Scope, add_pause, release_braked, remove_pause_of
from store.reading_work import Skipped, end_read
from store.record_lookups import ANSWERED_BEFORE
from store.restore_reports import asked_since, behind, held_lookups, unknown_callbacks
from store.restores import Restore, begin, close, hold_all
from store.sweeps import name
from tests.at_work import BOTH, wish_for
from tests.called_back import found, path_for
from tests.claims import ids, take
from tests.crm_world import crm_world
from tests.factories import job, lookup
from tests.order import Order, one_connection
from tests.test_reading_work import became
from tests.test_reading_work import take as take_readings
from tests.wishes import MOBILE, POLICY, end, read, status, take_one

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.at_work import AtWork
    from tests.conftest import Start
    from tests.wishes import Pool

HOUR = timedelta(hours=1)
NYNE = ("nyne",)


def ago(**given: float) -> datetime:
    """Return a moment in the past."""
    return datetime.now(UTC) - timedelta(**given)


async def restored(db: Pool, since: datetime | None = None) -> Restore:
    """Reconcile after a restore whose data ends ten minutes ago."""
    async with transaction(db) as connection:
        restore = await begin(connection, since or ago(minutes=10), who="ops")
    await hold_all(db)
    return restore


async def closed(db: Pool, restore: Restore) -> int:
    """Close the restore; return how many contacts are yet to be read."""
    async with transaction(db) as connection:
        return await close(connection, restore, who="ops")


async def release(db: Pool, *lookups: UUID) -> None:
    """Release these lookups as a person."""
    async with transaction(db) as connection:
        assert await release_many(connection, lookups) == set(lookups)


async def asked(db: Pool, provider: str = "nyne") -> set[UUID]:
    """Claim what may be asked; return the lookups."""
    return {ours.lookup_id for ours in (await take(db, provider)).jobs}


@pytest.mark.parametrize("held", [None, "brake", "flood", "budget", "paused"])
async def test_what_was_queued_is_held_whatever_it_waited_for(db: Pool, held: str | None) -> None:
    """It may have been let go, asked and paid for since; a pause that ends, or a budget that returns, is no reason."""
    waits = await job(db, held=held)

    await restored(db)

    assert await ids(db, held="restored") == {waits["id"]}
    assert await release_braked(db, 10) == 0
    assert await asked(db) == set()


async def test_what_is_being_asked_goes_on(db: Pool) -> None:
    """A question that the provider has is polled, and one whose submitter is gone becomes unknown: both stay theirs."""
    await job(db, "awaiting")
    await job(db, "submitting")

    await restored(db)

    rows = await db.fetch("SELECT state::text, held FROM jobs")
    assert {tuple(row) for row in rows} == {("submitting", None), ("awaiting", None)}


async def test_what_comes_before_it_is_done_is_held_when_it_would_be_asked(db: Pool) -> None:
    """An event does not say whether it came before, so each waits, paused or not, until a person says done."""
    restore = await restored(db)
    async with transaction(db) as connection:
        await add_pause(connection, Scope(), reason="restored", who="ops")
    before = await take_one(db, providers=NYNE, work_email="jane@acme.co")
    await take(db)
    assert len(await ids(db, held="brake")) == 1
    async with transaction(db) as connection:
        await remove_pause_of(connection, Scope(), who="ops")

    assert await asked(db) == set()
    assert await status(db, before.id) == "held"
    await closed(db, restore)
    after = await take_one(db, providers=NYNE, work_email="joan@acme.co")
    assert await asked(db) == {after.id}
    assert [row["id"] for row in await held_lookups(db)] == [before.id]


async def test_a_person_lets_go_once_and_for_the_whole_chain(db: Pool) -> None:
    """A released search asks one provider after the other, and the same command again does not hold it."""
    first = await take_one(db, providers=("leadmagic", "nyne"), work_email="jane@acme.co")
    restore = await restored(db)

    await release(db, first.id)
    again = await restored(db, restore.since)
    assert await asked(db, "leadmagic") == {first.id}
    await end(db, first.id)

    assert (again.id, again.is_new) == (restore.id, False)
    assert await asked(db, "nyne") == {first.id}


async def test_the_next_provider_of_a_search_that_ran_is_held(db: Pool) -> None:
    """It may have been asked since, when the first one had no number."""
    first = await take_one(db, providers=("leadmagic", "nyne"), work_email="jane@acme.co")
    assert await asked(db, "leadmagic") == {first.id}
    await restored(db)

    await end(db, first.id)

    assert await asked(db, "nyne") == set()
    assert await status(db, first.id) == "held"


async def test_a_lookup_that_is_decided_anew_is_held(db: Pool) -> None:
    """It waited for another's search, and may have begun one of its own since; so it does not, before or after done."""
    first = await take_one(db, providers=NYNE, work_email="jane@acme.co")
    assert await asked(db) == {first.id}
    more = await take_one(db, providers=NYNE, work_email="jane@acme.co", personal_email="jane@home.example")
    assert (await read(db, more.id))["reused_from"] == first.id
    restore = await restored(db)
    await closed(db, restore)

    await end(db, first.id)

    assert (await read(db, more.id))["reused_from"] is None, "it did not begin a search"
    assert await asked(db) == set()
    assert await status(db, more.id) == "held"


async def test_another_source_does_not_let_go(db: Pool) -> None:
    """A lookup that joins a held search pays for a flood or a budget, and not for this."""
    await take_one(db, providers=NYNE, work_email="jane@acme.co")
    await restored(db)

    joined = await take_one(db, providers=NYNE, work_email="jane@acme.co")

    assert await status(db, joined.id) == "held"
    assert await asked(db) == set()


async def test_a_retry_by_a_person_is_asked(db: Pool) -> None:
    """Who retries after the restore has decided; a retry that was queued before it may have been asked since."""
    stale = await lookup(db, providers=["nyne"], final_status="failed")
    assert await retry(db, stale["id"], POLICY)
    await restored(db)
    mine = await lookup(db, providers=["nyne"], final_status="failed")

    assert await retry(db, mine["id"], POLICY)

    assert await asked(db) == {mine["id"]}


async def test_another_restore_holds_what_was_released_before(db: Pool) -> None:
    """Its data ends after the last one began: what was queued then may have been asked since."""
    first = await take_one(db, providers=NYNE, work_email="jane@acme.co")
    before = await restored(db)
    await release(db, first.id)

    again = await restored(db, datetime.now(UTC))

    assert again.id != before.id
    assert await asked(db) == set()
    assert await db.fetchval("SELECT count(*) FROM restores WHERE closed_at IS NULL") == 1


async def test_an_earlier_time_is_still_the_same_restore(db: Pool) -> None:
    """The operator was wrong about it: only what is listed changes."""
    restore = await restored(db, ago(minutes=10))

    again = await restored(db, earlier := ago(minutes=20))

    assert (again.id, again.since) == (restore.id, earlier)
    assert await db.fetchval("SELECT since FROM restores") == earlier


async def test_a_paused_source_and_a_used_up_budget_hold_as_before(db: Pool) -> None:
    """What is held for a restore takes no place of its source: one that may be asked is asked, and the rest is held."""
    old = [await take_one(db, providers=NYNE, work_email=f"old{n}@acme.co") for n in range(2)]
    await closed(db, await restored(db))
    await db.execute("UPDATE jobs SET held = NULL, due_at = due_at - interval '1 s'")
    new = [await take_one(db, providers=NYNE, work_email=f"new{n}@acme.co") for n in range(2)]

    claimed = await take(db, budgets=[Budget(None, "day", Decimal(3), "generic")])

    assert [ours.lookup_id for ours in claimed.jobs] == [new[0].id]
    assert (claimed.restored, claimed.held) == (2, 1)
    assert [row["id"] for row in await held_lookups(db)] == [one.id for one in old]


async def test_a_contact_that_is_yet_to_be_read_when_it_is_done_is_held(db: Pool) -> None:
    """It was named before; one that is named afterwards is asked about as usual."""
    restore = await restored(db)
    await name(db, "hubspot", "sweep", {"1": None, "2": None})
    (reading, *_) = await take_readings(db, most=1)

    unread = await closed(db, restore)
    await name(db, "hubspot", "sweep", {"3": None})
    others = await take_readings(db)
    lookups = await end_read(db, "hubspot", [became(one) for one in (reading, *others)], [], POLICY)

    assert unread == 2
    assert await asked(db, "leadmagic") == {lookups[one.id] for one in others if one.record_id == "3"}
    assert len(await held_lookups(db)) == 2


async def test_a_contact_that_is_read_again_is_asked_about_as_usual(db: Pool) -> None:
    """The mark goes with the end of its reading."""
    restore = await restored(db)
    await name(db, "hubspot", "sweep", {"1": None})
    await closed(db, restore)
    (reading,) = await take_readings(db)
    await end_read(db, "hubspot", [], [Skipped(reading.id, reading.attempt, "it has a mobile")], POLICY)
    await name(db, "hubspot", "event", {"1": None})

    (again,) = await take_readings(db)
    lookups = await end_read(db, "hubspot", [became(again)], [], POLICY)

    assert await asked(db, "leadmagic") == set(lookups.values())


async def test_a_reading_that_ends_while_a_person_says_done_is_held(db: Pool, order: Order) -> None:
    """Its job is there when the lock on its row is free: done waits for it, and holds it."""
    restore = await restored(db)
    await name(db, "hubspot", "sweep", {"1": None})
    (reading,) = await take_readings(db)
    async with order.first() as first:
        await end_read(one_connection(first), "hubspot", [became(reading)], [], POLICY)
        closing = await order.waiting(closed(db, restore))

    assert await closing == 0
    assert len(await ids(db, held="restored", provider="leadmagic")) == 1


async def test_a_callback_for_what_was_queued_answers_it(world: AtWork) -> None:
    """It was asked after the backup: the token finds the job, and the number comes without another question."""
    id = await wish_for(world, "nyne")
    await restored(world.pool)
    (job_id,) = await ids(world.pool, held="restored")

    await world.call_back(job_id, Answered(mobile=MOBILE, credits=None))

    row = await read(world.pool, id)
    assert (row["status"], row["mobile"], row["credits"]) == ("found", MOBILE, Decimal(3))


async def test_a_callback_for_a_job_that_was_lost_is_listed(world: AtWork) -> None:
    """It says that a question was asked; whose it was, is not known any more."""
    since = ago(minutes=10)
    known = await job(world.pool, "awaiting")
    for id in (lost := uuid7(), known["id"]):
        await world.call_back(id, Answered(mobile=MOBILE, request_id=known["request_id"]), b'{"mobile": "+1"}')

    assert [row["job_id"] for row in await unknown_callbacks(world.pool, since)] == [lost]
    assert await unknown_callbacks(world.pool, datetime.now(UTC) + HOUR) == []


async def test_a_callback_for_a_job_that_was_lost_is_said_in_the_log(client: Client) -> None:
    """The operator who forgot the command reads what to do; nothing of the body is in it."""
    with capture_logs() as lines:
        answer = await client.post(path_for(lost := uuid7()), found("req-1"))

    assert answer.status == 200
    (line,) = (line for line in lines if line["event"] == "callback_for_unknown_job")
    assert (line["job"], "ringback reconcile" in line["remedy"]) == (str(lost), True)
    assert MOBILE not in str(lines)


async def test_a_held_lookup_can_be_cancelled(db: Pool) -> None:
    """What was paid for and is on its contact need not be asked."""
    first = await take_one(db, providers=NYNE, work_email="jane@acme.co")
    await restored(db)

    assert await cancel(db, first.id, POLICY)

    assert await status(db, first.id) == "cancelled"
    assert await held_lookups(db) == []


async def test_a_held_lookup_is_cancelled_when_its_contact_has_the_number(start: Start) -> None:
    """The lost database found and wrote it: a person who releases all of HubSpot's does not pay for it again."""
    async with crm_world(start) as world:
        answered, other = world.create(), world.create()
        await world.name(answered, other)
        await world.read()
        await restored(world.pool)
        world.edit(answered, mobilephone=MOBILE)

        await world.name(answered, other)
        await world.read()

        row = await read(world.pool, (await world.reading(answered))["lookup_id"])
        assert (row["status"], row["reason"]) == ("cancelled", ANSWERED_BEFORE)
        assert await status(world.pool, (await world.reading(other))["lookup_id"]) == "held"


async def test_questions_that_were_asked_before_anybody_paused_are_counted(db: Pool) -> None:
    """The processes were up before the command: these questions may have been paid for twice."""
    await job(db, "awaiting", submitted_at=ago(minutes=5))
    await job(db, "awaiting", submitted_at=ago(minutes=15))

    assert await asked_since(db, ago(minutes=10)) == {"nyne": 1}


async def test_a_sweep_that_has_not_come_so_far_is_named(db: Pool) -> None:
    """Until its watermark passes the moment of the command, contacts that changed before are yet to be listed."""
    await db.execute("INSERT INTO connections (crm, swept_to) VALUES ('hubspot', $1)", ago(minutes=10))
    restore = await restored(db)

    assert [row["crm"] for row in await behind(db, restore, ["hubspot"])] == ["hubspot"]
    assert await behind(db, restore, []) == []
    await db.execute("UPDATE connections SET swept_to = clock_timestamp()")
    assert await behind(db, restore, ["hubspot"]) == []


async def test_the_audit_says_who_reconciled(db: Pool) -> None:
    """Both the beginning and the end are recorded, and repeating the command is not."""
    restore = await restored(db)
    await restored(db, restore.since)
    await closed(db, restore)

    rows = await db.fetch("SELECT who, subject FROM audit WHERE action = 'reconcile'")
    assert [tuple(row) for row in rows] == [("ops", str(restore.id))] * 2


async def test_a_figure_is_kept_once_an_hour(db: Pool) -> None:
    """Several reconcilers ask no more often than one; what a provider does not say is not kept."""
    told = Health(well=True, balance=Decimal("12.5"))

    assert await figures.is_due(db, "leadmagic", HOUR)
    assert await figures.keep(db, "leadmagic", told, HOUR)
    assert not await figures.is_due(db, "leadmagic", HOUR)
    assert not await figures.keep(db, "leadmagic", told, HOUR)
    assert not await figures.keep(db, "nyne", Health(well=None), HOUR)
    kept = await figures.figure_before(db, "leadmagic", datetime.now(UTC))
    assert kept is not None
    assert (kept.balance, kept.used, kept.charged) == (Decimal("12.5"), None, Decimal(0))
    assert await figures.figure_before(db, "leadmagic", ago(minutes=1)) is None


async def test_the_reconciler_keeps_what_both_vendors_say(world: AtWork) -> None:
    """The free endpoints are asked, and never the paid ones."""
    await world.reconciler.keep_figures()
    await world.reconciler.keep_figures()

    rows = await world.pool.fetch("SELECT provider FROM vendor_figures ORDER BY provider")
    assert [row["provider"] for row in rows] == list(BOTH)
