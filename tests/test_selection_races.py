"""Several workers on one selection, and workers that die: each item is applied once, and none is left."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from enrichment.selection import Wanted
from store import selection_pages, selections
from store.partitions import first_id
from store.sweep import look
from submitter.selections import SelectionWorker
from tests.conftest import Start
from tests.factories import finished_job, lookup
from tests.order import Order, one_connection
from tests.wishes import POLICY, decide, status

if TYPE_CHECKING:
    from tests.wishes import Pool

PRICES = {"leadmagic": Decimal(5), "nyne": Decimal(3)}


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every chunk and page one row long."""
    monkeypatch.setattr(selections, "CHUNK", 1)
    monkeypatch.setattr(selection_pages, "LOOKED_AT", 1)


async def advance(pool: Pool, id: UUID) -> int:
    """Do one chunk."""
    return await selections.advance(pool, id, POLICY, PRICES)


async def failed(pool: Pool, number: int) -> list[UUID]:
    """Lookups that can be tried again, oldest first."""
    return [(await finished_job(pool, "failed"))["lookup_id"] for _ in range(number)]


async def begun(pool: Pool) -> UUID:
    """A retry of all failed lookups that has just begun."""
    id = await selections.create(pool, Wanted(action="retry"), "ann")
    while await advance(pool, id):
        pass
    assert await selections.begin(pool, id, "ann")
    return id


async def now(pool: Pool, id: UUID) -> tuple[str, int, int]:
    """Its state, and how many items were applied and passed."""
    selection = await selections.find(pool, id)
    assert selection is not None
    return selection.state, selection.applied, selection.passed


async def test_two_workers_apply_different_items(pool: Pool, order: Order) -> None:
    """A worker leaves alone the items that another is applying; it waits only to count its own."""
    await failed(pool, 2)
    id = await begun(pool)

    async with order.first() as first:
        assert await advance(one_connection(first), id) == 1
        second = await order.waiting(advance(pool, id))

    assert await second == 1
    assert await advance(pool, id) == 0
    assert await now(pool, id) == ("applied", 2, 0)
    assert await decide(pool) == 2


async def test_a_worker_does_not_end_what_another_is_doing(pool: Pool, order: Order) -> None:
    """The last item may yet be undone: the selection ends after its commit."""
    await failed(pool, 1)
    id = await begun(pool)

    async with order.first() as first:
        assert await advance(one_connection(first), id) == 1
        assert await advance(pool, id) == 0
        assert (await now(pool, id))[0] == "applying"

    assert await advance(pool, id) == 0
    assert await now(pool, id) == ("applied", 1, 0)


async def test_what_a_dead_worker_held_is_applied_by_another(pool: Pool, order: Order) -> None:
    """Its transaction is undone as a whole, and the item is found again behind the others."""
    ids = await failed(pool, 2)
    id = await begun(pool)

    with suppress(ConnectionAbortedError):
        async with order.first() as first:
            assert await advance(one_connection(first), id) == 1
            raise ConnectionAbortedError
    while await advance(pool, id):
        pass

    assert await now(pool, id) == ("applied", 2, 0)
    assert [await status(pool, one) for one in ids] == ["queued", "queued"]


async def test_an_item_behind_the_others_is_not_forgotten(pool: Pool) -> None:
    """The resume point only spares the walk: what lies before it and is not done is applied in the end."""
    await failed(pool, 3)
    id = await begun(pool)
    await pool.execute("UPDATE selections SET seen_to = (SELECT item_id FROM selected ORDER BY item_id DESC LIMIT 1)")

    while await advance(pool, id):
        pass

    assert await now(pool, id) == ("applied", 3, 0)


async def test_one_preview_is_made_by_one_worker(pool: Pool, order: Order) -> None:
    """A second one finds nothing to do, and each item is found once."""
    await failed(pool, 3)
    id = await selections.create(pool, Wanted(action="retry"), "ann")

    async with order.first() as first:
        assert await advance(one_connection(first), id) == 1
        assert await advance(pool, id) == 0
    while await advance(pool, id):
        pass

    assert await now(pool, id) == ("previewed", 0, 0)
    assert await pool.fetchval("SELECT count(*) FROM selected") == 3


async def test_a_selection_is_begun_once(pool: Pool, order: Order) -> None:
    """The second request waits for the first, and leaves no second entry in the audit."""
    await failed(pool, 1)
    id = await selections.create(pool, Wanted(action="retry"), "ann")
    while await advance(pool, id):
        pass

    async with order.first() as first:
        assert await selections.begin(one_connection(first), id, "ann")
        second = await order.waiting(selections.begin(pool, id, "bob"))

    assert not await second
    assert await pool.fetchval("SELECT array_agg(who) FROM audit") == ["ann"]


async def test_a_lookup_that_changes_under_the_worker_is_passed(pool: Pool, order: Order) -> None:
    """The worker waits for the other transaction, and applies only what still fits."""
    (one,) = await failed(pool, 1)
    id = await begun(pool)

    async with order.first() as first:
        await first.execute(
            "UPDATE lookups SET final_status = 'not_found', reason = NULL WHERE id = $1",
            one,
        )
        working = await order.waiting(advance(pool, id))

    assert await working == 1
    assert await advance(pool, id) == 0
    assert await now(pool, id) == ("applied", 0, 1)
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0


async def test_the_reconciler_goes_on_with_what_was_left(pool: Pool, start: Start) -> None:
    """A preview, and then an application, whose process died."""
    ids = await failed(pool, 2)
    id = await selections.create(pool, Wanted(action="retry"), "ann")
    assert (await look(pool)).selections

    async with start() as working:
        worker = SelectionWorker(working.process, working.wake)
        await worker.work_on_selections()
        assert (await now(pool, id))[0] == "previewed"
        assert not (await look(pool)).selections
        await selections.begin(pool, id, "ann")
        await worker.work_on_selections()

    assert await now(pool, id) == ("applied", 2, 0)
    assert [await status(pool, one) for one in ids] == ["queued", "queued"]
    assert working.wakes


async def test_an_empty_selection_ends(pool: Pool) -> None:
    """There is nothing to apply, and it says so."""
    await lookup(pool, final_status="found")
    id = await begun(pool)

    assert await advance(pool, id) == 0
    assert await now(pool, id) == ("applied", 0, 0)


async def test_old_selections_are_forgotten(pool: Pool) -> None:
    """A batch of items at a time, then the selection; newer ones and those under way stay."""
    await failed(pool, 3)
    old, kept, going = await begun(pool), await begun(pool), await begun(pool)
    while await advance(pool, old):
        pass
    for id in (old, going):
        month_ago = UUID(int=first_id(datetime.now(UTC) - timedelta(days=31)).int | id.int % 2**64)
        await pool.execute("UPDATE selected SET selection_id = $2 WHERE selection_id = $1", id, month_ago)
        await pool.execute("UPDATE selections SET id = $2 WHERE id = $1", id, month_ago)

    deleted = [await selections.forget(pool, timedelta(days=30), 2) for _ in range(4)]

    assert deleted == [2, 1, 1, 0]
    assert await pool.fetchval("SELECT count(*) FROM selections") == 2
    assert await pool.fetchval("SELECT count(*) FROM selected") == 6
    assert await pool.fetchval("SELECT count(*) FROM selected WHERE selection_id = $1", kept) == 3
