"""GET /files/{id}/enriched: the upload with what was found beside it. Its numbers are personal data: it is audited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from enrichment.files.spool import Spool
from enrichment.files.table import FileProblem
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.rendering import HEADERS
from receiver.problems import Problem, id_of, not_found
from store import audit, campaign_files, campaigns
from store.campaign_results import write_results
from store.campaigns import Campaign

log = structlog.get_logger()

AT_ONCE = 2  # each has the file twice on disk


class FileDownloads:
    """The handler of downloads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open = 0

    async def enriched(self, request: Request) -> Response:
        """Write the enriched file to a temporary folder, and send it from there."""
        campaign = await campaigns.find(self._desk.pool, id_of(request, "file"))
        if campaign is None:
            raise not_found("file")
        if campaign.layout is None or not campaign.begun:
            raise Problem(409, "Nothing of this file was asked in the dashboard, so there is nothing to download.")
        if self._open >= AT_ONCE:
            raise Problem(503, "Other files are being written. Load this one again in a moment.")
        spooled = Spool()
        self._open += 1
        try:
            path = await self._write(campaign, spooled.folder)
            await audit.record(self._desk.pool, who=who(request), action="export", subject=campaign.id)
        except BaseException:
            self._end(spooled)
            raise
        log.info("exported", campaign=str(campaign.id), who=who(request))
        name = f"{Path(campaign.name).stem}.enriched.csv"
        headers = HEADERS | {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
        return _Download(path, headers, lambda: self._end(spooled))

    async def _write(self, campaign: Campaign, folder: Path) -> Path:
        source, target = folder / "upload", folder / "enriched.csv"
        assert campaign.layout is not None  # noqa: S101  the caller looked
        try:
            if not await campaign_files.spool(self._desk.pool, campaign.id, source):
                raise FileProblem(campaign_files.GONE)
            await write_results(self._desk.pool, campaign.id, source, campaign.layout, target)
        except FileProblem as problem:
            raise Problem(410, f"This file cannot be written any more: {problem}.") from None
        return target

    def _end(self, spooled: Spool) -> None:
        spooled.close()
        self._open -= 1


class _Download(FileResponse):
    """A file that is sent piece by piece; *end* is called whether it was sent or not."""

    def __init__(self, path: Path, headers: dict[str, str], end: Callable[[], None]) -> None:
        super().__init__(path, headers=headers, media_type="text/csv; charset=utf-8")
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()
