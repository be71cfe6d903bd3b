"""A duty of the reconciler: go on with the campaigns of uploads, and see the lookups of all campaigns to their end."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

from enrichment.files import open_table, read_rows, table_records
from enrichment.files.columns import guess_mapping
from enrichment.files.spool import Spool, delete_strays
from enrichment.files.table import FileProblem, Table
from store import campaign_files, campaigns
from store.campaign_work import CampaignFile, CampaignWork
from store.campaigns import Campaign
from submitter.process import Process

LEASE = timedelta(seconds=60)  # of one campaign: longer than a large workbook takes to open
WORKS_FOR = 5.0  # seconds for each: a stop does not wait for a large one
GUESSED_FROM = 200  # rows
MOST = 2  # campaigns of one pass
UNDER_WAY = ("reading", "sampling", "running")
STRAY_AFTER = timedelta(hours=1)  # an upload that has not become complete


class CampaignWorker:
    """Works on campaigns, chunk by chunk. The upload that it works on stays in a temporary file meanwhile."""

    def __init__(self, process: Process, wake: Callable[[], None], stop: asyncio.Event) -> None:
        self._process = process
        self._wake = wake
        self._stop = stop
        self._last = UUID(int=0)
        self._spooled: Spool | None = None
        self._opened: tuple[UUID, CampaignFile] | None = None

    @property
    def holds_a_file(self) -> bool:
        """Tell whether an upload is in a temporary file here."""
        return self._spooled is not None

    async def work_on_campaigns(self) -> int:
        """Go on with some campaigns that are under way, each for a while; with others the next time."""
        pool = self._process.pool
        await self._let_go()
        for id in await campaigns.under_way(pool, MOST, self._last):
            self._last = id
            claimed = await campaigns.claim(pool, id, LEASE)
            if claimed is None:
                await self._work(id, None).advance()
                continue
            try:
                await self._go_on(claimed)
            finally:
                await campaigns.leave(pool, id)
        return 0

    async def _let_go(self) -> None:
        """Delete the temporary file of an upload that was deleted, or is not asked about now: it is full of people."""
        if self._spooled is None:
            return
        pool, id = self._process.pool, self._opened[0] if self._opened else None
        campaign = await campaigns.find(pool, id) if id else None
        if campaign is None or campaign.state not in UNDER_WAY or not await campaign_files.is_kept(pool, campaign.id):
            self.close()

    async def drop_stray_uploads(self) -> int:
        """Delete uploads that never became complete, and what killed processes left on this machine."""
        await asyncio.to_thread(delete_strays)
        return await campaign_files.drop_stray_uploads(self._process.pool, STRAY_AFTER)

    def close(self) -> None:
        """Delete the temporary file."""
        self._opened = None
        if self._spooled is not None:
            self._spooled.close()
            self._spooled = None

    async def _go_on(self, campaign: Campaign) -> None:
        try:
            if campaign.layout is None:
                await self._look(campaign)
                return
            # While lookups are held, or the last ones on their way, 64 MiB need not be fetched each second.
            wants_rows = await self._work(campaign.id, None).wants_rows(campaign)
            file = await self._open(campaign, campaign.layout) if wants_rows else None
        except FileProblem as problem:
            await campaigns.stop(self._process.pool, campaign.id, str(problem))
            return
        work = self._work(campaign.id, file)
        until = time.monotonic() + WORKS_FOR
        while time.monotonic() < until and not self._stop.is_set():
            if not (await work.advance()).moved:
                break
            self._wake()

    async def _look(self, campaign: Campaign) -> None:
        """Find out what is in an upload. A workbook becomes csv, which others read row by row. Raise FileProblem."""
        path = await self._spool(campaign)
        table = await asyncio.to_thread(open_table, path, name=campaign.name)
        written = None
        if table.kind == "xlsx":
            written = path.with_name("upload.csv")
            await asyncio.to_thread(_write_csv, path, table, written)
            # Not guessed again: a semicolon in the name of the only column is no separator.
            path, table = written, replace(table, kind="csv", encoding="utf-8", separator=",", sheet=None)
        first = await asyncio.to_thread(lambda: list(islice(read_rows(path, table), GUESSED_FROM)))
        await campaign_files.describe(self._process.pool, campaign.id, table, guess_mapping(table, first), written)
        self.close()

    async def _open(self, campaign: Campaign, table: Table) -> CampaignFile:
        """Put the upload into a temporary file, unless it is there already. Raise FileProblem."""
        if not await campaign_files.is_kept(self._process.pool, campaign.id):
            raise FileProblem(campaign_files.GONE)
        if self._opened is None or self._opened[0] != campaign.id:
            self._opened = campaign.id, CampaignFile(await self._spool(campaign), table, campaign.mapping)
        return self._opened[1]

    async def _spool(self, campaign: Campaign) -> Path:
        self.close()
        self._spooled = Spool()
        path = self._spooled.folder / "upload"
        if not await campaign_files.spool(self._process.pool, campaign.id, path):
            raise FileProblem(campaign_files.GONE)
        return path

    def _work(self, id: UUID, file: CampaignFile | None) -> CampaignWork:
        process = self._process
        return CampaignWork(process.pool, id, file, process.policy, process.providers)


def _write_csv(path: Path, table: Table, target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table_records(path, table))
