"""The memory of a group commit: batches end with the bytes that they may have, and what is too late is let go of."""

from __future__ import annotations

import asyncio

import pytest

from store.group_commit import Full, GroupCommit
from tests.test_group_commit import Disk, held_up, submitted


async def test_a_batch_ends_with_the_item_that_fills_it() -> None:
    """Large items are written a few at a time, small ones together; an item larger than a batch is one."""
    disk = Disk()
    commit = GroupCommit(disk.flush, flushers=1, size=lambda item: item, most_bytes=100)
    first = await held_up(disk, commit)
    others = await submitted(commit, [60, 50, 10, 20, 500, 1])
    disk.open.set()

    await asyncio.gather(first, *others)

    assert disk.batches == [[0], [60, 50], [10, 20, 500], [1]]


async def test_what_is_too_late_is_dropped_although_a_commit_hangs() -> None:
    """Items whose callers have gone make room at once, so that a hanging database does not fill the memory."""
    disk = Disk()
    commit = GroupCommit(disk.flush, flushers=1, size=lambda item: item, backlog_bytes=100)
    first = await held_up(disk, commit)
    late = await asyncio.gather(*(commit.submit(50, within=0.02) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in late] == [TimeoutError, TimeoutError]

    waiting = asyncio.create_task(commit.submit(100))
    await asyncio.sleep(0)
    disk.open.set()

    assert list(await asyncio.gather(first, waiting)) == [0, 200]
    assert disk.batches == [[0], [100]]


@pytest.mark.parametrize("within", [0.02, 10.0])
async def test_an_item_that_is_being_written_keeps_its_bytes(within: float) -> None:
    """It is in memory until the commit has ended, whether its caller still waits or not."""
    disk = Disk()
    disk.open.clear()
    commit = GroupCommit(disk.flush, flushers=1, size=lambda item: item, backlog_bytes=100)
    writing = asyncio.create_task(commit.submit(100, within=within))
    await disk.reached.wait()
    if within < 1:
        with pytest.raises(TimeoutError):
            await writing

    with pytest.raises(Full):
        await commit.submit(1)
    disk.open.set()
    await commit.close()
