"""The calls of one process that wait for permits of a CRM: those that wait together take them in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from store.crm_permits import Permit, Shut


class PermitQueue:
    """Hands out permits in the order in which calls came. *take* commits up to so many for them."""

    def __init__(self, take: Callable[[int], Awaitable[list[Permit] | Shut]]) -> None:
        self._take = take
        self._turn = asyncio.Lock()  # one transaction at a time: two would wait for each other's rows
        self._waiting: list[asyncio.Future[Permit | Shut]] = []

    async def take(self) -> Permit | Shut:
        """Take one permit, together with all calls that wait at that moment. Raise what *take* raises."""
        mine: asyncio.Future[Permit | Shut] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with self._turn:
                if not mine.done():
                    await self._take_for_all()
            return await mine
        finally:
            if mine in self._waiting:  # cancelled, or nothing could be taken
                self._waiting.remove(mine)

    async def _take_for_all(self) -> None:
        """Take permits for those that wait; the turn's own call is the first of them, so it gets one or is shut out."""
        waiting = list(self._waiting)
        taken = await self._take(len(waiting))
        served = waiting if isinstance(taken, Shut) else waiting[: len(taken)]
        for place, future in enumerate(served):
            if not future.done():
                future.set_result(taken if isinstance(taken, Shut) else taken[place])
        self._waiting = [future for future in self._waiting if not future.done()]
