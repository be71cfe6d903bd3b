"""Deliveries cost what is due: no statement about them reads through their history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.states import DELIVERY_STATES
from store import deliveries, sweep
from store.connection import WritingConnection
from store.database import PLANNED_ONCE, SERVER_SETTINGS
from store.deliveries import Ended
from store.deliveries_apart import claim_apart
from store.leases import DELIVERIES, Postponed
from store.partitions import NEWEST, ensure_partitions
from store.recovery import hasten
from tests.databases import Databases
from tests.explained import Node, capture, drawn, explain, rows, walk

if TYPE_CHECKING:
    from tests.explained import Connection, Db, Deed

PART = 50  # rows of one batch
READ_AT_MOST = 40 * PART  # rows, in one statement
LEASE = timedelta(seconds=20)
CHANNELS = ("webhook", "hubspot")

SEED = """
INSERT INTO deliveries (id, lookup_id, channel, state, attempt, due_at, lease_expires_at, ended_at)
SELECT id, id, CASE number % 2 WHEN 0 THEN 'webhook' ELSE 'hubspot' END, state::delivery_state, 1,
       CASE number % 3 WHEN 0 THEN now() + interval '1 day' ELSE now() - make_interval(secs => number) END,
       CASE state WHEN 'sending' THEN now() - make_interval(secs => number - 43700) END,
       CASE state WHEN 'delivered' THEN now() END
  FROM (SELECT number,
               CASE WHEN number > 43400 THEN 'sending' WHEN number > 40000 THEN 'queued' ELSE 'delivered' END AS state,
               (lpad(to_hex((extract(epoch FROM now() - make_interval(hours => 2500 - number / 20)) * 1000)::bigint),
                     12, '0')
                || '7' || substr(md5(number::text), 1, 3) || '8' || substr(md5(number::text), 4, 15))::uuid AS id
          FROM generate_series(1, 44000) AS numbers (number)) AS made
"""


async def seed(url: str) -> None:
    """Fill four months."""
    connection = await asyncpg.connect(url)
    await ensure_partitions(connection, since=datetime.now(UTC) - timedelta(days=120))
    await connection.execute(SEED)
    await connection.execute("ANALYZE deliveries")
    await connection.close()


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
    await connection.execute(PLANNED_ONCE)
    yield connection
    await connection.close()


async def some(db: Db, state: str) -> list[asyncpg.Record]:
    """Return deliveries of that state, from all over the table."""
    found: list[asyncpg.Record] = await db.fetch(
        "/* the test's own */ SELECT id, attempt, lookup_id FROM deliveries WHERE state = $1::text::delivery_state"
        " ORDER BY md5(id::text) LIMIT $2",
        state,
        PART,
    )
    return found


async def claims(db: Db) -> None:
    """Claim due deliveries."""
    claimed = await deliveries.claim(db, "webhook", most=PART, lease=LEASE, claim_id=uuid7())
    assert len(claimed.deliveries) == PART


async def claims_apart(db: Db) -> None:
    """Claim what is due to a CRM, apart from what is being sent."""
    claimed = await claim_apart(db, "hubspot", most=PART, lease=LEASE, claim_id=uuid7())
    assert len(claimed.deliveries) == PART


async def hastens(db: Db) -> None:
    """Make due what waits for a CRM after a failure."""
    await db.execute(
        "/* the test's own */ UPDATE deliveries SET error = 'HTTP 503' WHERE state = 'queued' AND due_at > now()"
    )
    assert await hasten(db, "hubspot") > PART


async def rests(db: Db) -> None:
    """Look at a channel for which nothing waits."""
    assert (await deliveries.claim(db, "other", most=PART, lease=LEASE, claim_id=uuid7())).idle


async def leases(db: Db) -> None:
    """Renew, requeue, end and rescue."""
    claimed = await some(db, "sending")
    assert len(await DELIVERIES.renew(db, [(row["id"], row["attempt"]) for row in claimed], LEASE)) == PART
    await deliveries.keep_answers(db, [(row["id"], row["attempt"], "no") for row in claimed[:9]])
    again = [Postponed(row["id"], row["attempt"], LEASE, "HTTP 500") for row in claimed[:9]]
    assert len(await DELIVERIES.requeue(db, again)) == 9
    ended = [Ended(row["id"], row["attempt"], "delivered") for row in claimed[9:]]
    assert len(await deliveries.end(db, ended)) == PART - 9
    assert len(await DELIVERIES.rescue(db, PART)) == PART


async def replays(db: Db) -> None:
    """Send some again."""
    assert len(await deliveries.replay(db, [row["id"] for row in await some(db, "delivered")])) == PART


async def details(db: Db) -> None:
    """Read some, and those of some lookups."""
    found = await some(db, "delivered")
    assert len(await deliveries.read_deliveries(db, [row["id"] for row in found])) == PART
    assert len(await deliveries.deliveries_of(db, [row["lookup_id"] for row in found])) == PART


async def looks(db: Db) -> None:
    """Read the outstanding deliveries."""
    await sweep.look(db)


def listing(channels: tuple[str, ...] = CHANNELS, states: tuple[Any, ...] = DELIVERY_STATES) -> Deed:
    """Return a deed that reads a page of the list, and the page after it."""

    async def listed(db: Db) -> None:
        before = NEWEST
        for _ in range(2):
            ids = await deliveries.list_deliveries(db, channels=channels, states=states, before=before, limit=9)
            before = ids[-1] if ids else before

    return listed


DEEDS: dict[str, Deed] = {
    "claim": claims,
    "claim to a CRM": claims_apart,
    "hasten": hastens,
    "rest": rests,
    "leases": leases,
    "replay": replays,
    "read": details,
    "look": looks,
    "list": listing(),
    "list of a rare state": listing(states=("refused",)),
    "list of a channel": listing(("hubspot",)),
    "list of the delivered": listing(("webhook",), ("delivered",)),
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("deed", DEEDS)
async def test_no_statement_reads_through_the_deliveries(db: Connection, deed: str, mode: str) -> None:
    """Each finds its rows by an index, whichever kind of plan the server makes."""
    sent = await capture(db, DEEDS[deed])
    await db.execute(f"SET plan_cache_mode = {mode}")

    plans = await explain(db, sent)

    assert plans
    for plan in plans:
        read = [node for node in map(Node, walk(plan)) if (node.table or "").startswith("deliveries_")]
        through = [node.table for node in read if node.kind == "Seq Scan" and node.table != "deliveries_default"]
        assert not through, f"{through} is read through:\n{drawn(plan)}"
        assert sum(map(rows, read)) <= READ_AT_MOST, f"{sum(map(rows, read)):,.0f} rows are read:\n{drawn(plan)}"
