"""What LeadMagic writes: its flat success, its problem+json, and the forms that deviate from both."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.people import written
from sandbox.wire import GATEWAY_PAGE, HTML, JSON, encode

PROBLEM = b"application/problem+json"
TEXT = b"text/plain; charset=utf-8"
DOCS = "https://leadmagic.io/docs/v1/making-api-calls"

# The vendor's words: https://leadmagic.io/docs/v1/reference/mobile-finder; the older ones of its OpenAPI file.
FOUND = "Mobile number found."
NOT_FOUND = "No mobile number found for this contact."
OLD_NOT_FOUND = "mobile not found"


# Title, detail and action of each code.
COMPLAINTS = {
    "validation_error": ("Invalid request", "The request cannot be used.", "Correct it."),
    "missing_authentication": ("No API key", "No X-API-Key header was sent.", "Send your key."),
    "invalid_api_key": ("Wrong API key", "No account has this key.", "Check the key."),
    "insufficient_credits": ("Not enough credits", "The balance is below the price.", "Add credits."),
    "forbidden": ("Not allowed", "The account has no credits for this.", "Check the account."),
    "profile_not_found": ("No such profile", "Nobody is known by this profile.", "Try an e-mail."),
    "resource_not_found": ("Nothing here", "There is no such resource.", "Check the path."),
    "method_not_allowed": ("Wrong method", "The path takes another method.", "Check the method."),
    "rate_limit_exceeded": ("Too many requests", "The limit is used up.", "Wait for Retry-After."),
    "INTERNAL_ERROR": ("Internal error", "Something broke on our side.", "Ask again in 30 seconds."),
    "service_unavailable": ("Unavailable", "The service is down for a moment.", "Ask again later."),
}
CODE_OF_STATUS = {
    400: "validation_error",
    401: "invalid_api_key",
    402: "insufficient_credits",
    403: "forbidden",
    404: "resource_not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
}
GATEWAY_STATUSES = frozenset({502, 504})  # the gateway in front of the service speaks HTML


class Question(NamedTuple):
    """The identifiers as received."""

    profile_url: str | None = None
    work_email: str | None = None
    personal_email: str | None = None


def success(question: Question, kind: str, form: str, number: str, price: float) -> tuple[bytes, bytes]:
    """The media type and body of a 200: *kind* and *form* are the row's."""
    if kind == "garbage":
        return JSON, b'{"mobile_number": "+1-4\xff\xfe<!-- upstream said no'
    body: dict[str, Any] = {}
    if question.profile_url:
        body["profile_url"] = question.profile_url
    if email := question.work_email or question.personal_email:
        body["email"] = email
    match kind:
        case "null":
            body |= {"mobile_number": None, "credits_consumed": 0, "message": NOT_FOUND}
        case "absent":
            body |= {"credits_consumed": 0, "message": NOT_FOUND}
        case "oldmiss":
            body |= {"mobile_number": None, "credits_consumed": 0, "message": OLD_NOT_FOUND}
        case "notphone":
            body |= {"mobile_number": "ask reception", "credits_consumed": price, "message": FOUND}
        case "wrongtypes":
            body |= {"mobile_number": {"n": 1}, "credits_consumed": "five", "message": ["found"]}
        case _:
            body["mobile_number"] = written(number, form)
            body["credits_consumed"] = price
            body["message"] = FOUND
    if kind == "extra":
        body |= {"confidence": 0.97, "line": {"carrier": None, "type": "mobile"}, "version": 2}
    return JSON, encode(body).encode()


def failure(status: int, kind: str, code: str = "", **more: Any) -> tuple[bytes, bytes]:
    """The media type and body of anything but a 200: *kind* is the row's, *more* goes into the problem."""
    if kind == "html" or status in GATEWAY_STATUSES:
        return HTML, GATEWAY_PAGE
    match kind:
        case "bare404":
            return TEXT, b"404 page not found"
        case "teapot":
            return JSON, b'{"message":"short and stout"}'
        case "olderror":
            return JSON, b'{"error":"validation_error","message":"The request cannot be used."}'
        case "old402":
            return JSON, b'{"error":"insufficient_credits","detail":"The balance is below the price."}'
    code = code or CODE_OF_STATUS.get(status, "INTERNAL_ERROR" if status >= 500 else "validation_error")
    return PROBLEM, _problem(status, code, more)


def _problem(status: int, code: str, more: dict[str, Any]) -> bytes:
    title, detail, action = COMPLAINTS[code]
    error = {
        "type": f"https://leadmagic.io/errors/{code.lower()}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        "action": action,
        "docs": DOCS,
    }
    meta = {"request_id": str(uuid.uuid4()), "timestamp": _now(), "environment": "sandbox"}
    return encode({"success": False, "errors": [error | more], "meta": meta}).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
