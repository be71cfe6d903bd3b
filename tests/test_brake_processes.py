"""The brake among processes: while fifty questions a second go out, a pause stops them within a second."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rig.processes import environment
from rig.settings import sandboxed
from store.pauses import Scope
from tests.commands import ringback, running, until
from tests.fake_provider import Asked, FakeProvider, Reply, nothing
from tests.wishes import take, wish

if TYPE_CHECKING:
    from tests.wishes import Pool

LOOKUPS = 400  # eight seconds of them: `ringback pause` takes its time to start on a busy machine
SUBMITTER = (sys.executable, "-m", "submitter")


async def test_a_pause_stops_every_process_within_a_second(
    pool: Pool, database_url: str, fake: FakeProvider, tmp_path: Path
) -> None:
    """Two submitters ask; `ringback pause` returns, and a second later nothing arrives; after `resume` all goes on."""
    arrived: list[float] = []

    async def note(_: Asked) -> None:
        arrived.append(time.monotonic())

    async def look(enough: int) -> bool | None:
        return True if len(arrived) >= enough else None

    async def left() -> int | None:
        unheld = await pool.fetchval("SELECT count(*) FROM jobs WHERE held IS DISTINCT FROM 'brake'")
        return None if unheld else int(await pool.fetchval("SELECT count(*) FROM jobs"))

    fake.questions.append(Reply(200, nothing().body, before=note))
    await take(pool, *(wish(work_email=f"{number}@acme.co") for number in range(LOOKUPS)))
    settings = sandboxed(
        database=database_url, public_url="https://ringback.test", leadmagic=fake.url, nyne=fake.url,
        LEADMAGIC_PER_MINUTE="3000",
    )  # fmt: skip
    command = environment(**settings)

    async with running(SUBMITTER, command), running(SUBMITTER, command):
        await until(lambda: look(40))
        paused = await ringback("pause", "--reason", "a wrong list", cwd=tmp_path, **settings)
        at = time.monotonic()
        waiting = await until(left)
        last = arrived[-1]
        resumed = await ringback("resume", "--all", cwd=tmp_path, **settings)
        await until(lambda: look(LOOKUPS))

    assert (paused.code, resumed.code) == (0, 0), paused.err + resumed.err
    assert last - at <= 1.0
    assert waiting > 0
    assert len(arrived) == len(fake.paid) == LOOKUPS
    assert str(Scope()) in paused.out
