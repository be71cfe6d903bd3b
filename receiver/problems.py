"""Errors as application/problem+json (RFC 9457). They never repeat the request, which may be personal or secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from enrichment import logs
from store.database import UNREACHABLE, DatabaseDown
from store.erased_rows import MovedOn
from store.group_commit import Closed, Full

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds; a restart or a failover takes about that long

# After these, nothing was acknowledged; sending again is safe and may succeed.
UNAVAILABLE = (*UNREACHABLE, DatabaseDown, Full, Closed, MovedOn, asyncpg.TransactionRollbackError)

# Under this path, a wrong address gets an answer without a body: it may be a guess.
SILENT = "/callbacks"


class Problem(Exception):
    """An error answer: *detail* says what to do; *errors* has (path, message) for each wrong field."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers
        super().__init__(detail)


def problem_response(problem: Problem) -> Response:
    """Build the response of *problem*."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"path": path, "message": message} for path, message in problem.errors]
    return Response(json.dumps(body), problem.status, problem.headers, MEDIA_TYPE)


def not_found(what: str) -> Problem:
    """Return the 404 for an unknown id of *what*: lookup, delivery, pause ..."""
    return Problem(404, f"There is no such {what}.")


def id_of(request: Request, what: str) -> UUID:
    """Return the id in the path. Raise Problem (404) for a text that is no id."""
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise not_found(what) from None


def too_large(most: int) -> Problem:
    """Return the 413 for a body of more than *most* bytes."""
    return Problem(413, f"The body may have at most {most:,} bytes, also when decompressed.")


def wrong_fields(errors: Iterable[tuple[str, str]]) -> Problem:
    """Return the 422 for a readable body or query that cannot be used."""
    return Problem(422, "Some fields cannot be used: `errors` names each. Nothing was done.", errors=list(errors))


def broken(error: Exception, route: str) -> Response:
    """Log the place of an unexpected *error*, not its text, which may hold personal data; return the 500."""
    log.error("broke", route=route, error=type(error).__name__, at=logs.place(error))
    return problem_response(Problem(500, "Something broke on our side; it has been logged. Nothing was acknowledged."))


async def on_problem(_: Request, error: Exception) -> Response:
    """Answer with the problem that a handler raised."""
    assert isinstance(error, Problem)  # noqa: S101  what it is registered for
    return problem_response(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer an unknown address or method, which the router reports."""
    assert isinstance(error, HTTPException)  # noqa: S101  as above
    path = request.scope["path"]
    if error.status_code == 404 and (path == SILENT or path.startswith(f"{SILENT}/")):
        return Response(status_code=404)
    if error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers=error.headers)
    if error.status_code == 404:
        detail = "There is nothing at this address; /docs says what there is."
    elif error.status_code == 405:
        detail = "This address does not take this method; the Allow header says which it takes."
    else:
        detail = error.detail
    return problem_response(Problem(error.status_code, detail, headers=error.headers))


async def on_unavailable(request: Request, error: Exception) -> Response:
    """Answer 503: PostgreSQL is unusable, its queue is full, or the process is stopping."""
    log.warning("unavailable", route=request.scope["route"].path, error=type(error).__name__)
    return problem_response(
        Problem(
            503,
            "It cannot be stored at the moment; nothing was acknowledged. Send it again.",
            headers={"Retry-After": RETRY_AFTER},
        )
    )
