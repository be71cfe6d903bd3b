"""Many concurrent writes in few commits, everyone answered with the fate of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from store.group_commit import Closed, Full, GroupCommit


class Disk:
    """A flush that records its batches, doubles each item, and may be held up or made to fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.fails: dict[int, Exception] = {}
        self.fails_together: Exception | None = None

    async def flush(self, items: Sequence[int]) -> list[int]:
        """The items are written."""
        self.batches.append(list(items))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.reached.set()
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        if self.fails_together and len(items) > 1:
            raise self.fails_together
        for item in items:
            if item in self.fails:
                raise self.fails[item]
        return [2 * item for item in items]


@pytest.fixture
def disk() -> Disk:
    """Where everything is written."""
    return Disk()


async def held_up(disk: Disk, commit: GroupCommit[int, int]) -> asyncio.Task[int]:
    """A first item is being written, and takes until disk.open is set."""
    disk.open.clear()
    disk.reached.clear()
    first = asyncio.create_task(commit.submit(0))
    await disk.reached.wait()
    return first


async def submitted(commit: GroupCommit[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    """Tasks that wait for *items*, which are queued."""
    tasks = [asyncio.create_task(commit.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_alone_an_item_is_written_at_once(disk: Disk) -> None:
    """A single item is written at once, without a timer."""
    commit = GroupCommit(disk.flush)

    assert await commit.submit(7) == 14
    assert disk.batches == [[7]]


async def test_what_comes_during_a_commit_shares_the_next_one(disk: Disk) -> None:
    """Items that arrive while a commit is on its way are written together, and answered each with its own."""
    commit = GroupCommit(disk.flush, flushers=1)
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2, 3])
    disk.open.set()

    assert await asyncio.gather(first, *others) == [0, 2, 4, 6]
    assert disk.batches == [[0], [1, 2, 3]]


async def test_batches_and_flushers_have_a_limit(disk: Disk) -> None:
    """No batch is larger than *most*, and no more than *flushers* are on their way at once."""
    commit = GroupCommit(disk.flush, most=10, flushers=2)
    first = await held_up(disk, commit)
    others = await submitted(commit, range(1, 100))
    disk.open.set()

    assert await asyncio.gather(first, *others) == [2 * item for item in range(100)]
    assert max(len(batch) for batch in disk.batches) == 10
    assert disk.most_at_once == 2


@pytest.mark.parametrize(
    "error", [asyncpg.UniqueViolationError("twice"), asyncpg.CheckViolationError("odd"), asyncpg.DataError("NUL")]
)
async def test_one_bad_row_does_not_fail_its_neighbours(disk: Disk, error: Exception) -> None:
    """The row at fault fails alone, and its batch is written without it."""
    commit = GroupCommit(disk.flush, flushers=1)
    disk.fails = {2: error}
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2, 3])
    disk.open.set()

    assert await asyncio.gather(first, *others, return_exceptions=True) == [0, 2, error, 6]


async def test_rows_that_met_others_in_the_wrong_order_are_written_one_by_one(disk: Disk) -> None:
    """After a deadlock with another process, each row is tried alone and succeeds."""
    commit = GroupCommit(disk.flush, flushers=1)
    disk.fails_together = asyncpg.DeadlockDetectedError("deadlock detected")
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2])
    disk.open.set()

    assert await asyncio.gather(first, *others) == [0, 2, 4]
    assert disk.batches == [[0], [1, 2], [1], [2]]


async def test_an_unreachable_database_fails_everybody_at_once(disk: Disk) -> None:
    """An unreachable database is not asked once for each row; every caller gets the reason."""
    commit = GroupCommit(disk.flush, flushers=1)
    disk.fails_together = ConnectionRefusedError("no")
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2, 3])
    disk.open.set()

    answers = await asyncio.gather(first, *others, return_exceptions=True)

    assert answers == [0, *[disk.fails_together] * 3]
    assert disk.batches == [[0], [1, 2, 3]]


async def test_after_a_failure_the_next_item_is_written(disk: Disk) -> None:
    """A failed commit does not stop the ones after it."""
    commit = GroupCommit(disk.flush)
    disk.fails = {1: ConnectionResetError("gone")}
    with pytest.raises(ConnectionResetError):
        await commit.submit(1)

    assert await commit.submit(2) == 4


@pytest.mark.parametrize("fate", ["written", "refused"])
async def test_an_item_outlives_its_caller(disk: Disk, fate: str) -> None:
    """A cancelled caller neither cancels its item nor disturbs another."""
    commit = GroupCommit(disk.flush, flushers=1)
    disk.fails = {1: ConnectionResetError("gone")} if fate == "refused" else {}
    first = await held_up(disk, commit)
    gone, stays = await submitted(commit, [1, 2])
    gone.cancel()
    disk.open.set()

    answers = await asyncio.gather(first, stays, return_exceptions=True)

    assert gone.cancelled()
    assert disk.batches == [[0], [1, 2]]
    assert list(answers) == ([0, 4] if fate == "written" else [0, disk.fails[1]])


async def test_a_flush_that_forgets_an_answer_leaves_nobody_waiting(disk: Disk) -> None:
    """Callers hear even of a mistake in the flush itself: none waits for ever."""

    async def forgetful(_: Sequence[int]) -> list[int]:
        return []

    commit = GroupCommit(forgetful)

    with pytest.raises(ValueError, match="shorter"):
        await asyncio.wait_for(commit.submit(1), 1)


async def test_closing_writes_what_was_taken_and_takes_no_more(disk: Disk) -> None:
    """Closing first writes everything accepted; later items are refused."""
    commit = GroupCommit(disk.flush, flushers=1)
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2])
    closing = asyncio.create_task(commit.close())
    await asyncio.sleep(0)

    with pytest.raises(Closed):
        await commit.submit(3)
    assert not closing.done()
    disk.open.set()
    await closing

    assert await asyncio.gather(first, *others) == [0, 2, 4]


async def test_more_than_the_backlog_is_refused(disk: Disk) -> None:
    """An item that would wait too long is refused at once; accepted ones are written all the same."""
    commit = GroupCommit(disk.flush, flushers=1, backlog=3)
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2])

    with pytest.raises(Full):
        await commit.submit(3)
    disk.open.set()

    assert await asyncio.gather(first, *others) == [0, 2, 4]


@pytest.mark.parametrize("flushers", [1, 2, 3])
async def test_an_item_put_as_the_last_flusher_returns_is_written(flushers: int) -> None:
    """A caller that puts again in the very iteration in which it was answered is not forgotten."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[int]] = []
    held: list[asyncio.Future[None]] = []

    async def flush(items: Sequence[int]) -> list[int]:
        held.append(loop.create_future())
        await held[-1]
        return list(items)

    commit = GroupCommit(flush, most=1, flushers=flushers)
    first = [commit.put(number) for number in range(flushers)]
    await asyncio.sleep(0)
    for future in held[:flushers]:
        future.set_result(None)
    loop.call_soon(lambda: answers.append(commit.put(99)))
    await asyncio.gather(*first)
    await asyncio.sleep(0)
    held[-1].set_result(None)

    async with asyncio.timeout(1):
        assert await answers[0] == 99
        await commit.close()


async def test_closing_waits_for_an_item_put_as_the_last_flusher_returns() -> None:
    """`close` neither returns before everything is written nor waits for ever."""
    loop = asyncio.get_running_loop()
    later: list[asyncio.Future[int]] = []
    begun = loop.create_future()

    async def flush(items: Sequence[int]) -> list[int]:
        if items[0] == 1:
            await begun
        return list(items)

    commit = GroupCommit(flush, flushers=1)
    commit.put(1)
    await asyncio.sleep(0)
    begun.set_result(None)
    loop.call_soon(lambda: later.append(commit.put(2)))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await commit.close()

    assert later[0].result() == 2


async def test_an_item_waits_for_the_database_until_its_deadline(disk: Disk) -> None:
    """While the database is away nothing is refused early: it is tried again, and written when it is back."""
    commit = GroupCommit(disk.flush)
    disk.fails = {1: ConnectionRefusedError("no")}
    waiting = asyncio.create_task(commit.submit(1, within=10))
    while len(disk.batches) < 2:
        await asyncio.sleep(0)
    disk.fails = {}

    assert await waiting == 2


async def test_a_black_hole_is_not_waited_for_longer_than_the_deadline(disk: Disk) -> None:
    """Batches behind a hanging one do not add their own timeouts: each caller hears in time."""
    commit = GroupCommit(disk.flush, most=1, flushers=1)
    first = await held_up(disk, commit)
    begun = asyncio.get_running_loop().time()
    others = [asyncio.create_task(commit.submit(item, within=0.05)) for item in range(1, 50)]

    answers = await asyncio.gather(*others, return_exceptions=True)

    assert {type(answer) for answer in answers} == {TimeoutError}
    assert asyncio.get_running_loop().time() - begun < 1
    disk.open.set()
    assert await first == 0


async def test_an_expired_item_is_never_written(disk: Disk) -> None:
    """A caller that was refused before its item left the queue can rely on it."""
    commit = GroupCommit(disk.flush, flushers=1)
    first = await held_up(disk, commit)
    with pytest.raises(TimeoutError):
        await commit.submit(1, within=0.01)
    disk.open.set()
    await first
    await commit.close()

    assert disk.batches == [[0]]


async def test_a_deadlocked_row_alone_is_tried_again(disk: Disk) -> None:
    """Two transactions that met again do not cost the caller a refusal."""
    commit = GroupCommit(disk.flush)
    disk.fails = {1: asyncpg.SerializationError("could not serialize access")}
    waiting = asyncio.create_task(commit.submit(1, within=10))
    while len(disk.batches) < 2:
        await asyncio.sleep(0)
    disk.fails = {}

    assert await waiting == 2


async def test_one_item_that_breaks_the_flush_does_not_fail_its_neighbours(disk: Disk) -> None:
    """An error caused by one item fails that item alone, whatever its kind."""
    commit = GroupCommit(disk.flush, flushers=1)
    disk.fails = {2: TypeError("a defect of ours")}
    first = await held_up(disk, commit)
    others = await submitted(commit, [1, 2, 3])
    disk.open.set()

    assert await asyncio.gather(first, *others, return_exceptions=True) == [0, 2, disk.fails[2], 6]


async def test_more_bytes_than_the_backlog_are_refused(disk: Disk) -> None:
    """A few large items fill the memory as well as many small ones; written items make room."""
    commit = GroupCommit(disk.flush, flushers=1, size=lambda item: item, backlog_bytes=100)
    first = await held_up(disk, commit)
    others = await submitted(commit, [60, 40])

    with pytest.raises(Full):
        await commit.submit(1)
    disk.open.set()

    assert await asyncio.gather(first, *others) == [0, 120, 80]
    assert await commit.submit(100) == 200
