"""Turn outcomes into endings of jobs, as the store writes them: number normalised, credits decided."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.money import cents
from enrichment.outcome import Answered, Forgotten, Outcome, Refused, Unclear, Unreadable
from enrichment.phone import needs_region, read_phone
from enrichment.states import AnsweredBy, JobEnd, OpenJobState

REPORTED_WRONG = "it answered with the number that was reported wrong"
REMOVED = "it is no longer in PROVIDERS"
RAW_AT_MOST = 65_536  # characters kept of an unreadable body
ERROR_AT_MOST = 500
NUMBER_AT_MOST = 200  # of a number as the provider wrote it
REQUEST_ID_AT_MOST = 200
NEEDS_REGION = "the number names no country, and no region is known to read it in"
NO_PHONE = "it answered with something that cannot be a phone number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a job. The conditions (*attempt*, *request_id*) decide which job it applies to.

    Texts are cut and cleaned, and the charge is rounded, so that no CHECK of the database refuses them.
    """

    job_id: UUID
    state: JobEnd
    attempt: int | None = None  # the claimed attempt; None: identified by its token or request_id
    request_id: str | None = None  # None: not given
    answered_by: AnsweredBy | None = None
    mobile: str | None = None  # E.164
    number_hash: bytes | None = None  # of `mobile`: a suppressed number is not kept
    mobile_raw: str | None = None  # as the provider wrote it, also where it could not be read
    needs_region: bool = False  # mobile_raw holds a number, and a region would make it one
    region: str | None = None
    line_type: str | None = None
    charged: Decimal | None = None  # None: nothing
    possible: bool = False  # the reservation may have been charged
    error: str | None = None
    raw: str | None = None
    stop: bool = False  # do not go on to the next provider
    # What the reconciler saw when it decided; the job ends so only if that still holds.
    seen_state: OpenJobState | None = None
    seen_request_id: str | None = None
    next_id: UUID = field(default_factory=uuid7)  # the next provider's job, if there is one

    @property
    def number_json(self) -> str:
        """Return the number, or the text that could not be read, as `searches.numbers` holds it."""
        return json.dumps({
            "mobile": self.mobile, "raw": self.mobile_raw, "region": self.region, "line_type": self.line_type,
            "needs_region": self.needs_region,
        })  # fmt: skip

    def __post_init__(self) -> None:
        """Bring every value into a form that the database accepts."""
        fitting = {
            "error": _text(self.error, ERROR_AT_MOST),
            "raw": _text(self.raw, RAW_AT_MOST),
            "mobile_raw": _text(self.mobile_raw, NUMBER_AT_MOST),
            "request_id": _handle(self.request_id),
            "charged": None if self.charged is None else cents(self.charged),
        }
        for name, value in fitting.items():
            object.__setattr__(self, name, value)


def read_ending(
    outcome: Outcome,
    job_id: UUID,
    *,
    answered_by: AnsweredBy,
    price: Decimal,
    region: str | None,
    attempt: int | None = None,
    request_id: str | None = None,
    body: bytes = b"",
    stop_when_doubtful: bool = False,
) -> Ending | None:
    """Return how this *outcome* ends the job; None when it does not end it.

    *price*: credits for a number, if the answer names no charge. *request_id*: the polled one, if there was a poll.
    *body* is kept when a person may have to read it.
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
    """Return the ending of a job that was asked, perhaps charged, and has no knowable outcome."""
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
    """Return the ending of a job that the provider forgot or did not answer in time; it may have been charged."""
    return Ending(job_id=job_id, state="lost", possible=True, error=reason, stop=stop)


def _answered(
    outcome: Answered,
    job_id: UUID,
    answered_by: AnsweredBy,
    price: Decimal,
    region: str | None,
    *,
    attempt: int | None,
    request_id: str | None,
) -> Ending:
    texts = [text for text in (outcome.mobile, outcome.second_choice) if text]
    phone, written = next(
        ((phone, text) for text in texts if (phone := read_phone(text, region))), (None, "; ".join(texts) or None)
    )
    lacks_region = phone is None and any(needs_region(text, region) for text in texts)
    error = None if phone or not texts else NEEDS_REGION if lacks_region else NO_PHONE
    return Ending(
        job_id=job_id,
        state="answered",
        attempt=attempt,
        request_id=request_id,
        answered_by=answered_by,
        mobile=phone.e164 if phone else None,
        mobile_raw=written,
        needs_region=lacks_region,
        region=phone.region if phone else None,
        line_type=phone.line_type if phone else None,
        charged=outcome.credits if outcome.credits is not None else price if texts else Decimal(0),
        error=error,
        raw=written if error else None,
    )


def _kept(body: bytes) -> str | None:
    return body[:RAW_AT_MOST].decode("utf-8", "replace") or None


def _handle(request_id: str | None) -> str | None:
    """Return *request_id* if it can be stored unchanged: a cut or cleaned handle would be another request's."""
    fits = request_id is not None and len(request_id) <= REQUEST_ID_AT_MOST and request_id.isprintable()
    return request_id if fits else None


def _text(text: str | None, longest: int) -> str | None:
    """Cut *text*, and replace what PostgreSQL cannot store: NUL and half surrogate pairs."""
    if text is None:
        return None
    return text[:longest].replace("\0", "�").encode("utf-8", "replace").decode() or None
