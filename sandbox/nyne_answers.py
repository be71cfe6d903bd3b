"""The bodies that Nyne writes: envelopes, finished and running jobs, and, in this one place, its errors.

https://api.nyne.ai/documentation/person/phone
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sandbox.behaviours import Behaviour
from sandbox.people import LANDLINE, TOO_LONG, written
from sandbox.wire import encode

if TYPE_CHECKING:
    from sandbox.nyne_jobs import Job

ErrorShape = Literal["nested", "flat"]

CODE_OF_STATUS = {
    400: "invalid_parameters",
    401: "invalid_api_key",
    402: "insufficient_credits",
    403: "subscription_required",
    404: "request_not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "service_unavailable",
}
MESSAGES = {
    "insufficient_credits": "The balance is empty.",
    "internal_error": "Something broke on our side.",
    "invalid_api_key": "No account has this key.",
    "invalid_api_secret": "The secret does not belong to the key.",
    "missing_api_key": "No X-API-Key header was sent.",
    "missing_api_secret": "No X-API-Secret header was sent.",
    "rate_limit_exceeded": "Too many requests.",
    "request_not_found": "No request has this id, or it has expired.",
    "service_unavailable": "The queue is not available.",
    "subscription_required": "The plan does not include this.",
}
# Nyne's own skill strips raw control characters before it parses, so they do occur in its JSON.
CONTROL_MARK = "{control}"
CONTROL_CHARACTERS = b"\x01\t\x0b\n\x1f"
GARBAGE = b'\xff\xfe{"data": {"status": "comple'
NOT_A_PHONE = "see profile"


def error(status: int, code: str, message: str, shape: ErrorShape) -> bytes:
    """Return an error body in one of the two shapes; no page of Nyne shows one, so both are our guess."""
    code = code or CODE_OF_STATUS.get(status, "internal_error" if status >= 500 else "invalid_parameters")
    message = message or MESSAGES.get(code, f"The request was refused: {code}.")
    if shape == "flat":
        return encode({"success": False, "error": code, "message": message}).encode()
    body = {"success": False, "error": {"code": code, "message": message}, "timestamp": stamp("mixed")}
    return encode(body).encode()


def accepted(job: Job) -> bytes:
    """Return the body of the 202."""
    if job.finished and job.row.work == "none":
        return finished(job)
    note = f"Queued{CONTROL_MARK}, ask later." if job.row.control else "Queued, ask later."
    return _wrapped(job.row, {"request_id": job.request_id, "status": "queued", "message": note})


def running(job: Job, status: str) -> bytes:
    """Return the body of a poll while the job is at work."""
    data: dict[str, Any] = {"request_id": job.request_id, "status": status, "completed": False}
    if job.row.control:
        data["message"] = f"At work{CONTROL_MARK} still."
    return _wrapped(job.row, data | {"created_on": _dated(job.row, job.created_at)})


def finished(job: Job) -> bytes:
    """Return the body with the job's outcome: in the 202, a callback or a poll."""
    return told(job.row, job.request_id, job.number, job.created_at, job.finished_at)


def told(row: Behaviour, request_id: str, number: str, created_at: float, finished_at: float) -> bytes:
    """Return the body for a job with this outcome; false callbacks use it too, to look true."""
    data: dict[str, Any] = {
        "request_id": request_id,
        "status": "completed",
        "completed": True,
        "created_on": _dated(row, created_at),
        "completed_on": _dated(row, finished_at),
    }
    match row.body:
        case "failed":
            data |= {"status": "failed", "completed": False, "error": "The search broke off."}
        case "failedobject":
            problem = {"code": "internal_error", "message": "The search broke off."}
            data |= {"status": "failed", "completed": False, "error": problem}
        case _:
            data["result"] = _result(row, number)
    if row.poll == "missing":
        data |= {"status": "not_found", "result": None}
    if row.control:
        data["message"] = f"Done{CONTROL_MARK} and found."
    return _wrapped(row, data)


def stamp(style: str, at: datetime | None = None, *, dated: bool = False) -> str:
    """Write a time the way Nyne does: by its page, dates of a job end in Z and the envelope's does not."""
    text = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}Z" if style == "z" or (style == "mixed" and dated) else text


def _result(row: Behaviour, number: str) -> Any:
    results: dict[str, Any] = {
        "number": {"mobile": written(number, row.form)},
        "null": {"mobile": None},
        "empty": {},
        "nullresult": None,
        "blank": {"mobile": ""},
        "notphone": {"mobile": NOT_A_PHONE},
        "na": {"mobile": "N/A"},
        "toolong": {"mobile": TOO_LONG},
        "odd": {"channels": {"whatsapp": "+1-415-555-0132"}},
        "integer": {"mobile": int(number or 0)},
        "phones": {"phones": [written(number, row.form)]},
        "landline": {
            "fullphone": [
                {"fullphone": LANDLINE, "type": "landline"},
                {"fullphone": written(number, row.form), "type": "mobile"},
            ]
        },
        "list": {"mobile": [written(number, row.form)]},
        "objects": {"mobile": [{"fullphone": written(number, row.form), "type": "mobile"}]},
    }
    return results[row.body]


def _wrapped(row: Behaviour, data: dict[str, Any]) -> bytes:
    body: dict[str, Any] = data
    if not row.bare:
        body = {"success": data["status"] != "failed", "data": data, "timestamp": stamp(row.stamps)}
    text = encode(body).encode()
    return text.replace(CONTROL_MARK.encode(), CONTROL_CHARACTERS) if row.control else text


def _dated(row: Behaviour, at: float) -> str:
    return stamp(row.stamps, datetime.fromtimestamp(at, UTC), dated=True)
