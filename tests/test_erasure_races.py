"""Erasure against claim, callback and the next question, in an explicit order."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from enrichment.outcome import Answered
from enrichment.suppression import read_identifier
from store.callbacks import Callback, record_callbacks
from store.endings import apply_endings
from store.erased_rows import erase_chunk
from store.erasure import erase_person
from tests.claims import take as claim
from tests.everywhere import where_is
from tests.order import Order, one_connection
from tests.wishes import MOBILE, POLICY, answer, apply, ending, event, jobs, read, take_one, wish

if TYPE_CHECKING:
    from store.erasure import Erased
    from tests.wishes import Pool

JANE = {"work_email": "jane@acme.co", "name": "Jane Doe"}


async def erase(pool: Pool) -> Erased:
    """Erase Jane."""
    return await erase_person(pool, POLICY, [read_identifier("email", "jane@acme.co")])


async def test_a_claim_that_was_first_was_perhaps_charged(db: Pool, order: Order) -> None:
    """The erasure waits for the claim, and knows then that the question is under way."""
    await take_one(db, providers=("nyne",), **JANE)
    async with order.first() as first:
        (job,) = (await claim(one_connection(first))).jobs
        waiting = await order.waiting(erase(db))
    assert (await waiting).jobs == 1

    assert (await jobs(db), await db.fetchval("SELECT sum(credits) FROM ledger WHERE kind = 'possible'")) == (0, 3)
    await apply(db, answer(job.id, "inline", MOBILE))
    assert await where_is(db, ["jane@acme.co", "Jane Doe", MOBILE]) == []


async def test_an_erasure_that_was_first_leaves_nothing_to_claim(db: Pool, order: Order) -> None:
    """The claim passes over the job whose row is locked."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    async with order.first() as first:
        await erase_chunk(first, [jane.id], POLICY)
        assert list((await claim(db)).jobs) == []

    assert (list((await claim(db)).jobs), await jobs(db)) == ([], 0)


async def test_a_callback_that_waits_for_the_erasure_is_not_stored(db: Pool, order: Order) -> None:
    """It found the job, waited, and lost it: it is answered all the same."""
    jane = await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    callback = Callback("nyne", job.id, f'"{MOBILE}"'.encode(), Answered(mobile=MOBILE), Decimal(3))
    async with order.first() as first:
        await erase_chunk(first, [jane.id], POLICY)
        waiting = await order.waiting(record_callbacks(db, [callback], POLICY, None))
    (receipt,) = await waiting

    assert (receipt.verdict, await db.fetchval("SELECT count(*) FROM callbacks")) == ("ignored", 0)
    assert await where_is(db, ["jane@acme.co", MOBILE]) == []


async def test_a_callback_that_was_first_is_erased_with_its_number(db: Pool, order: Order) -> None:
    """The erasure waits for the ending, and removes the number that it brought."""
    await take_one(db, providers=("nyne",), **JANE)
    (job,) = (await claim(db)).jobs
    async with order.first() as first:
        callback = Callback("nyne", job.id, f'"{MOBILE}"'.encode(), Answered(mobile=MOBILE), Decimal(3))
        await record_callbacks(one_connection(first), [callback], POLICY, None)
        waiting = await order.waiting(erase(db))
    await waiting

    assert await where_is(db, ["jane@acme.co", "Jane Doe", MOBILE]) == []
    assert await db.fetchval("SELECT sum(charged) FROM usage") == 3


async def test_a_next_question_that_was_queued_meanwhile_goes_too(db: Pool, order: Order) -> None:
    """A search that moved on between two locks is looked at again: no job is left without its lookup."""
    await take_one(db, providers=("nyne", "leadmagic"), **JANE)
    (job,) = (await claim(db)).jobs
    async with order.first() as first:
        await apply_endings(first, [ending(job.id)], POLICY)
        waiting = await order.waiting(erase(db))
    assert (await waiting).lookups == 1

    assert (await jobs(db), await where_is(db, ["jane@acme.co"])) == (0, [])


async def test_an_event_that_waits_for_the_erasure_is_a_new_person(db: Pool, order: Order) -> None:
    """Intake holds the same keys: it waits, and begins anew."""
    from store.intake import ingest

    jane = await take_one(db, providers=("nyne",), **JANE)
    async with order.first() as first:
        await erase_chunk(first, [jane.id], POLICY)
        waiting = await order.waiting(ingest(db, [event(wish(providers=("nyne",), **JANE))], POLICY))
    ((taken,),) = await waiting

    told = await read(db, taken.id)
    assert (told["status"], told["reused_from"], await jobs(db)) == ("queued", None, 1)
