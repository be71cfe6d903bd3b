"""GET /v1/lookups, and a person's decisions about a lookup: retry, cancel or release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from uuid import UUID

import asyncpg
import structlog
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from enrichment.event import LONGEST_ID
from enrichment.query import Query, read_query
from enrichment.shown import show_lookup
from enrichment.states import LookupStatus
from enrichment.texts import Unusable
from receiver.auth import who
from receiver.bodies import read_body
from receiver.cursors import read_cursor, write_cursor
from receiver.messages import CancelAnswer, LookupPage, ReleaseAnswer, RetryAnswer, RetryBody
from receiver.problems import Problem, not_found, wrong_fields
from store import lookups, reports
from store.find import find_by_key, find_by_number
from store.installation import Installation
from store.notify import Notifier

log = structlog.get_logger()

STATUSES: tuple[str, ...] = get_args(LookupStatus)
DEFAULT_LIMIT, LARGEST_LIMIT = 50, 200
MOST_OF_A_DECISION = 4096  # bytes


class Api:
    """The handlers that read, retry, cancel and release lookups."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, notifier: Notifier) -> None:
        self._pool = pool
        self._installation = installation
        self._notifier = notifier

    async def read(self, request: Request) -> Response:
        """Answer with one lookup and its jobs."""
        return as_json(show_lookup(await self._find(_id(request))))

    async def page(self, request: Request) -> Response:
        """Answer with a page of lookups, newest first."""
        query = _read_query(request.query_params)
        limit = query.pop("limit")
        ids = await self._list(query.pop("q"), query | {"limit": limit + 1})  # one more: is there a next page?
        shown = ids[:limit]
        rows = await reports.read_lookups(self._pool, shown)
        return as_json(
            LookupPage(
                lookups=[show_lookup(row) for row in rows],
                next_cursor=write_cursor(shown[-1]) if len(ids) > len(shown) else None,
            )
        )

    async def _list(self, wanted: Query | None, given: dict[str, Any]) -> list[UUID]:
        if wanted is None:
            return await reports.list_lookups(self._pool, **given)
        given["before"] = given["before"] or reports.NEWEST
        if wanted.mobile is not None:
            return await find_by_number(self._pool, wanted.mobile, **given)
        keys = wanted.keys((await self._installation.policy()).hash)
        return await find_by_key(self._pool, keys, **given)

    async def retry(self, request: Request) -> Response:
        """Try a failed, unresolved or held lookup again, or a found one whose number is wrong."""
        wrong_number = await _read_wrong_number(request)
        lookup = await self._find(_id(request))
        id, status = lookup["id"], lookup["status"]
        # Read this before the retry: a fast retry leaves no doubt to read afterwards.
        doubtful = await lookups.possibly_charged(self._pool, id)
        if status == "held":
            done = await lookups.release(self._pool, id, who=who(request), action="retry")
        elif status in ("failed", "unresolved") or (status == "found" and wrong_number):
            policy = await self._installation.policy()
            done = await lookups.retry(self._pool, id, policy, wrong_number=status == "found", who=who(request))
        else:
            raise Problem(
                409,
                f"This lookup is {status}; only failed, unresolved and held ones can be tried again, "
                'and found ones whose number is wrong: send {"wrong_number": true}.',
            )
        if not done:
            raise Problem(409, "This lookup has just changed; look at it again before deciding.")
        self._notifier.wake()
        log.info("retried", lookup=str(id), was=status, may_charge_again=doubtful)
        now = await self._find(id)
        return as_json(RetryAnswer(id=id, status=now["status"], warning=_warning(doubtful)), 202)

    async def cancel(self, request: Request) -> Response:
        """Cancel a queued, held, failed or unresolved lookup; others that wait for its search go on without it."""
        lookup = await self._find(_id(request))
        policy = await self._installation.policy()
        if not await lookups.cancel(self._pool, lookup["id"], policy, who=who(request)):
            status = (await self._find(lookup["id"]))["status"]
            raise Problem(
                409,
                f"This lookup is {status}; only queued, held, failed and unresolved ones can be cancelled. "
                "A question that is on its way will be paid for, so its answer is waited for.",
            )
        self._notifier.wake()
        log.info("cancelled", lookup=str(lookup["id"]), was=lookup["status"])
        return as_json(CancelAnswer(id=lookup["id"]))

    async def release(self, request: Request) -> Response:
        """Let a held lookup go on, whatever it is held for."""
        lookup = await self._find(_id(request))
        if not await lookups.release(self._pool, lookup["id"], who=who(request)):
            status = (await self._find(lookup["id"]))["status"]
            raise Problem(409, f"This lookup is {status}; only held ones can be released.")
        self._notifier.wake()
        log.info("released", lookup=str(lookup["id"]))
        now = await self._find(lookup["id"])
        return as_json(ReleaseAnswer(id=lookup["id"], status=now["status"]))

    async def _find(self, id: UUID) -> dict[str, Any]:
        rows = await reports.read_lookups(self._pool, [id])
        if not rows:
            raise not_found()
        return rows[0]


def as_json(model: BaseModel, status: int = 200) -> Response:
    """Return *model* as a JSON response."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def whole_number(query: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    """Return the query parameter *name* as a number from 1 to *most*. Raise Problem (422)."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most):
        raise wrong_fields([(name, f"a whole number from 1 to {most}")])
    return int(text)


async def _read_wrong_number(request: Request) -> bool:
    """Read the optional body {"wrong_number": true}. Raise Problem (422)."""
    body = await read_body(request, MOST_OF_A_DECISION)
    if not body.strip():
        return False
    try:
        return RetryBody.model_validate_json(body).wrong_number
    except ValidationError:
        raise wrong_fields([("wrong_number", "true or false; the body may be left out")]) from None


def _read_query(query: Mapping[str, str]) -> dict[str, Any]:
    names = ("status", "record_id", "source", "cursor")
    status, record_id, source, cursor = (query.get(name) for name in names)
    wrong = []
    if status is not None and status not in STATUSES:
        wrong.append(("status", f"one of {', '.join(STATUSES)}"))
    if source is not None and ("\0" in source or len(source) > LONGEST_ID):
        wrong.append(("source", f"up to {LONGEST_ID} characters, none of them NUL"))
    wanted = None
    if (text := query.get("q")) is not None:
        try:
            wanted = read_query(text)
        except Unusable as error:
            wrong.append(("q", str(error)))
    if record_id is not None and ("\0" in record_id or len(record_id) > LONGEST_ID):
        wrong.append(("record_id", f"up to {LONGEST_ID} characters, none of them NUL"))
    before = read_cursor(cursor) if cursor is not None else None
    if cursor is not None and before is None:
        wrong.append(("cursor", "a next_cursor from the page before"))
    try:
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT)
    except Problem as problem:
        wrong.extend(problem.errors)
    if wrong:
        raise wrong_fields(wrong)
    return {
        "status": status, "record_id": record_id, "source": source, "q": wanted, "before": before, "limit": limit
    }  # fmt: skip


def _id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise not_found() from None


def _warning(doubtful: Sequence[str]) -> str | None:
    if not doubtful:
        return None
    names = " and ".join(sorted(doubtful))
    return f"may charge again: {names} {'were' if len(doubtful) > 1 else 'was'} perhaps charged already"
