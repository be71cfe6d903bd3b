"""POST /v1/selections and its apply: preview an action on many lookups, then apply exactly that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from enrichment.providers.base import Provider
from enrichment.selection import Wanted
from receiver.api import as_json
from receiver.auth import require, who
from receiver.bodies import read_body
from receiver.encodings import json_text
from receiver.messages_selections import SelectedItem, SelectionAnswer
from receiver.problems import Problem, id_of, not_found, wrong_fields
from store import selections
from store.installation import Installation
from store.notify import Notifier
from store.selections import Selection

log = structlog.get_logger()

WORKS_FOR = 5.0  # seconds within a request; the reconciler does the rest
MOST_OF_A_SELECTION = 16_384  # bytes


class Selections:
    """The handlers of selections."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        installation: Installation,
        notifier: Notifier,
        providers: Mapping[str, Provider],
    ) -> None:
        self._pool = pool
        self._installation = installation
        self._notifier = notifier
        self._prices = {name: provider.price for name, provider in providers.items()}

    async def create(self, request: Request) -> Response:
        """Preview an action on the items that a filter finds."""
        wanted = await _read_wanted(request)
        if wanted.action not in selections.APPLY:
            raise wrong_fields([("action", f"one of {', '.join(selections.APPLY)}")])
        if wanted.action == "erase":
            require(request, "admin")
        id = await selections.create(self._pool, wanted, who(request))
        return await self._work(id)

    async def read(self, request: Request) -> Response:
        """Answer with the selection and its progress."""
        return await self._answer(await self._find(id_of(request, "selection")), 200)

    async def apply(self, request: Request) -> Response:
        """Apply the selection, or continue to."""
        selection = await self._find(id_of(request, "selection"))
        if selection.wanted.action == "erase":
            require(request, "admin")
        if selection.state == "previewing":
            raise Problem(409, "The preview of this selection has not ended: read it again, then apply it.")
        if await selections.begin(self._pool, selection.id, who(request)):
            log.info("applying", selection=str(selection.id), action=selection.wanted.action, found=selection.found)
        return await self._work(selection.id)

    async def _work(self, id: UUID) -> Response:
        """Work on the selection for WORKS_FOR, and answer with its state: 202 while there is more to do."""
        policy = await self._installation.policy()
        await selections.work(self._pool, id, policy, self._prices, seconds=WORKS_FOR, after_each=self._notifier.wake)
        selection = await self._find(id)
        return await self._answer(selection, 202 if selection.is_under_way else 200)

    async def _find(self, id: UUID) -> Selection:
        selection = await selections.find(self._pool, id)
        if selection is None:
            raise not_found("selection")
        return selection

    async def _answer(self, selection: Selection, status: int) -> Response:
        rows = await selections.sample(self._pool, selection)
        answer = SelectionAnswer(
            id=selection.id, who=selection.who, action=selection.wanted.action, filter=selection.wanted.filter,
            state=selection.state, count=selection.found, most_credits=selection.most_credits,
            applied=selection.applied, passed=selection.passed,
            sample=[SelectedItem.model_validate(dict(row)) for row in rows],
            created_at=selection.created_at, previewed_at=selection.previewed_at, applied_at=selection.applied_at,
        )  # fmt: skip
        return as_json(answer, status)


async def _read_wanted(request: Request) -> Wanted:
    """Read the action and its filter. Raise Problem (400, 415, 422)."""
    body = json_text(request.headers, await read_body(request, MOST_OF_A_SELECTION), MOST_OF_A_SELECTION)
    try:
        return Wanted.model_validate_json(body)
    except ValidationError as error:
        wrong = [(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors()]
        if any(one["type"] == "json_invalid" for one in error.errors()):
            raise Problem(400, "The body is not JSON.") from None
        raise wrong_fields(wrong) from None
