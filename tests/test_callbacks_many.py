"""Many callbacks for one job: a few bodies are stored, the others counted, and an answer is never dropped."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from store.callbacks import MOST_OF_A_JOB, MOST_OF_NO_JOB, TOO_MANY
from tests.asgi import Client
from tests.called_back import call_back, found, lookup_of, path_for
from tests.factories import finished_job, job

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

MANY = 200
KIBIBYTE = 1024
FLUSHES_AT_ONCE = 2  # of one receiver: each may store as much, as none sees the other's rows before it has ended


def noise(count: int, size: int = 20, first: int = 0) -> list[bytes]:
    """Return bodies that say nothing, each another one."""
    return [f"{number:08}".encode() + b"x" * (size - 8) for number in range(first, first + count)]


async def send(client: Client, job_id: UUID, bodies: list[bytes]) -> None:
    """Send them all at once; each is acknowledged."""
    answers = await asyncio.gather(*(client.post(path_for(job_id), body) for body in bodies))
    assert {answer.status for answer in answers} == {200}


async def kept(pool: Pool) -> tuple[int, int, int]:
    """Return how many bodies are stored, their bytes, and how many callbacks there were."""
    row = await pool.fetchrow(
        """
        SELECT count(*) FILTER (WHERE body <> '') AS bodies, sum(octet_length(body)) AS bytes, sum(times) AS times
          FROM callbacks
        """
    )
    assert row is not None
    return row["bodies"], row["bytes"], row["times"]


async def surplus(pool: Pool) -> asyncpg.Record | None:
    """Return the row that counts what was not stored."""
    return await pool.fetchrow("SELECT * FROM callbacks WHERE body_hash = ''")


@pytest.mark.parametrize("size", [20, 100 * KIBIBYTE], ids=["small", "large"])
async def test_a_job_stores_few_bodies(client: Client, pool: Pool, size: int) -> None:
    """However many different ones arrive at once, what is stored of one job is bounded, and the rest is counted."""
    row = await job(pool, "awaiting")
    await send(client, row["id"], noise(1))
    count = MANY if size == 20 else 40

    await send(client, row["id"], noise(count, size, 1))

    bodies, stored, times = await kept(pool)
    assert times == count + 1
    assert 4 < bodies <= MOST_OF_A_JOB[0] * FLUSHES_AT_ONCE
    assert stored <= MOST_OF_A_JOB[1] * FLUSHES_AT_ONCE
    counted = await surplus(pool)
    assert counted is not None
    assert (counted["times"], counted["flag"]) == (times - bodies, TOO_MANY)
    metrics = (await client.get("/metrics")).body.decode()
    assert f'ringback_callbacks_surplus_total{{provider="nyne"}} {times - bodies:.1f}' in metrics
    await send(client, row["id"], noise(3, size, 1000))
    assert await kept(pool) == (bodies, stored, times + 3)


async def test_an_unknown_job_stores_fewer(client: Client, pool: Pool) -> None:
    """A job that is not known here, of which nothing can be applied, keeps less; one body of the largest size fits."""
    job_id = uuid7()
    await send(client, job_id, noise(1, 256 * KIBIBYTE))

    await send(client, job_id, noise(50))

    assert await kept(pool) == (1, 256 * KIBIBYTE, 51)
    other = uuid7()
    for body in noise(10):
        await send(client, other, [body])
    assert (await kept(pool))[0] == 1 + MOST_OF_NO_JOB[0]


async def test_two_receivers_overshoot_by_what_is_in_flight(client_with: ClientWith, pool: Pool) -> None:
    """Two processes that store at the same moment keep at most as many bodies as they have commits on their way."""
    row = await job(pool, "awaiting")
    one, two = await client_with(), await client_with()

    await asyncio.gather(send(one, row["id"], noise(100)), send(two, row["id"], noise(100, first=100)))

    bodies, _, times = await kept(pool)
    assert times == MANY
    assert bodies <= 2 * FLUSHES_AT_ONCE * MOST_OF_A_JOB[0]


async def test_an_answer_ends_the_job_however_many_came_before(client: Client, pool: Pool) -> None:
    """The genuine answer comes after the bound: it is applied, and stored verbatim."""
    row = await job(pool, "awaiting")
    for part in range(3):
        await send(client, row["id"], noise(20, first=20 * part))

    await call_back(client, row, found(row["request_id"]))

    assert (await lookup_of(pool, row))["final_status"] == "found"
    stored = await pool.fetchrow("SELECT body, times FROM callbacks WHERE verdict = 'applied'")
    assert stored is not None
    assert (json.loads(stored["body"]), stored["times"]) == (found(row["request_id"]), 1)


async def test_an_answer_among_many_is_applied(client: Client, pool: Pool) -> None:
    """The genuine answer shares its commit with noise for its job, and for others."""
    row, other = await job(pool, "awaiting"), await job(pool, "awaiting")
    answers: list[tuple[asyncpg.Record, Any]] = [(one, found(one["request_id"])) for one in (row, other)]

    await asyncio.gather(
        send(client, row["id"], noise(100)), *(call_back(client, *answer) for answer in answers),
        send(client, row["id"], noise(100, first=100)),
    )  # fmt: skip

    assert [(await lookup_of(pool, one))["final_status"] for one in (row, other)] == ["found", "found"]
    assert await pool.fetchval("SELECT count(*) FROM callbacks WHERE verdict = 'applied'") == 2


async def test_a_late_answer_counts_however_many_came_before(client: Client, pool: Pool) -> None:
    """A job that was given up takes its late answer after the bound, too; the same again is counted there."""
    row = await finished_job(pool, "lost")
    for part in range(2):
        await send(client, row["id"], noise(20, first=20 * part))

    for _ in range(2):
        await call_back(client, row, found(row["request_id"]))

    stored = await pool.fetch("SELECT verdict, times, body FROM callbacks WHERE verdict = 'late'")
    assert [(one["times"], json.loads(one["body"])) for one in stored] == [(2, found(row["request_id"]))]


async def test_an_answer_that_cannot_be_applied_is_kept(client: Client, pool: Pool) -> None:
    """Where applying fails on our side, an answer is stored verbatim, after the bound, too; it may have been paid."""
    row = await job(pool, "awaiting")
    for part in range(2):
        await send(client, row["id"], noise(20, first=20 * part))
    await pool.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON finished_jobs FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )

    answer = await call_back(client, row, found(row["request_id"]))

    assert answer.status == 200
    bodies = await pool.fetch("SELECT body FROM callbacks WHERE flag LIKE 'it could not be applied%'")
    assert [json.loads(one["body"]) for one in bodies] == [found(row["request_id"])]
