"""What is outstanding costs what is due: no hot statement reads through a table, however the server plans it.

The real functions run, and what they sent is explained: once planned for its arguments, once for any.  The tables are
analyzed as autovacuum does it: partition by partition, and never the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from enrichment.contact import Contact
from enrichment.ending import Ending, lost
from enrichment.identity import key_hash
from enrichment.outcome import Answered
from store import asked, by_hand, providers, reports, sweep
from store.callbacks import Callback, record_callbacks
from store.claim import claim
from store.finish import finish
from store.followers import release_followers
from store.intake import Wish, ingest
from store.partitions import ensure_partitions, first_id
from store.providers import register_provider
from tests.databases import Databases
from tests.explained import Db, Deed, Node, big_tables, capture, drawn, explain, rows, walk
from tests.wishes import MOBILE, POLICY, event

if TYPE_CHECKING:
    from tests.explained import Connection

NOW = datetime.now(UTC)
DAYS = 120  # how far back the history goes
FINISHED = 50_000
OF_EACH = 20_000  # open jobs: queued, submitting, awaiting
PART = 50  # rows of one batch
READ_AT_MOST = 40 * PART  # rows of big tables, in one statement

# A number makes everything about a row: an id of its time, a person, a record.
SEED = """
CREATE FUNCTION pg_temp.id(at timestamptz, number bigint, kind text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(number || kind), 1, 3)
                || '8' || substr(md5(number || kind), 4, 15))::uuid
$$;

CREATE TEMP TABLE past AS
SELECT number, pg_temp.id(at, number, 'lookup') AS lookup_id, pg_temp.id(at, number, 'job') AS job_id, at,
       CASE WHEN number % 5000 = 7 THEN 'cancelled' WHEN number % 3 = 0 THEN 'not_found' ELSE 'found' END AS status
  FROM (SELECT number, now() - make_interval(secs => 3600 + 86400.0 * {days} * (1 - number / {finished}.0)) AS at
          FROM generate_series(1, {finished}) AS numbers (number)) AS numbers;

INSERT INTO lookups (id, event_id, source, record_id, work_email, providers, created_at, final_status, finished_at,
                     mobile, provider, reused_from)
SELECT lookup_id, lookup_id, 'generic', 'crm-' || number % 10000, 'old-' || number || '@acme.co', '{{leadmagic,nyne}}',
       at, status::final_status, at, CASE status WHEN 'found' THEN '+15551234567' END,
       CASE status WHEN 'found' THEN 'nyne' END,
       CASE WHEN number % 10 = 0 THEN lag(lookup_id) OVER (ORDER BY number) END
  FROM past;

INSERT INTO finished_jobs (id, lookup_id, provider, state, answered_by, attempt, polls, credits, possible, submitted_at)
SELECT job_id, lookup_id, CASE number % 2 WHEN 0 THEN 'nyne' ELSE 'leadmagic' END, 'answered', 'inline', 1, 0, 3, 0, at
  FROM past;

INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
SELECT job_id, lookup_id, 'nyne', 'charged', 3, at::date FROM past;

INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict)
SELECT job_id, 'x', 'nyne', lookup_id, '', 'applied' FROM past WHERE number % 2 = 0;

INSERT INTO keys (key, lookup_id) SELECT decode(md5('old' || number), 'hex'), lookup_id FROM past;

CREATE TEMP TABLE present AS
SELECT number, pg_temp.id(at, number, 'open lookup') AS lookup_id, pg_temp.id(at, number, 'open job') AS job_id, at,
       CASE number % 2 WHEN 0 THEN 'nyne' ELSE 'leadmagic' END AS provider,
       (ARRAY['queued', 'submitting', 'awaiting'])[1 + number % 3] AS state
  FROM (SELECT number, now() - make_interval(secs => 3600 * (1 - number / ({open} + 1.0))) AS at
          FROM generate_series(1, {open}) AS numbers (number)) AS numbers;

INSERT INTO lookups (id, event_id, source, record_id, work_email, providers, created_at)
SELECT lookup_id, lookup_id, 'generic', 'crm-' || number % 10000, 'new-' || number || '@acme.co', '{{leadmagic,nyne}}',
       at
  FROM present;

INSERT INTO jobs (id, lookup_id, provider, state, held, todo, place, attempt, tries, due_at, submitted_at,
                  lease_expires_at, request_id, reserved, reserved_on)
SELECT job_id, lookup_id, provider, state::job_state,
       CASE WHEN state = 'queued' AND number % 100 = 0 THEN 'budget' END, '{{nyne}}', 0,
       CASE WHEN state = 'queued' AND number % 10 <> 1 THEN 0 ELSE 1 END,
       CASE WHEN state = 'queued' AND number % 10 = 1 THEN 1 ELSE 0 END,
       -- A few are due; most of what was asked is not.
       CASE WHEN state <> 'queued' AND number % 300 > 3 THEN now() + interval '1 hour' ELSE at END,
       CASE WHEN state <> 'queued' OR number % 10 = 1 THEN at END,
       CASE WHEN state = 'submitting' THEN now() + CASE WHEN number % 300 < 3 THEN '-1 s' ELSE '20 s' END::interval END,
       CASE WHEN state = 'awaiting' THEN 'req-' || number END,
       CASE WHEN state <> 'queued' THEN 3 ELSE 0 END, CASE WHEN state <> 'queued' THEN now()::date END
  FROM present;

INSERT INTO keys (key, lookup_id) SELECT decode(md5('new' || number), 'hex'), lookup_id FROM present;

-- Some follow one that is open, and some one that has ended.
INSERT INTO lookups (id, event_id, source, work_email, providers, reused_from)
SELECT pg_temp.id(at, number, 'follower'), lookup_id, 'generic', 'new-' || number || '@acme.co', ARRAY['nyne'],
       lookup_id
  FROM present WHERE number % 600 = 0
 UNION ALL
SELECT pg_temp.id(now(), number, 'follower'), lookup_id, 'generic', 'old-' || number || '@acme.co', ARRAY['nyne'],
       lookup_id
  FROM past WHERE number % 5000 = 1;
UPDATE lookups SET followers = 1 WHERE id IN (SELECT lookup_id FROM present WHERE number % 600 = 0);

INSERT INTO usage (provider, day, slot, charged)
SELECT provider, now()::date - age, slot, 3
  FROM unnest(ARRAY['leadmagic', 'nyne']) AS names (provider), generate_series(1, {days}) AS days (age),
       generate_series(0, 15) AS slots (slot);
"""


async def some(db: Db, state: str, provider: str = "nyne") -> list[asyncpg.Record]:
    """Jobs of that state, from all over the table."""
    rows: list[asyncpg.Record] = await db.fetch(
        "/* the test's own */ SELECT id, lookup_id, attempt, request_id FROM jobs"
        " WHERE state = $1::text::job_state AND provider = $2"
        " ORDER BY md5(id::text) LIMIT $3",
        state,
        provider,
        PART,
    )
    return rows


def answered(id: UUID, **also: Any) -> Ending:
    """A number came."""
    number: dict[str, Any] = {"mobile": MOBILE, "charged": Decimal(3), "answered_by": "callback"}
    return Ending(job_id=id, state="answered", **number, **also)


async def claims(db: Db) -> None:
    """Fresh ones, and some that failed before."""
    lease = timedelta(seconds=20)
    claimed = await claim(db, "leadmagic", most=PART, price=Decimal(3), lease=lease, callback_expected=False)
    assert len(claimed.jobs) == PART


async def polls(db: Db) -> None:
    """What no callback answered."""
    assert await sweep.has_due_polls(db, "nyne")
    wait, deadline = timedelta(minutes=1), timedelta(hours=24)
    assert await sweep.claim_polls(db, "nyne", most=PART, first=wait, longest=wait, deadline=deadline)


async def leases(db: Db) -> None:
    """Whose submitter fell silent; and those that are renewed."""
    assert await sweep.expired_leases(db, PART)
    await asked.renew(db, [(row["id"], row["attempt"]) for row in await some(db, "submitting")], timedelta(seconds=20))


async def deadlines(db: Db) -> None:
    """What nobody hopes for any more, awaiting or queued."""
    await sweep.past_deadline(db, timedelta(minutes=30), PART)
    await sweep.queued_too_long(db, timedelta(days=35), PART)


async def ends(db: Db) -> None:
    """Answers, of which half are numbers; one job alone; and one that was over."""
    jobs = await some(db, "submitting")
    rest = [lost(row["id"], "no answer", stop=False) for row in jobs[1 : PART // 2]]
    assert len(await finish(db, rest + [answered(row["id"]) for row in jobs[PART // 2 :]])) == PART - 1
    assert len(await finish(db, [answered(jobs[0]["id"])])) == 1


async def accepts(db: Db) -> None:
    """202, and 429."""
    jobs = await some(db, "submitting")
    soon = timedelta(minutes=1)
    told = [asked.Acceptance(row["id"], row["attempt"], f"req-{row['id']}", soon) for row in jobs[1:]]
    assert len(await asked.accept(db, told)) == PART - 1
    await asked.check_overtaken(db, [asked.Acceptance(await over(db), 1, "req-another", soon)])
    assert await asked.requeue(db, [asked.Requeueing(jobs[0]["id"], jobs[0]["attempt"], soon, False, "429")])


async def over(db: Db) -> UUID:
    """A job that has ended."""
    id: UUID = await db.fetchval(
        "/* the test's own */ SELECT id FROM finished_jobs WHERE state = 'answered' LIMIT 1 OFFSET 20000"
    )
    return id


async def callbacks(db: Db) -> None:
    """For jobs that wait, and one that is over without an answer."""

    def callback(id: UUID) -> Callback:
        return Callback("nyne", id, b"{}", Answered("5551234567"), lambda _: answered(id))

    late = await over(db)
    await db.execute(
        "/* the test's own */ UPDATE finished_jobs SET state = 'lost', answered_by = NULL WHERE id = $1", late
    )
    recorded = await record_callbacks(db, [callback(row["id"]) for row in await some(db, "awaiting")])
    recorded += await record_callbacks(db, [callback(late)])
    assert [one.verdict for one in recorded] == ["applied"] * PART + ["late"]


async def intake(db: Db) -> None:
    """New persons; the same events again; and somebody who is known from another event."""

    def wish(number: int, email: str) -> Wish:
        return Wish(Contact(work_email=email), None, key_hash("event", str(number)), ("leadmagic",))

    wishes = [wish(number, f"jane-{number}@acme.co") for number in range(PART)]
    await ingest(db, [event(one) for one in wishes], POLICY)
    await ingest(db, [event(one) for one in wishes], POLICY)
    others = [wish(PART + number, f"jane-{number}@acme.co") for number in range(PART)]
    taken = await ingest(db, [event(one) for one in others], POLICY)
    assert not any(one.duplicate for (one,) in taken)


async def followers(db: Db) -> None:
    """Those whose leader ended, and nobody told them."""
    leaders = await sweep.leaders_left_behind(db, PART)
    assert len(leaders) == FINISHED // 5000
    await release_followers(db, leaders, POLICY)


async def releases(db: Db) -> None:
    """The budget is back."""
    assert await providers.release_held(db, "nyne", "budget", PART) == PART


async def decisions(db: Db) -> None:
    """A person's."""
    row = await db.fetchrow("/* the test's own */ SELECT id, lookup_id FROM jobs WHERE held = 'budget' LIMIT 1")
    await by_hand.unhold(db, row["lookup_id"])
    await by_hand.cancel(db, row["lookup_id"])
    await by_hand.possibly_charged(db, row["lookup_id"])


async def details(db: Db) -> None:
    """Some lookups with their jobs."""
    ids = [row["lookup_id"] for row in await some(db, "awaiting")]
    assert len(await reports.read_lookups(db, ids)) == PART


def listing(status: str | None = None, record_id: str | None = None) -> Deed:
    """A page of the list, and the page after it."""

    async def listed(db: Db) -> None:
        before = None
        for _ in range(2):
            ids = await reports.list_lookups(db, status=status, record_id=record_id, before=before, limit=5)
            assert len(ids) == 5 or record_id is not None
            before = ids[-1] if ids else None

    return listed


async def usage(db: Db) -> None:
    """Of a month."""
    assert len(await reports.usage_by_day(db, (NOW - timedelta(days=30)).date())) >= 60


DEEDS: dict[str, Deed] = {
    "claim": claims,
    "claim_polls": polls,
    "leases": leases,
    "deadlines": deadlines,
    "finish": ends,
    "accept and requeue": accepts,
    "record_callbacks": callbacks,
    "ingest": intake,
    "followers": followers,
    "release_held": releases,
    "by hand": decisions,
    "read": details,
    "usage_by_day": usage,
    "list": listing(),
    "list of found": listing("found"),
    "list of a rare status": listing("cancelled"),
    "list of queued": listing("queued"),
    "list of running": listing("running"),
    "list of held": listing("held"),
    "list of a record": listing(record_id="crm-7"),
    "list of a record's found": listing("found", "crm-7"),
    "list of a record's open": listing("queued", "crm-7"),
}


@pytest.fixture(scope="module")
def seeded_url(databases: Databases) -> Iterator[str]:
    """One database for the whole module: whatever its tests do is undone."""
    with databases.for_a_module() as url:
        asyncio.run(seed(url))
        yield url


async def seed(url: str) -> None:
    """Months of history, and much that is open."""
    connection = await asyncpg.connect(url, server_settings={"synchronous_commit": "off"})
    try:
        await ensure_partitions(connection, since=NOW - timedelta(days=DAYS + 1))
        for provider in ("leadmagic", "nyne"):
            await register_provider(connection, provider, (), {60: 1_000_000_000})
        await connection.execute(SEED.format(days=DAYS, finished=FINISHED, open=3 * OF_EACH))
        tables = await connection.fetch("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid > 16383")
        for row in tables:
            await connection.execute(f"VACUUM (ANALYZE) {row[0]}")
    finally:
        await connection.close()


@pytest.fixture
async def db(seeded_url: str) -> AsyncIterator[Connection]:
    """A connection as the processes have it."""
    connection = await asyncpg.connect(seeded_url, server_settings={"jit": "off"}, statement_cache_size=0)
    yield connection
    await connection.close()


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("deed", DEEDS)
async def test_no_hot_statement_reads_through_a_table(db: Connection, deed: str, mode: str) -> None:
    """Each finds its rows by an index, in the partitions that they lie in, whichever kind of plan the server makes."""
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


def month_of(moment: datetime) -> datetime:
    """When its month began."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
