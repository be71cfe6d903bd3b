"""Outcomes that end a job, as the store writes them: the number normalised, the credits decided."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.money import to_cents
from enrichment.outcome import Answered, Forgotten, Outcome, Refused, Unclear, Unreadable
from enrichment.phone import read_phone

REPORTED_WRONG = "it answered with the number that was reported wrong"
RAW_AT_MOST = 65_536  # characters of a strange body that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a job ends as. The conditions (*attempt*, *request_id*) say which job it is meant for."""

    job_id: UUID
    state: str  # answered | failed | unknown | lost
    attempt: int | None = None  # the claimed attempt; None: whoever has the token or the request_id
    request_id: str | None = None  # None: not told
    answered_by: str | None = None  # inline | callback | poll
    mobile: str | None = None  # E.164
    mobile_raw: str | None = None
    region: str | None = None
    line_type: str | None = None
    charged: Decimal | None = None  # None: nothing
    possible: bool = False  # the reservation is perhaps charged
    error: str | None = None
    raw: str | None = None
    stop: bool = False  # do not go on to the next provider
    # What the reconciler saw when it decided; the job ends so only if that still holds.
    seen_state: str | None = None
    seen_request_id: str | None = None
    next_id: UUID = field(default_factory=uuid7)  # the next provider's job, if there is one

    def number_json(self) -> str:
        """Return the number as `searches.numbers` holds it."""
        number = {"mobile": self.mobile, "raw": self.mobile_raw, "region": self.region, "line_type": self.line_type}
        return json.dumps(number)


def read_ending(
    outcome: Outcome,
    job_id: UUID,
    *,
    answered_by: str,
    price: Decimal,
    region: str | None,
    attempt: int | None = None,
    request_id: str | None = None,
    body: bytes = b"",
    stop_when_doubtful: bool = False,
) -> Ending | None:
    """How the job ends by this *outcome*, or None when it does not end by it.

    *price* is what the provider charges for a number, where it does not say itself. *request_id* is the one that
    was asked about, where it was asked. *body* is kept where a person may have to read it.
    """
    match outcome:
        case Answered():
            asked = request_id or outcome.request_id
            return _answered(outcome, job_id, answered_by, price, region, attempt=attempt, request_id=asked)
        case Refused():
            ending = Ending(
                job_id=job_id, state="failed", request_id=outcome.request_id, error=outcome.reason, raw=_kept(body)
            )
        case Unreadable() | Unclear():  # a success that cannot be read may have cost something as well
            ending = unknown(job_id, outcome.reason, attempt=attempt, body=body, stop=stop_when_doubtful)
        case Forgotten():
            ending = lost(job_id, outcome.reason, stop=stop_when_doubtful)
        case _:
            return None
    return replace(ending, attempt=attempt, request_id=request_id or ending.request_id)


def unknown(job_id: UUID, reason: str, *, attempt: int | None, body: bytes = b"", stop: bool = False) -> Ending:
    """Asked, perhaps charged, and nobody can tell."""
    return Ending(
        job_id=job_id,
        state="unknown",
        attempt=attempt,
        possible=True,
        error=reason,
        raw=_kept(body),
        stop=stop,
    )


def lost(job_id: UUID, reason: str, *, stop: bool = False) -> Ending:
    """The provider forgot it, or did not answer in time; perhaps charged."""
    return Ending(job_id=job_id, state="lost", possible=True, error=reason, stop=stop)


def _answered(
    outcome: Answered,
    job_id: UUID,
    answered_by: str,
    price: Decimal,
    region: str | None,
    *,
    attempt: int | None,
    request_id: str | None,
) -> Ending:
    phone = read_phone(outcome.mobile, region) if outcome.mobile else None
    credits = outcome.credits if outcome.credits is not None else price if outcome.mobile else Decimal(0)
    return Ending(
        job_id=job_id,
        state="answered",
        attempt=attempt,
        request_id=request_id,
        answered_by=answered_by,
        mobile=phone.e164 if phone else None,
        mobile_raw=outcome.mobile[:200] if phone and outcome.mobile else None,
        region=phone.region if phone else None,
        line_type=phone.line_type if phone else None,
        charged=to_cents(credits),
        error="it answered with something that cannot be a phone number" if outcome.mobile and not phone else None,
        raw=outcome.mobile[:200] if outcome.mobile and not phone else None,
    )


def _kept(body: bytes) -> str | None:
    # PostgreSQL's text holds no NUL.
    return body[:RAW_AT_MOST].decode("utf-8", "replace").replace("\0", "�") or None
