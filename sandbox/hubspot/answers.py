"""HubSpot's answers: JSON, and errors of one shape in which almost any field may be absent.

https://developers.hubspot.com/docs/api-reference/error-handling
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.hubspot.definitions import Fault
from sandbox.wire import GATEWAY_PAGE, HTML, Answer, encode

GATEWAY = frozenset({502, 503, 504, 520, 521, 522, 523, 524})  # of Cloudflare or a balancer: HTML
SCOPES_PAGE = "https://developers.hubspot.com/scopes"
MESSAGES = {
    401: ("INVALID_AUTHENTICATION", "Authentication credentials not found. This API supports OAuth 2.0 authentication"),
    404: ("OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric."),
    405: ("METHOD_NOT_ALLOWED", "The method is not allowed for this resource."),
    423: ("RESOURCE_LOCKED", "The resource is locked by another request."),
    477: ("MIGRATION_IN_PROGRESS", "This account is currently being migrated between data hosting locations."),
    500: ("INTERNAL_ERROR", "internal error"),
}


def ok(document: object, status: int = 200) -> Answer:
    """Return a success."""
    return Answer(status, encode(document).encode())


def nothing() -> Answer:
    """Return a success without a body."""
    return Answer(204)


def failure(status: int, message: str = "", category: str = "", **more: Any) -> Answer:
    """Return an error; the default *message* and *category* are the usual ones of the status."""
    if status in GATEWAY:
        return Answer(status, GATEWAY_PAGE, media_type=HTML)
    usual_category, usual_message = MESSAGES.get(status, ("VALIDATION_ERROR", "Invalid input"))
    document = {
        "status": "error",
        "message": message or usual_message,
        "correlationId": str(uuid.uuid4()),
        "category": category or usual_category,
        **more,
    }
    return Answer(status, encode(document).encode())


def no_such_path() -> Answer:
    """Return the 404 for an unknown path: it has no category."""
    return Answer(404, encode({"status": "error", "message": "resource not found"}).encode())


def invalid(faults: Sequence[Fault]) -> Answer:
    """Return the 400 that names what is wrong with the values of a write."""
    listed = [
        {"isValid": False, "message": fault.message, "error": fault.code, "name": fault.names[0]} for fault in faults
    ]
    message = f"Property values were not valid: {encode(listed)}"
    return failure(400, message, errors=[_of(fault) for fault in faults])


def missing_scopes(scopes: Iterable[str]) -> Answer:
    """Return the 403 that names the scopes of which one is needed."""
    error = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": sorted(scopes)},
    }
    message = (
        "This app hasn't been granted all required scopes to make this call. "
        f"Read more about required scopes here: {SCOPES_PAGE}."
    )
    return failure(403, message, "MISSING_SCOPES", errors=[error], links={"scopes": SCOPES_PAGE})


def limited(policy: str, message: str, retry_after: int | None) -> Answer:
    """Return a 429 of this policy; reports disagree on whether it carries Retry-After."""
    document = {
        "status": "error",
        "message": message,
        "errorType": "RATE_LIMIT",
        "correlationId": str(uuid.uuid4()),
        "policyName": policy,
    }
    answer = Answer(429, encode(document).encode())
    if retry_after is not None:
        answer.headers.append((b"retry-after", b"%d" % retry_after))
    return answer


def exists(id: int) -> Answer:
    """Return the 409 for an e-mail address that another contact has."""
    return failure(409, f"Contact already exists. Existing ID: {id}", "CONFLICT")


def not_found_among(ids: Sequence[str]) -> dict[str, Any]:
    """Return the error of a batch that names the unknown ids."""
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
        "context": {"ids": list(ids)},
    }


def _of(fault: Fault) -> dict[str, Any]:
    return {"message": fault.message, "code": fault.code, "context": {"propertyName": list(fault.names)}}
