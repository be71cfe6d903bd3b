"""Suppression against intake, claim and ending, in an explicit order; and an empty list costs next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from enrichment.suppression import Identifier, read_identifier
from store.endings import apply_endings, follow_ends
from store.ends import unswept_searches
from store.intake import ingest
from store.suppressions import end_waiting, suppress
from tests.claims import take as claim
from tests.order import Order, one_connection
from tests.wishes import MOBILE, POLICY, answer, apply, event, read, status, take_one, wish

if TYPE_CHECKING:
    from tests.order import Connection
    from tests.wishes import Pool

JANE = {"work_email": "jane@acme.co"}
DOMAIN = [read_identifier("domain", "acme.co")]


async def forbid(pool: Pool, identifiers: list[Identifier]) -> int:
    """Suppress, and end the waiting lookups."""
    await suppress(pool, identifiers, POLICY, None)
    return await end_waiting(pool, identifiers, POLICY)


async def test_an_event_that_commits_after_the_suppression_is_not_asked(db: Pool, order: Order) -> None:
    """Intake looked before the suppression, which could not see the new lookup either: the claim sees both."""
    one = event(wish(providers=("nyne",), **JANE))
    async with order.first() as first:
        ((taken,),) = await ingest(one_connection(first), [one], POLICY)
        assert await forbid(db, DOMAIN) == 0

    assert await status(db, taken.id) == "queued"
    claimed = await claim(db)
    await follow_ends(db, claimed.unswept, POLICY)

    assert (list(claimed.jobs), await status(db, taken.id)) == ([], "suppressed")


async def test_an_event_that_begins_after_the_suppression_is_suppressed(db: Pool, order: Order) -> None:
    """An uncommitted suppression delays no event; a committed one is seen."""
    async with order.first() as first:
        await suppress(first, DOMAIN, POLICY, None)
        before = await take_one(db, providers=("nyne",), **JANE)
    after = await take_one(db, providers=("nyne",), work_email="john@acme.co")

    assert (before.status, after.status) == ("queued", "suppressed")
    assert list((await claim(db)).jobs) == []


async def test_a_claim_that_was_first_is_asked_and_its_number_is_not_kept(db: Pool, order: Order) -> None:
    """The suppression waits for the claim, and leaves the question that is under way to its ending."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    async with order.first() as first:
        (job,) = (await claim(one_connection(first))).jobs
        waiting = await order.waiting(forbid(db, DOMAIN))
    assert await waiting == 0

    assert await status(db, jane.id) == "running"
    await apply(db, answer(job.id, "callback", MOBILE))
    assert (await read(db, jane.id))["status"] == "suppressed"


async def test_a_suppression_that_was_first_leaves_nothing_to_claim(db: Pool, order: Order) -> None:
    """While the waiting lookups end, a claim passes over their jobs, and does not wait."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    await suppress(db, DOMAIN, POLICY, None)
    async with order.first() as first:
        await first.execute("SELECT FROM jobs FOR UPDATE")
        assert list((await claim(db)).jobs) == []
    await end_waiting(db, DOMAIN, POLICY)

    assert (list((await claim(db)).jobs), await status(db, jane.id)) == ([], "suppressed")


async def test_an_ending_that_was_first_gives_its_number(db: Pool, order: Order) -> None:
    """The number was there before the suppression: a suppression is no erasure."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    async with order.first() as first:
        await apply_endings(first, [answer(job.id, "callback", MOBILE)], POLICY)
        waiting = await order.waiting(forbid(db, DOMAIN))
    await waiting

    assert (await read(db, jane.id))["mobile"] == MOBILE


async def test_an_ending_after_the_suppression_keeps_nothing(db: Pool, order: Order) -> None:
    """The suppression of the number commits while the question is under way."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    async with order.first() as first:
        await suppress(first, [read_identifier("number", MOBILE)], POLICY, None)
    await apply(db, answer(job.id, "callback", MOBILE))

    assert (await read(db, jane.id))["status"] == "suppressed"


async def test_what_a_dead_process_left_is_resumed_by_anybody(db: Pool) -> None:
    """The claim's commit dropped the question; the lookup follows with the next sweep of any process."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    await suppress(db, DOMAIN, POLICY, None)
    await claim(db)
    assert await status(db, jane.id) == "queued"

    await follow_ends(db, await unswept_searches(db, 10), POLICY)

    assert await status(db, jane.id) == "suppressed"


async def test_an_empty_list_takes_no_round_trip(db: Pool) -> None:
    """Intake, claim and ending look into the list within the statements that they send anyway."""
    sent: list[str] = []

    async def counted(deed: Any) -> list[str]:
        sent.clear()
        async with db.acquire() as connection:
            with connection.query_logger(lambda record: sent.append(record.query)):
                await deed(one_connection(cast("Connection", connection)))
        return [query for query in sent if "suppressions" in query]

    async def taking(pool: Pool) -> None:
        await ingest(pool, [event(wish(providers=("nyne",), **JANE))], POLICY)

    for deed in (taking, claim):
        about = await counted(deed)
        assert all("jobs" in query or "fingerprints" in query for query in about), about
