"""The bodies that LeadMagic writes: its flat success, its problem+json, and the forms that deviate from both."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.people import LANDLINE, TOO_LONG, written
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
    "profile_not_found": ("No such profile", "No person has this profile.", "Try an e-mail."),
    "resource_not_found": ("Nothing here", "There is no such resource.", "Check the path."),
    "method_not_allowed": ("Wrong method", "The path takes another method.", "Check the method."),
    "rate_limit_exceeded": ("Too many requests", "The limit is used up.", "Wait for Retry-After."),
    "INTERNAL_ERROR": ("Internal error", "Something broke on our side.", "Ask again in 30 seconds."),
    "EXTERNAL_SERVICE_ERROR": ("External service error", "A service behind this one failed.", "Ask again later."),
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
    502: "EXTERNAL_SERVICE_ERROR",
    503: "service_unavailable",
}
_ODD_FAILURES = {
    "bare404": (TEXT, b"404 page not found"),
    "404words": (JSON, b'{"message":"Contact not found"}'),
    "teapot": (JSON, b'{"message":"short and stout"}'),
    "olderror": (JSON, b'{"error":"validation_error","message":"The request cannot be used."}'),
    "old402": (JSON, b'{"error":"insufficient_credits","detail":"The balance is below the price."}'),
}
GATEWAY_STATUSES = frozenset({502, 504})  # the gateway in front of the service speaks HTML


class Question(NamedTuple):
    """The identifiers as received."""

    profile_url: str | None = None
    work_email: str | None = None
    personal_email: str | None = None


def success(question: Question, kind: str, form: str, number: str, price: float) -> tuple[bytes, bytes]:
    """Return the media type and body of a 200; *kind* and *form* are the row's."""
    if kind == "garbage":
        return JSON, b'{"mobile_number": "+1-4\xff\xfe<!-- upstream said no'
    body: dict[str, Any] = {}
    if question.profile_url:
        body["profile_url"] = question.profile_url
    if email := question.work_email or question.personal_email:
        body["email"] = email
    body |= _misses().get(kind) or _hits(kind, written(number, form), price)
    if kind == "extra":
        body |= {"confidence": 0.97, "line": {"carrier": None, "type": "mobile"}, "version": 2}
    return JSON, encode(body).encode()


def _misses() -> dict[str, dict[str, Any]]:
    """Return the bodies without a number, by the row's kind."""
    free = {"credits_consumed": 0, "message": NOT_FOUND}
    return {
        "null": {"mobile_number": None} | free,
        "absent": free,
        "oldmiss": {"mobile_number": None} | free | {"message": OLD_NOT_FOUND},
        "na": {"mobile_number": "N/A"} | free,
        "false": {"mobile_number": False} | free,
    }


def _hits(kind: str, number: str, price: float) -> dict[str, Any]:
    """Return the body with a charged number, or with what stands in its place, by the row's kind."""
    charged = {"credits_consumed": price, "message": FOUND}
    match kind:
        case "notphone":
            return {"mobile_number": "ask reception"} | charged
        case "toolong":
            return {"mobile_number": TOO_LONG} | charged
        case "wrongtypes":
            return {"mobile_number": {"n": 1}, "credits_consumed": "five", "message": ["found"]}
        case "list":
            both = [{"number": LANDLINE, "type": "landline"}, {"number": number, "type": "mobile"}]
            return {"mobile_number": both} | charged
        case "integer":
            return {"mobile_number": int(number.replace("-", ""))} | charged
    return {"mobile_number": number} | charged | ({"credits_consumed": price - 0.001} if kind == "thousandths" else {})


def failure(status: int, kind: str, code: str = "", **more: Any) -> tuple[bytes, bytes]:
    """Return the media type and body of anything but a 200; *kind* is the row's, *more* goes into the problem."""
    if kind == "html" or (status in GATEWAY_STATUSES and kind != "problem"):
        return HTML, GATEWAY_PAGE
    if kind in _ODD_FAILURES:
        return _ODD_FAILURES[kind]
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
