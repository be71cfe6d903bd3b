"""A duty of the reconciler: go on with the campaigns of uploads, and see the lookups of all campaigns to their end."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from enrichment.files import open_table
from enrichment.files.table import FileProblem
from store import campaign_files, campaigns
from store.campaign_work import CampaignFile, CampaignWork
from store.campaigns import Campaign
from submitter.process import Process

LEASE = timedelta(seconds=60)  # of one campaign: longer than a large workbook takes to open
WORKS_FOR = 5.0  # seconds for each: a stop does not wait for a large one
MOST = 2  # campaigns of one pass
STRAY_AFTER = timedelta(hours=1)  # an upload that has not become complete


class CampaignWorker:
    """Works on campaigns, chunk by chunk. The upload that it works on stays in a temporary file meanwhile."""

    def __init__(self, process: Process, wake: Callable[[], None], stop: asyncio.Event) -> None:
        self._process = process
        self._wake = wake
        self._stop = stop
        self._last = UUID(int=0)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._opened: tuple[UUID, CampaignFile] | None = None

    async def work_on_campaigns(self) -> int:
        """Go on with some campaigns that are under way, each for a while; with others the next time."""
        pool = self._process.pool
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

    async def drop_stray_uploads(self) -> int:
        """Delete uploads that never became complete."""
        return await campaign_files.drop_stray_uploads(self._process.pool, STRAY_AFTER)

    def close(self) -> None:
        """Delete the temporary file."""
        self._opened = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _go_on(self, campaign: Campaign) -> None:
        try:
            file = await self._open(campaign)
        except FileProblem as problem:
            await campaigns.stop(self._process.pool, campaign.id, str(problem))
            return
        work = self._work(campaign.id, file)
        until = time.monotonic() + WORKS_FOR
        while time.monotonic() < until and not self._stop.is_set():
            if not (await work.advance()).moved:
                break
            self._wake()

    async def _open(self, campaign: Campaign) -> CampaignFile:
        """Put the upload into a temporary file, unless it is there already. Raise FileProblem."""
        if not await campaign_files.is_kept(self._process.pool, campaign.id):
            raise FileProblem(campaign_files.GONE)
        if self._opened is not None and self._opened[0] == campaign.id:
            return self._opened[1]
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="ringback-campaign-")
        path = Path(self._folder.name) / "upload"
        if not await campaign_files.spool(self._process.pool, campaign.id, path):
            raise FileProblem(campaign_files.GONE)
        table = await asyncio.to_thread(open_table, path, name=campaign.name)
        file = CampaignFile(path, table, campaign.mapping)
        self._opened = campaign.id, file
        return file

    def _work(self, id: UUID, file: CampaignFile | None) -> CampaignWork:
        process = self._process
        return CampaignWork(process.pool, id, file, process.policy, process.providers)
