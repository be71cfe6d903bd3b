"""The brake on the page "Now": stop paid questions, of all, of one provider or of one source, and let go."""

from __future__ import annotations

from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from enrichment.settings import PROVIDER_NAMES, SOURCE_NAMES
from receiver.auth import who
from receiver.dashboard.desk import Desk
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import back_to
from receiver.messages_pauses import LONGEST_REASON
from receiver.problems import wrong_fields
from store import pauses
from store.database import transaction

log = structlog.get_logger()

NO_REASON = "stopped in the dashboard"


class Brake:
    """The handlers of the forms."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pull(self, request: Request) -> Response:
        """Pause what the form names: `provider`, `source`, or all."""
        form = read_form(request)
        provider, source = form.get("provider") or None, form.get("source") or None
        reason = form.get("reason", "").strip()[:LONGEST_REASON] or NO_REASON
        if provider not in (None, *PROVIDER_NAMES) or source not in (None, *SOURCE_NAMES) or (provider and source):
            raise wrong_fields([("provider", f"one of {', '.join(PROVIDER_NAMES)}, or a source, or neither")])
        scope = pauses.Scope(provider, source)
        async with transaction(self._desk.pool, acknowledge=True) as connection:
            pause = await pauses.add_pause(connection, scope, reason=reason, who=who(request))
        if pause is None:
            return back_to("/", "paused-already")
        log.warning("paused", provider=provider, source=source, who=who(request))
        return back_to("/", "paused")

    async def let_go(self, request: Request) -> Response:
        """Remove the pause that the form names."""
        form = read_form(request)
        try:
            id = UUID(form.get("id", ""))
        except ValueError:
            return back_to("/", "resumed-already")
        async with transaction(self._desk.pool, acknowledge=True) as connection:
            pause = await pauses.remove_pause(connection, id, who=who(request))
        if pause is None:
            return back_to("/", "resumed-already")
        self._desk.notifier.wake()
        log.info("resumed", provider=pause["provider"], source=pause["source"], who=who(request))
        return back_to("/", "resumed")
