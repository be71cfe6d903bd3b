"""Calls that wait for permits of a CRM take them together, in their order."""

from __future__ import annotations

import asyncio

import pytest

from store.crm_permits import Permit, Shut
from submitter.permit_queue import PermitQueue

SHUT = Shut(1.0)


class Limits:
    """Permits on demand, numbered by their delay; notes how many were wanted."""

    def __init__(self, *answers: int | Shut | Exception) -> None:
        self.answers = list(answers)
        self.wanted: list[int] = []
        self.opened = asyncio.Event()
        self._given = 0

    async def take(self, wanted: int) -> list[Permit] | Shut:
        """Return the next answer: so many permits, or none."""
        self.wanted.append(wanted)
        await self.opened.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Shut):
            return answer
        self._given += answer
        return [Permit(float(number)) for number in range(self._given - answer, self._given)]


async def calls(queue: PermitQueue, count: int) -> list[asyncio.Task[Permit | Shut]]:
    """Let so many calls wait."""
    tasks = [asyncio.create_task(queue.take()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_calls_that_come_meanwhile_share_the_next_transaction() -> None:
    """One for the first call, one for all that came while it was under way."""
    limits = Limits(1, 3)
    queue = PermitQueue(limits.take)
    tasks = await calls(queue, 1) + await calls(queue, 3)
    limits.opened.set()

    assert await asyncio.gather(*tasks) == [Permit(0.0), Permit(1.0), Permit(2.0), Permit(3.0)]
    assert limits.wanted == [1, 3]


async def test_those_without_a_permit_take_the_next() -> None:
    """Fewer permits than calls: the others ask again, in their order, and are shut out together."""
    limits = Limits(1, 2, SHUT)
    queue = PermitQueue(limits.take)
    tasks = await calls(queue, 1) + await calls(queue, 4)
    limits.opened.set()

    assert await asyncio.gather(*tasks) == [Permit(0.0), Permit(1.0), Permit(2.0), SHUT, SHUT]
    assert limits.wanted == [1, 4, 2]


async def test_an_error_is_that_of_the_call_that_asked() -> None:
    """The others ask for themselves."""
    limits = Limits(ConnectionError("away"), 2)
    queue = PermitQueue(limits.take)
    tasks = await calls(queue, 1) + await calls(queue, 2)
    limits.opened.set()

    with pytest.raises(ConnectionError):
        await tasks[0]
    assert await asyncio.gather(*tasks[1:]) == [Permit(0.0), Permit(1.0)]


async def test_a_call_that_is_given_up_takes_no_permit() -> None:
    """Cancelled while it waits for its turn, it is not counted."""
    limits = Limits(1, 1)
    queue = PermitQueue(limits.take)
    first, cancelled, last = await calls(queue, 1) + await calls(queue, 2)
    cancelled.cancel()
    await asyncio.sleep(0)
    limits.opened.set()

    assert await first == Permit(0.0)
    assert await last == Permit(1.0)
    assert limits.wanted == [1, 1]
