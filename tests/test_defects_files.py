"""Files that change, lie, or are none: each number stays with its row, and each message says what to do."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import os
import signal
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enrichment.files import open_table
from enrichment.files.known import CHANGED, KnownFile
from enrichment.files.table import FileProblem
from enrichment.providers import build_providers
from enrichment.settings import Settings
from rig.processes import environment
from store import campaign_files, campaigns
from store.campaign_reading import map_columns
from store.campaign_results import write_results
from store.campaign_work import CampaignFile, CampaignWork
from store.retention import empty_bodies
from submitter.campaigns import CampaignWorker
from tests.at_work import AtWork
from tests.campaigning import BOTH, COLUMNS, PRICED, Campaigning, begin, campaign_of, people, write_csv
from tests.commands import RINGBACK, ringback, running
from tests.wishes import MOBILE, jobs

if TYPE_CHECKING:
    from tests.wishes import Pool

KEYS = {"LEADMAGIC_API_KEY": "key", "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret"}


async def known(pool: Pool, settings: Settings, path: Path) -> tuple[Campaigning, KnownFile]:
    """Return the campaign of a file, worked on as the command does, and the file as it was."""
    campaign, file = await campaign_of(pool, settings, path), KnownFile(path)
    rows = CampaignFile(path, open_table(path, name=path.name), COLUMNS, file.check)
    campaign.work = CampaignWork(pool, campaign.id, rows, PRICED, build_providers(settings))
    return campaign, file


async def test_no_number_is_written_beside_the_row_of_another(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """A person sorts the file while it is asked: nothing is written, until the file is as it was."""
    path = write_csv(tmp_path / "a.csv", people(4))
    campaign, file = await known(pool, settings, path)
    await begin(campaign, sample=4)
    await campaign.answer(MOBILE, most=1)
    await campaign.to_the_end()
    before, output = path.read_bytes(), tmp_path / "out.csv"

    write_csv(path, list(reversed(people(4))))
    with pytest.raises(FileProblem, match="put it back"):
        await write_results(pool, campaign.id, path, open_table(path, name="a"), output, file.check)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv"]

    path.write_bytes(before)
    await write_results(pool, campaign.id, path, open_table(path, name="a"), output, file.check)
    with output.open(newline="") as written:
        assert [row["ringback_mobile"] for row in csv.DictReader(written)] == [MOBILE, "", "", ""]


async def test_nobody_is_asked_from_a_file_that_was_sorted(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """The rows that were approved are those that were counted."""
    path = write_csv(tmp_path / "a.csv", people(4))
    campaign, _ = await known(pool, settings, path)
    await campaign.until_still()
    assert await campaigns.approve(pool, campaign.id, most=4 * BOTH, who="ops")

    write_csv(path, list(reversed(people(4))))
    stopped = await campaign.until_still()

    assert (stopped.state, stopped.reason, await jobs(pool)) == ("stopped", CHANGED, 0)


async def test_an_upload_that_lost_a_piece_is_gone(world: AtWork) -> None:
    """Retention deletes some pieces at a time: the rest of a file holds other rows under the same numbers."""
    text = b"E-Mail,Name\np0@acme.co,Ada Byron\np1@acme.co,Bob Stone\np2@acme.co,Cy Young\n"
    id = await campaign_files.begin_upload(world.pool, name="up.csv", who="ops")
    for place, piece in enumerate((text[:33], text[33:])):
        await campaign_files.add_piece(world.pool, id, place, piece)
    assert await campaign_files.end_upload(world.pool, id, "up.csv", hashlib.sha256(text).digest(), 2)
    stop = asyncio.Event()
    worker, other = (CampaignWorker(world.process, world.wake, stop) for _ in range(2))
    await worker.work_on_campaigns()
    assert await map_columns(world.pool, id, {"E-Mail": "work_email", "Name": "name"})
    await worker.work_on_campaigns()
    assert await campaigns.approve(world.pool, id, most=4 * BOTH, who="ops")

    await empty_bodies(world.pool, timedelta(days=-1), 1)
    await other.work_on_campaigns()
    worker.close()
    other.close()

    stopped = await campaigns.find(world.pool, id)
    assert stopped is not None
    assert (stopped.state, stopped.reason, await jobs(world.pool)) == ("stopped", campaign_files.GONE, 0)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """What cannot be read twice, or never ends, is refused at once."""
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(FileProblem, match="read twice"):
            open_table(path, name=path.name)


async def test_what_cannot_be_written_is_said_before_anything_is_paid(database_url: str, tmp_path: Path) -> None:
    """A missing folder and the file itself are refused, exit code 2; odd bytes in names are not in the way."""
    (tmp_path / "a.csv").write_bytes(b"E-\0Mail,\0Name\np0@acme.co,Ada Byron\n")
    odd = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / odd).write_bytes(b"E-Mail,Name\np1@acme.co,Bob Stone\n")
    settings = {"cwd": tmp_path, "DATABASE_URL": database_url, **KEYS}

    missing = await ringback("enrich", "a.csv", "--output", "none/b.csv", **settings)  # type: ignore[arg-type]
    itself = await ringback("enrich", "a.csv", "--output", "./a.csv", **settings)  # type: ignore[arg-type]
    counted = await ringback("enrich", odd, "--dry-run", **settings)  # type: ignore[arg-type]
    nul = await ringback("enrich", "a.csv", "--dry-run", "--json", **settings)  # type: ignore[arg-type]
    dear = await ringback("enrich", "a.csv", "--max-credits", "1e20", **settings)  # type: ignore[arg-type]

    assert (missing.code, missing.err.count("\n")) == (2, 1), missing.err
    assert "none/b.csv cannot be written" in missing.err
    assert itself.code == 2
    assert "a.csv is the file itself" in itself.err
    assert counted.code == 0, counted.err
    assert nul.code == 0, nul.err
    assert dear.code == 2
    assert "Invalid value" in dear.err


async def test_a_polite_kill_stops_cleanly(database_url: str, pool: Pool, tmp_path: Path) -> None:
    """SIGTERM is what Ctrl-C is: the campaign stops, and says how to go on; exit code 1."""
    write_csv(tmp_path / "a.csv", people(3))
    env = environment(DATABASE_URL=database_url, **KEYS)
    async with running([*RINGBACK, "enrich", "a.csv"], env, tmp_path) as command:
        await command.says("At most")

        async def is_begun() -> int | None:
            begun: int | None = await pool.fetchval("SELECT begun FROM campaigns WHERE begun = 3")
            return begun

        await command.until(is_begun)
        assert await command.ends(signal.SIGTERM) == 1, command.lines

    assert any("The same command goes on" in line for line in command.lines), command.lines
    assert await pool.fetchval("SELECT state::text FROM campaigns") == "stopped"
    assert await pool.fetchval("SELECT approved_credits FROM campaigns") == 3 * BOTH == Decimal(24)
