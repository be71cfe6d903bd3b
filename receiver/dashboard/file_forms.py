"""What a person decides about a file: its columns, the sample, the credits, to stop and to go on."""

from __future__ import annotations

import re
from decimal import Decimal
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from enrichment.files.columns import MAPPED
from enrichment.money import MOST_CREDITS
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.files import SAMPLE
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import back_to
from receiver.problems import id_of, not_found, wrong_fields
from store import campaign_reading, campaigns
from store.campaigns import Campaign

log = structlog.get_logger()

MOST_OF_A_SAMPLE = 100_000
IDENTIFYING = frozenset({"profile_url", "work_email", "personal_email", "name", "first_name", "last_name"})
_CREDITS = re.compile(r"(?:[0-9]{1,12}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(?:\.[0-9]{1,6})?")
CHANGED = "file-changed"  # the state did not allow it


class FileForms:
    """The handlers of the forms."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def columns(self, request: Request) -> Response:
        """Keep which column holds what: of each field, the place of its column."""
        campaign = await self._find(request)
        form = await read_form(request)
        columns = campaign.layout.columns if campaign.layout else ()
        mapping: dict[str, str] = {}
        for field in MAPPED:
            given = form.get(field, "")
            if given.isascii() and given.isdecimal() and len(given) < 6 and int(given) < len(columns):
                mapping[columns[int(given)]] = field
        if not IDENTIFYING & set(mapping.values()):
            raise wrong_fields([("", "at least one column has to hold a profile, an e-mail or a name")])
        done = await campaign_reading.map_columns(self._desk.pool, campaign.id, mapping)
        return self._back(campaign.id, done=done)

    async def sample(self, request: Request) -> Response:
        """Let a sample be asked."""
        campaign = await self._find(request)
        form = await read_form(request)
        given = form.get("sample", str(SAMPLE)).strip()
        if not (given.isascii() and given.isdecimal() and len(given) < 9 and 0 < int(given) <= MOST_OF_A_SAMPLE):
            raise wrong_fields([("sample", f"a number of rows from 1 to {MOST_OF_A_SAMPLE:,}")])
        done = await campaigns.begin_sample(self._desk.pool, campaign.id, size=int(given), most=None, who=who(request))
        log.info("campaign_sampled", campaign=str(campaign.id), who=who(request))
        return self._back(campaign.id, done=done)

    async def approve(self, request: Request) -> Response:
        """Let all rows be asked, within the credits of the form."""
        campaign = await self._find(request)
        most = _credits(await read_form(request))
        done = await campaigns.approve(self._desk.pool, campaign.id, most=most, who=who(request))
        log.info("campaign_approved", campaign=str(campaign.id), who=who(request), most_credits=float(most))
        return self._back(campaign.id, done=done)

    async def go_on(self, request: Request) -> Response:
        """Let a stopped campaign go on, within the credits of the form if there are any."""
        campaign = await self._find(request)
        form = await read_form(request)
        most = _credits(form) if form.get("most") else None
        done = campaign.state == "stopped" and await campaigns.go_on(
            self._desk.pool, campaign.id, most=most, who=who(request)
        )
        return self._back(campaign.id, done=done)

    async def stop(self, request: Request) -> Response:
        """Begin no more rows."""
        campaign = await self._find(request)
        done = await campaigns.stop(self._desk.pool, campaign.id)
        log.info("campaign_stopped", campaign=str(campaign.id), who=who(request))
        return self._back(campaign.id, done=done)

    async def _find(self, request: Request) -> Campaign:
        campaign = await campaigns.find(self._desk.pool, id_of(request, "file"))
        if campaign is None:
            raise not_found("file")
        return campaign

    @staticmethod
    def _back(id: UUID, *, done: bool) -> Response:
        return back_to(f"/files/{id}", None if done else CHANGED)


def _credits(form: dict[str, str]) -> Decimal:
    """Read the credits of a form. Raise Problem (422): 12,50 is not 1250."""
    given = form.get("most", "").strip()
    most = Decimal(given.replace(",", "")) if _CREDITS.fullmatch(given) else Decimal(-1)
    if not 0 <= most <= MOST_CREDITS:
        raise wrong_fields([("most", "credits, such as 1200 or 1200.50")])
    return most
