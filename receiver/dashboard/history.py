"""The page "Over time": what came of the lookups of some days or months, and what their numbers cost."""

from __future__ import annotations

from urllib.parse import urlencode

import asyncpg
from starlette.requests import Request
from starlette.responses import Response

from enrichment.settings import PROVIDER_NAMES, SOURCE_NAMES
from receiver.dashboard.charts import is_empty, questions_of
from receiver.dashboard.counted import SPANS, Counted, Wanted
from receiver.dashboard.desk import Desk
from receiver.dashboard.rendering import as_page
from receiver.problems import RETRY_AFTER, Problem, wrong_fields

DEFAULT = "30d"


class HistoryPage:
    """The handler of the page, and the histories that it keeps."""

    def __init__(self, desk: Desk) -> None:
        self._counted = Counted(desk.pool)

    async def page(self, request: Request) -> Response:
        """Answer GET /history."""
        wanted = _read(request)
        try:
            history = await self._counted.get(wanted)
        except (TimeoutError, asyncpg.QueryCanceledError):
            raise _too_slow() from None
        return as_page(
            request,
            "history.html",
            wanted=wanted,
            spans=[(name, title, _address(wanted, name)) for name, (title, _) in SPANS.items()],
            span=SPANS[wanted.span][0],
            providers=PROVIDER_NAMES,
            sources=SOURCE_NAMES,
            history=history,
            empty=is_empty(history),
            questions=questions_of(history, wanted),
        )

    def close(self) -> None:
        """End what is still under way."""
        self._counted.close()


def _read(request: Request) -> Wanted:
    """Read what the address asks for. Raise Problem (422)."""
    given = request.query_params
    wanted = Wanted(given.get("span") or DEFAULT, given.get("provider") or None, given.get("source") or None)
    known = {"span": SPANS, "provider": (None, *PROVIDER_NAMES), "source": (None, *SOURCE_NAMES)}
    wrong = [name for name, names in known.items() if getattr(wanted, name) not in names]
    if wrong:
        raise wrong_fields([(name, f"one of {', '.join(filter(None, known[name]))}") for name in wrong])
    return wanted


def _address(wanted: Wanted, span: str) -> str:
    """Return the address of the same page for another time."""
    named = {"span": span, "provider": wanted.provider, "source": wanted.source}
    return f"/history?{urlencode({name: value for name, value in named.items() if value})}"


def _too_slow() -> Problem:
    detail = (
        "Counting takes longer than a page should wait. Load the page again in a moment, when the count may be ready, "
        "or choose a shorter time."
    )
    return Problem(503, detail, headers={"Retry-After": RETRY_AFTER})
