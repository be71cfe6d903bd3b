"""Defects of endings, callbacks and money, each named after the user's symptom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from enrichment.outcome import Accepted, Answered, Refused
from store.lookups import retry
from submitter.outcomes import Withheld
from tests.at_work import AtWork, claimed_of, lease_expires, tell, wish_for
from tests.called_back import call_back, found, verdicts
from tests.factories import job
from tests.fake_provider import FakeProvider, Reply, completed, nothing
from tests.fake_provider import found as answers
from tests.wishes import MOBILE, POLICY, answer, apply, end, jobs, read, status, take_one

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.conftest import Start
    from tests.wishes import Pool

EMAIL = "jane@acme.co"

# Late answers


@pytest.mark.parametrize("taken", [False, True], ids=["waits", "took"])
async def test_a_late_number_for_a_retried_lookup_was_a_500(pool: Pool, taken: bool) -> None:
    """A lookup that was retried, and waits for or took from another search, gets the late number of its first one."""
    first = await take_one(pool, work_email=EMAIL)
    second = await take_one(pool, work_email=EMAIL)
    doubted = await end(pool, first.id, state="unknown")
    assert await retry(pool, second.id, POLICY)
    assert await retry(pool, first.id, POLICY)
    assert (await read(pool, first.id))["reused_from"] == second.id
    if taken:
        await end(pool, second.id)
        assert await status(pool, first.id) == "not_found"

    await apply(pool, answer(doubted, "callback"))

    rows = [await read(pool, one.id) for one in (first, second)]
    assert [(row["status"], row["mobile"]) for row in rows] == [("found", MOBILE)] * 2
    assert await jobs(pool) == 0


async def test_the_number_of_a_202_after_a_failed_callback_was_thrown_away(world: AtWork, fake: FakeProvider) -> None:
    """The callback was about another request: the accepted one is polled, and its number counts."""
    claimed = await claimed_of(world)
    await world.call_back(claimed.id, Refused("no", request_id="req-1"))
    assert await status(world.pool, claimed.lookup_id) == "failed"
    fake.polls.append(completed("req-2", MOBILE))

    await tell(world, claimed, Accepted("req-2"))
    assert await world.poller.poll_once() == 1

    told = await read(world.pool, claimed.lookup_id)
    assert (told["status"], told["mobile"], told["credits"]) == ("found", MOBILE, 3)
    assert await verdicts(world.pool) == ["flagged"]


# Money


@pytest.mark.parametrize("price", ["1.005", "0.001", "2.994"])
@pytest.mark.parametrize("says", [answers(credits=4.999), answers(credits=0.004), nothing()])
async def test_a_price_with_three_decimals_leaked_reservations(
    start: Start, fake: FakeProvider, price: str, says: Reply
) -> None:
    """Prices and charges are rounded to cents first: nothing stays reserved, and the sums are the ledger's."""
    async with start(leadmagic_credits_per_found=price) as world:
        lookup_id = await wish_for(world)
        fake.questions.append(says)

        await world.ask("leadmagic")

        assert await status(world.pool, lookup_id) in ("found", "not_found")
        (sums,) = await world.pool.fetch("SELECT sum(reserved) AS reserved, sum(charged) AS charged FROM usage")
        charged = await world.pool.fetchval("SELECT COALESCE(sum(credits), 0) FROM ledger WHERE kind = 'charged'")
        assert (sums["reserved"], sums["charged"]) == (0, charged)
        assert (await read(world.pool, lookup_id))["credits"] == charged


async def test_a_question_that_was_never_sent_was_possibly_charged(world: AtWork) -> None:
    """A takeover gave it up; its submitter knows better: the credits are released, and the doubt is gone."""
    claimed = await claimed_of(world, callback_expected=False)
    await lease_expires(world, claimed)
    await world.reconciler.rescue()
    assert await status(world.pool, claimed.lookup_id) == "unresolved"

    await tell(world, claimed, Withheld("the lease ran out"))
    await world.finisher.sweeper.close()

    assert await status(world.pool, claimed.lookup_id) == "failed"
    (sums,) = await world.pool.fetch("SELECT sum(reserved) AS reserved, sum(possible) AS possible FROM usage")
    assert tuple(sums) == (0, 0)
    entries = await world.pool.fetch("SELECT kind, credits FROM ledger ORDER BY kind")
    assert {row["kind"]: row["credits"] for row in entries} == {"possible": 3, "settled": 3, "released": 3}
    email = (await read(world.pool, claimed.lookup_id))["work_email"]
    again = await take_one(world.pool, work_email=email, providers=("nyne",))
    assert (again.status, await jobs(world.pool)) == ("queued", 1)


# Callbacks


async def test_a_callback_that_was_applied_stayed_ignored(world: AtWork) -> None:
    """The same body again is one row, counted; when it is applied at last, the row says so."""
    id = uuid7()
    ignored = await world.call_back(id, Answered(MOBILE), b"the same")
    await job(world.pool, "awaiting", id=id)

    applied = await world.call_back(id, Answered(MOBILE), b"the same")
    await world.call_back(id, Answered(MOBILE), b"the same")

    assert (ignored.verdict, applied.verdict) == ("ignored", "applied")
    (row,) = await world.pool.fetch("SELECT verdict, times FROM callbacks")
    assert tuple(row) == ("applied", 3)


@pytest.mark.parametrize("error", ["check_violation", "numeric_value_out_of_range", "raise_exception"])
async def test_a_callback_that_could_not_be_applied_was_a_500(client: Client, pool: Pool, error: str) -> None:
    """It is stored and flagged, and its job is polled; its neighbours in the batch are applied."""
    rows = [await job(pool, "awaiting") for _ in range(5)]
    bad = rows[2]
    await refuse_end_of(pool, bad["id"], error)

    said = await asyncio.gather(*(call_back(client, row, found(row["request_id"])) for row in rows))

    assert [one.status for one in said] == [200] * 5
    stored = {row["job_id"]: row for row in await pool.fetch("SELECT * FROM callbacks")}
    assert [stored[row["id"]]["verdict"] for row in rows] == ["applied", "applied", "flagged", "applied", "applied"]
    assert bad["request_id"].encode() in stored[bad["id"]]["body"]
    assert "could not be applied" in stored[bad["id"]]["flag"]
    statuses = [await status(pool, row["lookup_id"]) for row in rows]
    assert statuses == ["found", "found", "running", "found", "found"]
    assert await pool.fetchval("SELECT due_at <= now() FROM jobs WHERE id = $1", bad["id"])


async def test_a_flagged_callback_that_is_applied_later_says_so(client: Client, pool: Pool) -> None:
    """The obstacle is gone, and the provider sends the callback again."""
    row = await job(pool, "awaiting")
    await refuse_end_of(pool, row["id"], "check_violation")
    await call_back(client, row, found(row["request_id"]))
    assert await verdicts(pool) == ["flagged"]
    await pool.execute("DROP TRIGGER refuse ON finished_jobs")

    await call_back(client, row, found(row["request_id"]))

    (stored,) = await pool.fetch("SELECT verdict, flag, times FROM callbacks")
    assert tuple(stored) == ("applied", None, 2)
    assert await status(pool, row["lookup_id"]) == "found"


async def refuse_end_of(pool: Pool, job_id: UUID, error: str) -> None:
    """Let PostgreSQL refuse to write the end of this job."""
    await pool.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'this row cannot be' USING ERRCODE = '{error}';
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON finished_jobs
            FOR EACH ROW WHEN (NEW.id = '{job_id}') EXECUTE FUNCTION refuse();
        """
    )
