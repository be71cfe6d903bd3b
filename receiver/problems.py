"""Errors as application/problem+json (RFC 9457).  They never repeat what was sent: it may be personal, or secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from enrichment import logs
from store.database import UNREACHABLE, DatabaseDown
from store.group_commit import Closed, Full

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds; a restart or a failover takes about as long

# Nothing was acknowledged, and sending it again is safe and may succeed.
UNAVAILABLE = (*UNREACHABLE, DatabaseDown, Full, Closed, asyncpg.TransactionRollbackError)

# Below it, a wrong address gets no body: it may be a guess.
SILENT = "/callbacks"


class Problem(Exception):
    """An answer other than success: *detail* says what to do; *errors* are (path, message) of each wrong field."""

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
    """Build the response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"path": path, "message": message} for path, message in problem.errors]
    return Response(json.dumps(body), problem.status, problem.headers, MEDIA_TYPE)


def not_found() -> Problem:
    """Refuse an id of no lookup."""
    return Problem(404, "There is no such lookup.")


def too_large(most: int) -> Problem:
    """Refuse a body of more than *most* bytes."""
    return Problem(413, f"The body may have at most {most:,} bytes, also when decompressed.")


def wrong_fields(errors: Iterable[tuple[str, str]]) -> Problem:
    """Refuse a body or query that can be read but not be used."""
    return Problem(422, "Some fields cannot be used: `errors` names each. Nothing was done.", errors=list(errors))


def broken(error: Exception, route: str) -> Response:
    """Answer for an unexpected *error*.  Its place is logged; its text, which may hold personal data, is not."""
    log.error("broke", route=route, error=type(error).__name__, at=logs.place(error))
    return problem_response(Problem(500, "Something broke on our side; it has been logged. Nothing was acknowledged."))


async def on_problem(_: Request, error: Exception) -> Response:
    """Answer with the problem that a handler raised."""
    assert isinstance(error, Problem)  # noqa: S101  what it is registered for
    return problem_response(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer for the router: no such address, or no such method."""
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
    """Answer that PostgreSQL cannot be used now, that too much waits for it, or that the process is stopping."""
    log.warning("unavailable", route=request.scope["route"].path, error=type(error).__name__)
    return problem_response(
        Problem(
            503,
            "It cannot be stored at the moment; nothing was acknowledged. Send it again.",
            headers={"Retry-After": RETRY_AFTER},
        )
    )
