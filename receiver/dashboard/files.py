"""The pages of files: upload one, say what its columns hold, see what it may cost, and follow it to its end."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from enrichment.campaign_waits import why_held
from enrichment.files.columns import MAPPED
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.rendering import as_page, back_to
from receiver.dashboard.uploads import receive_file
from receiver.pages import read_place
from receiver.problems import Problem, id_of, not_found
from store import campaign_asking, campaign_files, campaign_reading, campaigns
from store.campaigns import Campaign
from store.database import transaction

REASONS = 20  # that are shown, why rows cannot be used
SAMPLE = 50  # rows
UPLOADS_AT_ONCE = 2  # each holds two pieces
UNDER_WAY = ("reading", "sampling", "running")


@dataclass(frozen=True, slots=True)
class File:
    """What the page of one campaign shows."""

    campaign: Campaign
    reasons: list[dict[str, Any]]
    held: str  # why its lookups are, in words
    open: int
    most_left: Decimal  # that the rows which have yet to begin can cost
    is_kept: bool  # the upload is there

    @property
    def moves(self) -> bool:
        """Tell whether the page changes by itself."""
        campaign = self.campaign
        is_looked_at = campaign.state == "uploaded" and campaign.layout is None
        return self.open > 0 or is_looked_at or (campaign.is_uploaded and campaign.state in UNDER_WAY)

    @property
    def most(self) -> Decimal:
        """Return the credits to approve for all that is left: with what was spent."""
        return self.campaign.credits + self.most_left

    @property
    def total(self) -> int:
        """Return how many rows are being asked in this state."""
        campaign = self.campaign
        return (campaign.sample or 0) if campaign.state == "sampling" else campaign.usable


class Files:
    """The handlers of the list, of the upload, and of one campaign's page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._uploads = 0

    async def page(self, request: Request) -> Response:
        """Answer GET /files."""
        place = read_place(request.query_params)
        found = await campaigns.page(self._desk.pool, place.before, place.one_more)
        shown, cursor = place.cut(found, lambda one: one.id)
        return as_page(request, "files.html", campaigns=shown, cursor=cursor)

    async def upload(self, request: Request) -> Response:
        """Keep the file of the form, and lead to its page."""
        if self._uploads >= UPLOADS_AT_ONCE:
            raise Problem(503, "Other files are being uploaded. Send this one again in a moment.")
        self._uploads += 1
        try:
            id = await campaign_files.begin_upload(self._desk.pool, name="contacts", who=who(request))
            try:
                await self._keep(request, id)
            finally:
                await campaign_files.drop_upload(self._desk.pool, id)  # unless it is complete
        finally:
            self._uploads -= 1
        return back_to(f"/files/{id}")

    async def _keep(self, request: Request, id: UUID) -> None:
        places = iter(range(2**31))
        received = await receive_file(
            request, lambda piece: campaign_files.add_piece(self._desk.pool, id, next(places), piece)
        )
        async with transaction(self._desk.pool, acknowledge=True) as connection:
            is_whole = await campaign_files.end_upload(
                connection, id, received.name, received.digest.digest(), received.pieces
            )
        if not is_whole:
            raise Problem(409, "A person was erased while the file came, so it was not kept. Upload it again.")

    async def one(self, request: Request) -> Response:
        """Answer GET /files/{id}."""
        return as_page(request, "file.html", **self._shown(await self.read(id_of(request, "file"))))

    async def part(self, request: Request) -> Response:
        """Answer GET /files/{id}/part: what changes of the page, for htmx."""
        return as_page(request, "file_part.html", **self._shown(await self.read(id_of(request, "file"))))

    async def read(self, id: UUID) -> File:
        """Read what the page shows. Raise Problem (404)."""
        pool = self._desk.pool
        campaign = await campaigns.find(pool, id)
        if campaign is None or campaign.state == "uploading":
            raise not_found("file")
        policy = await self._desk.installation.policy()
        waiting = await campaign_asking.waiting(pool, id, policy.guards.prices) if campaign.begun else []
        reasons = await campaign_reading.reasons(pool, id, REASONS) if campaign.unusable else []
        rests = campaign.state in ("read", "quoted", "stopped")
        return File(
            campaign,
            [dict(row) for row in reasons],
            why_held(waiting),
            sum(one.lookups for one in waiting),
            await campaign_asking.most_left(pool, id) if rests else Decimal(0),
            await campaign_files.is_kept(pool, id),
        )

    @staticmethod
    def _shown(file: File) -> dict[str, Any]:
        return {"file": file, "campaign": file.campaign, "fields": MAPPED, "sample": SAMPLE}
