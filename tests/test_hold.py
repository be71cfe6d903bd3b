"""The hold: what it tries again, and how much it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from receiver import hold, patience
from receiver.gate import Door
from receiver.hold import Hold
from store.group_commit import Full, GroupCommit
from tests.conftest import MakeSettings
from tests.proxy import proxied
from tests.receiving import EVENT
from tests.test_patience import SOON, held, receiver_at


async def test_a_process_that_stops_holds_nothing(database_url: str, make_settings: MakeSettings) -> None:
    """A message that waits for PostgreSQL is refused when the process stops, so that its sender can go elsewhere."""
    door = Door()
    async with proxied(database_url) as proxy, receiver_at(proxy.url, make_settings, door) as client:
        proxy.cut()
        event = asyncio.create_task(client.post("/events/generic", EVENT))
        await held(proxy)

        door.closed = True

        async with asyncio.timeout(patience.FOR_AN_EVENT / 2):
            assert (await event).status == 503


class Sluggish:
    """A database that commits when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()

    async def flush(self, items: Sequence[int]) -> Sequence[int]:
        """Answer every item with itself."""
        await self.let.wait()
        return items


@pytest.mark.parametrize(("most", "value"), [("MOST_MESSAGES", 2), ("MOST_BYTES", 20)])
async def test_no_more_is_held_than_there_is_room_for(most: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be too many messages, or too many bytes, is refused at once; and there is room again afterwards."""
    monkeypatch.setattr(hold, most, value)
    database = Sluggish()
    holding: Hold[int, int] = Hold(GroupCommit(database.flush), size=lambda _: 10, stopping=lambda: False)
    first = [asyncio.create_task(holding.submit(n, within=SOON)) for n in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(Full):
        await holding.submit(2, within=SOON)
    database.let.set()

    assert await asyncio.gather(*first) == [0, 1]
    assert await holding.submit(3, within=SOON) == 3


async def test_an_error_that_is_not_the_database_s_absence_is_not_repeated() -> None:
    """What fails for its own sake fails at once."""
    tries = 0

    async def flush(_: Sequence[int]) -> Sequence[int]:
        nonlocal tries
        tries += 1
        raise LookupError

    with pytest.raises(LookupError):
        await Hold(GroupCommit(flush), size=lambda _: 1, stopping=lambda: False).submit(1, within=SOON)

    assert tries == 1
