"""Outstanding work costs what is due: no hot statement reads through a table, however the server plans it.

The real functions run, and their statements are explained: planned for their arguments, and for any arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.contact import Contact
from enrichment.ending import Ending, lost
from enrichment.guards import Budget, Guards
from enrichment.outcome import Answered
from enrichment.wish import Wish
from store import asked, history, lookups, providers, prune_keys, reopened, reports, selection_pages, selections, sweep
from store.budgets import Room, release_affordable
from store.callbacks import Callback, record_callbacks
from store.claim import claim
from store.connection import WritingConnection
from store.database import PLANNED_ONCE, SERVER_SETTINGS
from store.endings import apply_endings, follow_ends
from store.ends import unswept_searches
from store.floods import forget_floods
from store.intake import ingest
from store.leases import JOBS
from store.partitions import first_id
from store.pauses import Scope, add_pause, release_braked
from store.payers import pass_on
from store.polls import claim_polls, has_due_polls
from store.searches import lock_known_keys
from tests.api_deeds import OF_THE_API
from tests.databases import Databases
from tests.explained import Db, Deed, Node, big_tables, capture, drawn, explain, rows, walk
from tests.large_history import FINISHED, LEFT_EACH, NOW, PART, seed, some
from tests.wishes import MOBILE, POLICY, PROVIDERS, event

if TYPE_CHECKING:
    from tests.explained import Connection

READ_AT_MOST = 40 * PART  # rows of big tables, in one statement


def answered(id: UUID, **also: Any) -> Ending:
    """Return the ending of a job that brought a number."""
    number: dict[str, Any] = {"mobile": MOBILE, "charged": Decimal(3), "answered_by": "callback"}
    return Ending(job_id=id, state="answered", **number, **also)


async def claims(db: Db) -> None:
    """Claim fresh jobs, and some that failed before."""
    lease = timedelta(seconds=20)
    claimed = await claim(
        db, "leadmagic", most=PART, price=Decimal(3), lease=lease, callback_expected=False, claim_id=uuid7()
    )
    assert len(claimed.jobs) == PART


async def claims_after_a_restore(db: Db) -> None:
    """Claim while some of the queued jobs may have been paid for before a restore."""
    await db.execute(
        "/* the test's own */ INSERT INTO restores (id, since, began_at, began_id, upto, who, closed_at)"
        " SELECT new_id(), now(), now(), new_id(), lookup_id, 'ops', now() FROM jobs"
        " WHERE provider = 'leadmagic' AND state = 'queued' AND held IS NULL ORDER BY lookup_id OFFSET 10 LIMIT 1"
    )
    await claims(db)


async def claims_of_sources(db: Db) -> None:
    """Claim while one source is paused and another one has little left; jobs of theirs stand first."""
    await db.execute(
        "/* the test's own */ UPDATE jobs SET source = (ARRAY['hubspot', 'api', 'generic'])[1 + row % 3] FROM ("
        " SELECT id, row_number() OVER (ORDER BY due_at, id) AS row FROM jobs"
        " WHERE provider = 'leadmagic' AND state = 'queued' AND held IS NULL ORDER BY due_at, id LIMIT 60) AS first"
        " WHERE first.id = jobs.id"
    )
    await add_pause(db, Scope(source="hubspot"), reason="a list", who="ops")
    claimed = await claim(
        db, "leadmagic", most=PART, price=Decimal(3), lease=timedelta(seconds=20), callback_expected=False,
        claim_id=uuid7(), budgets=[Budget(None, "day", Decimal(10_000_000)), Budget(None, "day", Decimal(9), "api")],
    )  # fmt: skip
    assert (claimed.braked > 0, claimed.held > 0, len(claimed.jobs)) == (True, True, PART)


async def brakes(db: Db) -> None:
    """Pause a source, release its held jobs, and let other sources pay for jobs that they wait for."""
    await add_pause(db, Scope(source="hubspot"), reason="a list", who="ops")
    await db.execute(
        "/* the test's own */ UPDATE jobs SET held = 'brake',"
        " source = CASE WHEN id::text < '8' AND right(id::text, 1) < '8' THEN 'hubspot' ELSE 'api' END"
        " WHERE held IS NOT NULL"
    )
    assert await release_braked(db, PART) == PART
    await db.execute("/* the test's own */ UPDATE jobs SET held = 'flood' WHERE held IS NOT NULL")
    assert (await pass_on(db, UUID(int=0), PART, Guards())).looked > 0


async def floods(db: Db) -> None:
    """Intake more searches of a source than its limit."""
    emails = [f"flood-{number}@acme.co" for number in range(PART)]
    wishes = [Wish(Contact(work_email=email), PROVIDERS, fingerprint=email) for email in emails]
    policy = replace(POLICY, guards=Guards({"generic": 2}))
    taken = await ingest(db, [event(one) for one in wishes], policy)
    assert [one.status for (one,) in taken].count("held") == PART - 2
    await forget_floods(db)


async def unsent(db: Db) -> None:
    """Take back questions that were claimed, and not sent."""
    jobs = await some(db, "submitting")
    await asked.release_unsent(db, [(row["id"], row["attempt"]) for row in jobs])


async def polls(db: Db) -> None:
    """Claim jobs that no callback answered."""
    assert await has_due_polls(db, "nyne")
    wait, deadline = timedelta(minutes=1), timedelta(hours=24)
    assert await claim_polls(db, "nyne", most=PART, first=wait, longest=wait, deadline=deadline)


async def leases(db: Db) -> None:
    """Find expired leases, and renew others."""
    assert await sweep.expired_leases(db, PART)
    await JOBS.renew(db, [(row["id"], row["attempt"]) for row in await some(db, "submitting")], timedelta(seconds=20))


async def deadlines(db: Db) -> None:
    """Find jobs that are past their deadline, awaiting or queued."""
    await sweep.past_deadline(db, timedelta(minutes=30), PART)
    await sweep.queued_too_long(db, timedelta(days=35), PART)


async def ends(db: Db) -> None:
    """End jobs, half of them with a number, and let their lookups follow; then one job alone."""
    jobs = await some(db, "submitting")
    endings = [lost(row["id"], "no answer", stop=False) for row in jobs[1 : PART // 2]]
    applied = await apply_endings(db, endings + [answered(row["id"]) for row in jobs[PART // 2 :]], POLICY)
    assert (len(applied.ended), applied.unswept) == (PART - 1, [])
    assert (await apply_endings(db, [answered(jobs[0]["id"])], POLICY)).ended


async def accepts(db: Db) -> None:
    """Store 202s, one of them after its job's end, and a 429."""
    jobs = await some(db, "submitting")
    soon = timedelta(minutes=1)
    told = [asked.Acceptance(row["id"], row["attempt"], f"req-{row['id']}", soon) for row in jobs[1:]]
    assert len(await asked.accept(db, told)) == PART - 1
    await asked.check_overtaken(db, [asked.Acceptance(await over(db), 1, "req-another", soon)])
    assert await asked.requeue(db, [asked.Requeueing(jobs[0]["id"], jobs[0]["attempt"], soon, False, "429")])


async def over(db: Db, state: str = "answered") -> UUID:
    """Return a job that has ended in that state."""
    id: UUID = await db.fetchval(
        "/* the test's own */ SELECT id FROM finished_jobs WHERE state = $1::text::job_state"
        " ORDER BY id OFFSET 40 LIMIT 1",
        state,
    )
    return id


def callback(id: UUID) -> Callback:
    """Return a callback that brings a number."""
    return Callback("nyne", id, b"{}", Answered("+1 555 123 4567"), Decimal(3))


async def callbacks(db: Db) -> None:
    """Apply callbacks for jobs that wait."""
    recorded = await record_callbacks(db, [callback(row["id"]) for row in await some(db, "awaiting")], POLICY, "US")
    assert [one.verdict for one in recorded] == ["applied"] * PART


async def late_callbacks(db: Db) -> None:
    """Apply one for a job that was lost, whose person is asked about again."""
    late = await over(db, "lost")
    lookup_id = await db.fetchval("/* the test's own */ SELECT lookup_id FROM finished_jobs WHERE id = $1", late)
    assert await lookups.retry(db, lookup_id, POLICY)
    (recorded,) = await record_callbacks(db, [callback(late)], POLICY, "US")
    assert recorded.verdict == "late"


async def intake(db: Db) -> None:
    """Take in new contacts; the same events again; and other events about the same contacts."""

    def wish(number: int, email: str) -> Wish:
        return Wish(Contact(work_email=email), PROVIDERS, event_id=f"event-{number}")

    wishes = [wish(number, f"jane-{number}@acme.co") for number in range(PART)]
    await ingest(db, [event(one) for one in wishes], POLICY)
    again = [wish(number, f"jane-{number}@acme.co") for number in range(PART)]
    assert all(one.duplicate for (one,) in await ingest(db, [event(one) for one in again], POLICY))
    others = [wish(PART + number, f"jane-{number}@acme.co") for number in range(PART)]
    assert not any(one.duplicate for (one,) in await ingest(db, [event(one) for one in others], POLICY))


async def known(db: Db) -> None:
    """Lock the searches and keys known of contacts from all over the history."""
    keys = await db.fetch(
        "/* the test's own */ SELECT key FROM keys WHERE NOT shared ORDER BY md5(key) LIMIT $1", 2 * PART
    )
    locked = await lock_known_keys(db, [row["key"] for row in keys])
    assert len(locked.world.searches) > PART


async def follows(db: Db) -> None:
    """Find searches whose process died before their lookups followed, and let them follow."""
    searches = await unswept_searches(db, PART)
    assert len(searches) == FINISHED // LEFT_EACH
    await follow_ends(db, searches, POLICY)
    assert await unswept_searches(db, PART) == []


async def to_decide(db: Db) -> None:
    """Find lookups whose search is gone, and decide them anew."""
    ids = (await reopened.to_decide(db, looked_at=FINISHED)).lookups
    assert len(ids) == FINISHED // LEFT_EACH
    assert await lookups.decide_again(db, ids, POLICY) == len(ids)


async def releases(db: Db) -> None:
    """Release jobs that were held for a budget, and pass the turns of a paused provider."""
    assert await release_affordable(db, "nyne", Room(), PART) == PART
    assert await providers.pass_turns(db, "leadmagic", PART) == 0
    await providers.pause(db, "leadmagic", "no credits", timedelta(minutes=1))
    for _ in range(2):
        assert await providers.pass_turns(db, "leadmagic", PART) == PART


async def forgets(db: Db) -> None:
    """Look at one chunk of keys and one of fingerprints."""
    month = first_id(NOW - timedelta(days=60))
    for statement in (prune_keys._KEYS, prune_keys._FINGERPRINTS):
        row = await db.fetchrow(statement, b"", PART, month)
        assert row["last"] is not None


DEEDS: dict[str, Deed] = {
    "claim": claims,
    "claim for sources": claims_of_sources,
    "claim after a restore": claims_after_a_restore,
    "brake": brakes,
    "floods": floods,
    "release_unsent": unsent,
    "claim_polls": polls,
    "leases": leases,
    "deadlines": deadlines,
    "end": ends,
    "accept and requeue": accepts,
    "record_callbacks": callbacks,
    "late callbacks": late_callbacks,
    "ingest": intake,
    "lock_known_keys": known,
    "follow_ends": follows,
    "to_decide": to_decide,
    "release": releases,
} | OF_THE_API


@pytest.fixture(scope="module")
def seeded_url(databases: Databases) -> Iterator[str]:
    """Return one database for the whole module: every test undoes its changes."""
    with databases.for_a_module() as url:
        asyncio.run(seed(url))
        yield url


@pytest.fixture
async def db(seeded_url: str) -> AsyncIterator[Connection]:
    """Return a connection with the settings of the processes."""
    connection = await asyncpg.connect(
        seeded_url, server_settings=SERVER_SETTINGS, statement_cache_size=0, connection_class=WritingConnection
    )
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let selections look at as few rows as the other deeds."""
    monkeypatch.setattr(selection_pages, "LOOKED_AT", PART)
    monkeypatch.setattr(selections, "CHUNK", PART)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("deed", DEEDS)
async def test_no_hot_statement_reads_through_a_table(db: Connection, deed: str, mode: str) -> None:
    """Each finds its rows by an index, in the months that they lie in, whichever kind of plan the server makes."""
    big = await big_tables(db)
    sent = await capture(db, DEEDS[deed])
    await db.execute(f"SET plan_cache_mode = {mode}")

    plans = await explain(db, sent)

    assert plans
    for plan in plans:
        read = {node: rows(node) for node in map(Node, walk(plan)) if node.table in big}
        through = [node.table for node in read if node.kind == "Seq Scan"]
        assert not through, f"{through} is read through:\n{drawn(plan)}"
        assert sum(read.values()) <= READ_AT_MOST, f"{sum(read.values()):,.0f} rows are read:\n{drawn(plan)}"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_searches_and_lookups_are_locked_in_order(db: Connection, mode: str) -> None:
    """An end locks them in the order of their ids: the sorted rows are the outer side of a nested loop."""
    await db.execute(f"SET plan_cache_mode = {mode}")

    plans = await explain(db, await capture(db, ends))

    nodes = [node for plan in plans for node in walk(plan)]
    hears = [
        child
        for node in nodes
        if node.get("Subplan Name") == "CTE heard"
        for child in node["Plans"]
        if child["Parent Relationship"] == "Outer"
    ]
    locks = [node for node in nodes if node.get("Subplan Name") == "CTE locked"]
    assert hears
    assert locks
    for join in hears + locks:
        outer = join["Plans"][0]
        assert join["Node Type"] == "Nested Loop", drawn(join)
        assert outer.get("CTE Name") == "chosen" or "Sort" in {node["Node Type"] for node in walk(outer)}, drawn(join)


async def test_the_end_of_lookups_is_planned_once(seeded_url: str) -> None:
    """Each month makes its plan larger: to plan it at every end would take ten times as long as the end itself."""
    connection = await asyncpg.connect(seeded_url, server_settings=SERVER_SETTINGS)
    await connection.execute(PLANNED_ONCE)
    try:
        for _ in range(3):
            await capture(connection, ends)
        plans = await connection.fetch(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE $1", "%UPDATE lookups%"
        )
    finally:
        await connection.close()

    assert [tuple(row) for row in plans] == [(6, 0)]


async def test_prune_reads_one_chunk_of_keys_at_a_time(db: Connection) -> None:
    """A chunk costs the same among a thousand keys and among millions: it is always planned for its size."""
    big = await big_tables(db)
    await db.execute("SET plan_cache_mode = force_custom_plan")

    for plan in await explain(db, await capture(db, forgets)):
        read = {node: rows(node) for node in map(Node, walk(plan)) if node.table in big}
        assert not [node.table for node in read if node.kind == "Seq Scan"], drawn(plan)
        assert sum(read.values()) <= READ_AT_MOST, drawn(plan)


async def test_the_sums_of_a_day_do_not_read_the_history(db: Connection) -> None:
    """`ringback status` counts the lookups of 24 hours, and looks into no month that is over."""
    big = await big_tables(db)
    since = datetime.now(UTC) - timedelta(hours=24)
    ids = await db.fetchval("SELECT count(*) FROM lookups WHERE created_at >= $1", since)

    sent = await capture(db, lambda one: reports.lookups_by_status(one, since))
    (plan,) = await explain(db, sent)

    read = sum(rows(node) for node in map(Node, walk(plan)) if node.table in big)
    this_month = await db.fetchval(f"SELECT count(*) FROM lookups WHERE id >= '{first_id(month_of(since))}'")  # noqa: S608
    assert ids <= read <= this_month, drawn(plan)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_history_reads_no_more_rows_than_its_sample(
    db: Connection, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Lookups are counted by an index; the rows of the sample are read, and by an index those of its questions."""
    monkeypatch.setattr(history, "MOST", 5 * PART)
    await db.execute(f"SET plan_cache_mode = {mode}; SET default_transaction_isolation = 'repeatable read'")
    big = await big_tables(db)
    span = history.Span.of_days(30, NOW)
    wanted: dict[str, Any] = {"sources": ("generic", "api"), "provider": None, "source": None}

    plans = await explain(db, await capture(db, lambda pool: history.read_history(pool, span, **wanted)))

    read = {node: rows(node) for plan in plans for node in map(Node, walk(plan)) if node.table in big}
    assert "Seq Scan" not in {node.kind for node in read}
    sampled = {node: number for node, number in read.items() if node.kind == "Sample Scan"}
    questions = {node: number for node, number in read.items() if str(node.table).startswith("finished_jobs")}
    assert min(sum(sampled.values()), sum(questions.values())) > 0
    # Two samples of the lookups, with the open ones on their pages, which are most here.
    assert sum((sampled | questions).values()) <= 4 * READ_AT_MOST


def month_of(moment: datetime) -> datetime:
    """When its month began."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
