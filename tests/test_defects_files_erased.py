"""After an erasure nothing of the person is left of an upload: in no cell, in no temporary file, and in no late row."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from enrichment.campaign import read_row
from enrichment.files.spool import Spool, delete_strays
from store import campaign_files, campaign_reading, campaigns
from store.campaign_reading import map_columns
from submitter.campaigns import CampaignWorker
from tests.at_work import AtWork
from tests.campaigning import BOTH, PRICED
from tests.commands import ROOT
from tests.test_campaigns_erased import erase, kept
from tests.wishes import MOBILE, end

if TYPE_CHECKING:
    from tests.wishes import Pool

KILLED = "from enrichment.files.spool import Spool; held = Spool(); os.kill(os.getpid(), 9)"
NOTES = 'E-Mail,Notes\nbob@acme.co,"privately\n{}, he says"\n'


@pytest.fixture
async def worker(world: AtWork) -> AsyncIterator[CampaignWorker]:
    """Provide the reconciler's work on campaigns."""
    working = CampaignWorker(world.process, world.wake, asyncio.Event())
    yield working
    working.close()


async def counted(pool: Pool, worker: CampaignWorker, text: bytes, *, until: str = "read") -> UUID:
    """Upload a file, let its rows be counted, or only looked at, and return its campaign."""
    id = await campaign_files.begin_upload(pool, name="up.csv", who="ops")
    for place in range(0, len(text), 7):  # pieces end within characters
        await campaign_files.add_piece(pool, id, place, text[place : place + 7])
    digest = hashlib.sha256(text).digest()
    assert await campaign_files.end_upload(pool, id, "up.csv", digest, len(range(0, len(text), 7)))
    await worker.work_on_campaigns()
    assert await map_columns(pool, id, {"E-Mail": "work_email"})
    if until == "read":
        await worker.work_on_campaigns()
    found = await campaigns.find(pool, id)
    assert found is not None
    assert found.state == until
    return id


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
async def test_a_cell_that_is_not_used_is_somebodys(world: AtWork, worker: CampaignWorker, encoding: str) -> None:
    """The upload goes with a person in its notes; one with a longer address of somebody else stays."""
    pool = world.pool
    theirs = await counted(pool, worker, NOTES.format("ADA@Home.dev ä").encode(encoding))
    others = await counted(pool, worker, NOTES.format("xada@home.dev").encode(encoding))

    await erase(pool, "ada@home.dev")

    assert await kept(pool) == {others} != {theirs}


async def test_no_row_is_recorded_after_the_erasure_of_its_upload(world: AtWork, worker: CampaignWorker) -> None:
    """A reconciler that still has the file in its hands writes nothing down, and the campaign says why."""
    pool = world.pool
    id = await counted(pool, worker, b"E-Mail\nada@home.dev\n", until="reading")
    row = read_row(id, 1, {"work_email": "ada@home.dev"}, world.process.providers, PRICED.hash)

    await erase(pool, "ada@home.dev")

    assert not await campaign_reading.record(pool, id, 0, [row], PRICED)
    stopped = await campaigns.find(pool, id)
    assert stopped is not None
    assert (stopped.state, stopped.reason) == ("stopped", campaign_files.GONE)
    assert await pool.fetchval("SELECT count(*) FROM campaign_rows") == 0


async def test_a_temporary_file_goes_with_its_upload(
    world: AtWork, worker: CampaignWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reconciler keeps no copy of a file that was erased, nor of one that nobody works on."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await counted(world.pool, worker, b"E-Mail\nada@home.dev\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file()]

    await erase(world.pool, "ada@home.dev")
    await worker.work_on_campaigns()

    assert not list(tmp_path.iterdir())
    assert not worker.holds_a_file


async def test_a_campaign_whose_rows_have_all_begun_needs_no_file(world: AtWork, worker: CampaignWorker) -> None:
    """The upload goes by retention while the last answer is on its way: the campaign is done, not stopped."""
    pool = world.pool
    id = await counted(pool, worker, b"E-Mail\nada@home.dev\n")
    assert await campaigns.approve(pool, id, most=BOTH, who="ops")
    await worker.work_on_campaigns()
    (lookup,) = await pool.fetch("SELECT lookup_id FROM jobs")

    worker.close()
    await worker.work_on_campaigns()
    assert not worker.holds_a_file  # which would be fetched each second, for as long as the lookup waits
    await pool.execute("DELETE FROM campaign_files")
    await worker.work_on_campaigns()
    await end(pool, lookup["lookup_id"], mobile=MOBILE)
    await worker.work_on_campaigns()
    await worker.work_on_campaigns()

    done = await campaigns.find(pool, id)
    assert done is not None
    assert (done.state, done.found) == ("done", 1)


def test_what_a_killed_process_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its temporary folder goes when the next process wants one; the folder of a process that lives stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = Spool()
    subprocess.run(
        [sys.executable, "-c", f"import os, tempfile; tempfile.tempdir = {str(tmp_path)!r}\n{KILLED}"],
        check=False, cwd=ROOT, timeout=20,
    )  # fmt: skip
    killed = [path for path in tmp_path.iterdir() if path != living.folder]
    for folder in tmp_path.iterdir():
        os.utime(folder, (0, 0))

    assert (len(killed), delete_strays()) == (1, 1)
    assert list(tmp_path.iterdir()) == [living.folder]
    living.close()
    assert not list(tmp_path.iterdir())
