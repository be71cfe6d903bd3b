"""The pages of the admins: JSON, and long lists in parts."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from sandbox.wire import encode

PAGE = 1000  # entries of a page, unless ?limit= says otherwise


class Entry(Protocol):
    """One line of a list."""

    def as_json(self) -> dict[str, Any]:
        """Return the line as the admin shows it."""


def document(content: object, status: int = 200) -> Response:
    """Answer with JSON."""
    # Not JSONResponse: what a tester sent may hold lone surrogates, which only an escape can carry.
    return Response(encode(content), status, media_type="application/json")


def page(request: Request, entries: Collection[Entry], extra: dict[str, Any], *, dropped: int = 0) -> Response:
    """Answer with the part of *entries* that ?after= and ?limit= name, and *extra*; *dropped* ones came before them."""
    try:
        after = max(dropped, int(request.query_params.get("after", 0)))
        limit = max(1, int(request.query_params.get("limit", PAGE)))
    except ValueError:
        return document({"detail": "after and limit are whole numbers"}, 400)
    part = islice(entries, after - dropped, after - dropped + limit)
    shown = [{"n": n} | entry.as_json() for n, entry in enumerate(part, after + 1)]
    more = after + len(shown) < dropped + len(entries)
    return document(extra | {"entries": shown, "next": shown[-1]["n"] if more else None})
