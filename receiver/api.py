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

from enrichment.query import Query, read_query
from enrichment.roles import is_role_address
from enrichment.shown import show_lookup
from enrichment.states import LookupStatus
from enrichment.texts import Unusable
from receiver.auth import who
from receiver.bodies import read_body
from receiver.encodings import plain_body
from receiver.messages import CancelAnswer, LookupPage, ReleaseAnswer, RetryAnswer, RetryBody
from receiver.pages import Place, read_place, write_cursor, wrong_id
from receiver.problems import Problem, id_of, not_found, wrong_fields
from store import lookups, reports
from store.find import find_by_key, find_by_number, find_by_walking, is_shared
from store.installation import Installation
from store.notify import Notifier

log = structlog.get_logger()

STATUSES: tuple[str, ...] = get_args(LookupStatus)
MOST_OF_A_DECISION = 4096  # bytes


class Api:
    """The handlers that read, retry, cancel and release lookups."""

    def __init__(self, pool: asyncpg.Pool[Any], installation: Installation, notifier: Notifier) -> None:
        self._pool = pool
        self._installation = installation
        self._notifier = notifier

    async def read(self, request: Request) -> Response:
        """Answer with one lookup and its jobs."""
        return as_json(show_lookup(await self._find(id_of(request, "lookup"))))

    async def page(self, request: Request) -> Response:
        """Answer with a page of lookups, newest first."""
        wanted, given, place = _read_query(request.query_params)
        ids, after = await self._list(wanted, given, place)
        rows = await reports.read_lookups(self._pool, ids)
        return as_json(LookupPage(lookups=[show_lookup(row) for row in rows], next_cursor=after))

    async def _list(
        self, wanted: Query | None, given: dict[str, Any], place: Place
    ) -> tuple[Sequence[UUID], str | None]:
        """Return the ids of a page, and the cursor of the next."""
        more = {"limit": place.one_more} | given
        if wanted is None:
            return _page(await reports.list_lookups(self._pool, before=place.before, **more), place)
        before = place.before or reports.NEWEST
        if wanted.mobile is not None:
            return _page(await find_by_number(self._pool, wanted.mobile, before=before, **more), place)
        keys = wanted.keys((await self._installation.policy()).hash)
        if wanted.email and (is_role_address(wanted.email) or await is_shared(self._pool, keys)):
            ids, after = await find_by_walking(self._pool, wanted.email, before=before, limit=place.limit, **given)
            return ids, write_cursor(after) if after else None
        return _page(await find_by_key(self._pool, keys, before=before, **more), place)

    async def retry(self, request: Request) -> Response:
        """Try a failed, unresolved or held lookup again, or a found one whose number is wrong."""
        wrong_number = await _read_wrong_number(request)
        lookup = await self._find(id_of(request, "lookup"))
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
        lookup = await self._find(id_of(request, "lookup"))
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
        lookup = await self._find(id_of(request, "lookup"))
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
            raise not_found("lookup")
        return rows[0]


def as_json(model: BaseModel, status: int = 200) -> Response:
    """Return *model* as a JSON response."""
    return Response(model.model_dump_json(), status, media_type="application/json")


async def _read_wrong_number(request: Request) -> bool:
    """Read the optional body {"wrong_number": true}. Raise Problem (400, 413, 415, 422)."""
    body = plain_body(request.headers, await read_body(request, MOST_OF_A_DECISION), MOST_OF_A_DECISION)
    if not body.strip():
        return False
    try:
        return RetryBody.model_validate_json(body).wrong_number
    except ValidationError:
        raise wrong_fields([("wrong_number", "true or false; the body may be left out")]) from None


def _read_query(query: Mapping[str, str]) -> tuple[Query | None, dict[str, Any], Place]:
    """Read the search, the filter and the place. Raise Problem (422), which names every unusable parameter."""
    given = {name: query.get(name) for name in ("status", "record_id", "source")}
    wrong = [*wrong_id(query, "source"), *wrong_id(query, "record_id")]
    if given["status"] is not None and given["status"] not in STATUSES:
        wrong.append(("status", f"one of {', '.join(STATUSES)}"))
    wanted = None
    if (text := query.get("q")) is not None:
        try:
            wanted = read_query(text)
        except Unusable as error:
            wrong.append(("q", str(error)))
    return wanted, given, read_place(query, wrong)


def _warning(doubtful: Sequence[str]) -> str | None:
    if not doubtful:
        return None
    names = " and ".join(sorted(doubtful))
    return f"may charge again: {names} {'were' if len(doubtful) > 1 else 'was'} perhaps charged already"


def _page(ids: Sequence[UUID], place: Place) -> tuple[Sequence[UUID], str | None]:
    return place.cut(ids, lambda one: one)
