"""Selections: choose an action and a filter, see what that finds and may cost, and apply it to exactly that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from enrichment.selection import REPLAYED, STATUSES, Action, Wanted
from enrichment.settings import PROVIDER_NAMES, SOURCE_NAMES
from receiver.auth import who
from receiver.dashboard import lookups
from receiver.dashboard.desk import Desk, demand
from receiver.dashboard.forms import read_form
from receiver.dashboard.rendering import as_page, back_to
from receiver.deliveries import CHANNELS
from receiver.problems import Problem, id_of
from receiver.selection_work import SelectionWork, wrong_in
from store import selections
from store.selections import Selection

FIELDS = ("status", "source", "record_id", "provider", "reason", "since", "until", "id", "channel", "state")
WORKS_FOR = 1.0  # seconds; then the page shows how far it is, and the reconciler goes on
EFFECTS: dict[Action, str] = {
    "retry": "asks again for each, doubtful providers too, who may charge a second time",
    "release": "queues each question that is held, which may be paid for then",
    "cancel": "ends each as cancelled, and delivers that as its result; nobody is asked for it any more",
    "replay": "sends each result again, as it is now, under the same id",
    "erase": "removes each, with its person's contact, number and answers; nothing brings them back",
}


class SelectionPages:
    """The handlers of the form, the preview and the progress."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._work = SelectionWork(desk.pool, desk.installation, desk.notifier, desk.providers, seconds=WORKS_FOR)

    async def begin(self, request: Request) -> Response:
        """Show the form, filled in with the filter that the address names."""
        given = {name: request.query_params.get(name, "") for name in (*FIELDS, "action")}
        given["action"] = given["action"] or _likely(given["status"])
        return self._form(request, given)

    async def preview(self, request: Request) -> Response:
        """Look for what the form describes, and show it; or the form again, with what is wrong in it."""
        form = read_form(request)
        given = {name: form.get(name, "").strip() for name in (*FIELDS, "action")}
        if given["action"] == "erase":
            demand(request, "admin")
        try:
            wanted = Wanted.model_validate(
                {"action": given["action"], "filter": {name: given[name] for name in FIELDS if given[name]}}
            )
        except ValidationError as error:
            return self._form(request, given, 422, wrong_in(error))
        selection = await self._work.preview(wanted, who(request))
        return back_to(f"/lookups/selection/{selection.id}")

    async def page(self, request: Request) -> Response:
        """Show what was found, and how much of it is applied: alone, where htmx asks for the part that changes."""
        selection = await self._work.find(id_of(request, "selection"))
        is_part = "hx-request" in request.headers
        return await self._show(request, selection, "selection_part.html" if is_part else "selection.html")

    async def apply(self, request: Request) -> Response:
        """Apply exactly what was previewed."""
        selection = await self._work.find(id_of(request, "selection"))
        if selection.wanted.action == "erase":
            demand(request, "admin")
        try:
            await self._work.apply(selection, who(request))
        except Problem as problem:
            if problem.status != 409:
                raise
            return await self._show(request, selection, "selection.html", 409)
        return back_to(f"/lookups/selection/{selection.id}")

    async def _show(self, request: Request, selection: Selection, template: str, status: int = 200) -> Response:
        wanted = selection.wanted
        sample = await selections.sample(self._desk.pool, selection)
        return as_page(
            request, template, status, selection=selection, sample=sample, effect=EFFECTS[wanted.action],
            needs="admin" if wanted.action == "erase" else "operate",
            filter=wanted.filter.model_dump(exclude_none=True, mode="json"),
        )  # fmt: skip

    def _form(
        self, request: Request, given: Mapping[str, str], status: int = 200, wrong: list[tuple[str, str]] | None = None
    ) -> Response:
        is_admin = "admin" in request.state.holder.scopes
        content: dict[str, Any] = {
            "given": given, "wrong": wrong or [], "statuses": lookups.STATUSES, "sources": SOURCE_NAMES,
            "providers": PROVIDER_NAMES, "channels": CHANNELS, "states": REPLAYED,
            "effects": {name: text for name, text in EFFECTS.items() if name != "erase" or is_admin},
            "fits": {name: STATUSES[name] for name in EFFECTS},
        }  # fmt: skip
        return as_page(request, "selection_form.html", status, **content)


def _likely(status: str) -> str:
    """Return the first action that applies to lookups of this status."""
    return next((action for action in EFFECTS if status in STATUSES[action]), "retry")
