"""POST /v1/selections and its apply: preview an action on many lookups, then apply exactly that."""

from __future__ import annotations

from typing import Any

import asyncpg
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from enrichment.selection import Wanted
from receiver.api import as_json
from receiver.auth import require, who
from receiver.bodies import read_body
from receiver.encodings import json_text
from receiver.messages_selections import SelectedItem, SelectionAnswer
from receiver.problems import Problem, id_of, wrong_fields
from receiver.selection_work import SelectionWork, wrong_in
from store import selections
from store.selections import Selection

MOST_OF_A_SELECTION = 16_384  # bytes


class Selections:
    """The handlers of selections."""

    def __init__(self, pool: asyncpg.Pool[Any], work: SelectionWork) -> None:
        self._pool = pool
        self._work = work

    async def create(self, request: Request) -> Response:
        """Preview an action on the items that a filter finds."""
        wanted = await _read_wanted(request)
        if wanted.action == "erase":
            require(request, "admin")
        return await self._worked(await self._work.preview(wanted, who(request)))

    async def read(self, request: Request) -> Response:
        """Answer with the selection and its progress."""
        return await self._answer(await self._work.find(id_of(request, "selection")), 200)

    async def apply(self, request: Request) -> Response:
        """Apply the selection, or continue to."""
        selection = await self._work.find(id_of(request, "selection"))
        if selection.wanted.action == "erase":
            require(request, "admin")
        return await self._worked(await self._work.apply(selection, who(request)))

    async def _worked(self, selection: Selection) -> Response:
        """Answer with the selection: 202 while there is more to do."""
        return await self._answer(selection, 202 if selection.is_under_way else 200)

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
        if any(one["type"] == "json_invalid" for one in error.errors()):
            raise Problem(400, "The body is not JSON.") from None
        raise wrong_fields(wrong_in(error)) from None
