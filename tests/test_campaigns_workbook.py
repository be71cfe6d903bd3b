"""An upload that is a workbook is kept as csv, because others read it row by row."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from enrichment.files import read_rows
from enrichment.files.table import Row, Table
from store import campaign_files, campaigns
from submitter.campaigns import CampaignWorker
from tests.at_work import AtWork
from tests.workbooks import number, row, text, write_workbook


async def test_a_workbook_becomes_csv_with_the_same_columns_and_rows(world: AtWork, tmp_path: Path) -> None:
    """Nothing is guessed a second time: a semicolon in the only column's name separates nothing."""
    body = row(1, text("A1", "E-Mail; work")) + row(2, text("A2", "jane@acme.co; x")) + row(4, number("A4", "42"))
    content = write_workbook(tmp_path / "people.xlsx", [("People", body)]).read_bytes()
    pool = world.process.pool
    id = await campaign_files.begin_upload(pool, name="people.xlsx", who="ada")
    await campaign_files.add_piece(pool, id, 0, content)
    await campaign_files.end_upload(pool, id, "people.xlsx", hashlib.sha256(content).digest(), 1)
    worker = CampaignWorker(world.process, world.wake, asyncio.Event())

    await worker.work_on_campaigns()
    worker.close()

    campaign = await campaigns.find(pool, id)
    assert campaign is not None
    assert campaign.layout == Table(("E-Mail; work",), "csv", "utf-8", ",", None)
    kept = tmp_path / "kept.csv"
    await campaign_files.spool(pool, id, kept)
    assert list(read_rows(kept, campaign.layout)) == [Row(1, ("jane@acme.co; x",)), Row(2, ("42",))]
