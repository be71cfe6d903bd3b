"""Nyne accepts the question with a 202 and answers by callback; meanwhile it can be polled, which is free.

Its words, and ours. Source, unless a line names another: https://api.nyne.ai/documentation/person/phone

    POST /person/phone
    2xx with a request_id                  Accepted     {success, data, timestamp} around it, or bare
    2xx, status completed | failed         as a poll    a quick job is done before the POST is answered; what cannot
                                                        be read of it is polled
    2xx without a request_id               Unreadable   the job may exist: only its callback can tell
    400, 404; other 3xx, 4xx               Refused
    401 missing_ | invalid_api_key         Pause        https://api.nyne.ai/documentation/usage-playground
        missing_ | invalid_api_secret
    402 insufficient_credits               Pause
    403 subscription_required              Pause
        ip_not_allowed, in its own JSON
    403 otherwise                          Retry        a firewall in front of it
    429 rate_limit_exceeded                Retry
    429 insufficient_credits, *quota*      Pause        https://api.nyne.ai/documentation/person/search.md
    408, 503 service_unavailable           Retry
    500, 502, 504; other 5xx               Unclear      the job may exist, and no key makes two POSTs one

    GET /person/phone?request_id=          also the body of a callback, with 2xx understood
    2xx queued | processing | pending      Running
    2xx completed                          Answered     no result, no mobile, an empty one or "N/A": no number
    2xx failed                             Refused      `error` is a text or an object
    any status not_found                   Answered     https://api.nyne.ai/documentation/person/lookup-fields
    404 request_not_found; any JSON 404    Forgotten
    404 otherwise                          Retry        a gateway, in the middle of a deployment
    401, 402, 403 in its own JSON          Pause
    403 otherwise                          Retry
    408, 429, 5xx                          Retry        asking again costs nothing
    anything else                          Unreadable

    GET /usage                             https://api.nyne.ai/documentation/usage-playground
    200 available_credits, is_unlimited    Health       free
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self
from urllib.parse import quote

from pydantic import SecretStr

from enrichment.contact import Contact
from enrichment.money import cents
from enrichment.outcome import (
    Accepted,
    Answered,
    Forgotten,
    Outcome,
    Pause,
    Refused,
    Retry,
    Running,
    Unclear,
    Unreadable,
)
from enrichment.providers.base import CallsBack, Health, HttpRequest, HttpResponse, Limit, LimitNews
from enrichment.providers.limits import limits_in_force, own_limits
from enrichment.providers.numbers import NUMBER_KEYS, holds_numbers, read_numbers
from enrichment.providers.replies import (
    Complaint,
    is_vendors_own,
    read_complaint,
    read_credits,
    read_number,
    read_object,
    read_reason,
)
from enrichment.providers.waits import read_limit_news, read_wait
from enrichment.settings import Settings

# https://api.nyne.ai/documentation/person/phone.md does not say whether polls count, so we count them.
LIMITS = (Limit(100, 60), Limit(1000, 3600))
LONGEST_REQUEST_ID = 128  # characters
_RUNNING = frozenset({"queued", "processing", "pending"})
_NOT_FOUND = frozenset({"no_match", "no_matches", "no_result", "no_results", "no_data", "notfound"})
_MEANS_CREDITS = re.compile(r"credit|quota|balance")
_ADVICE = {
    401: "the key was refused; check NYNE_API_KEY and NYNE_API_SECRET",
    402: "out of credits; top up the Nyne account",
    403: "the account may not ask; check its plan and allowed addresses",
    404: "not Nyne's API; check NYNE_BASE_URL",
}


@dataclass(slots=True)
class Nyne(CallsBack):
    """https://api.nyne.ai: accepts with 202, calls back, can be polled."""

    api_key: SecretStr
    api_secret: SecretStr
    base_url: str = "https://api.nyne.ai"
    # The page names no price; its sibling's does: https://api.nyne.ai/documentation/person/lookup-fields
    price: Decimal = Decimal(3)
    limits: tuple[Limit, ...] = LIMITS
    name = "nyne"

    def __post_init__(self) -> None:
        """Round the price to what the ledger can hold."""
        self.price = cents(self.price)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the provider from the settings that begin with NYNE_."""
        return cls(
            settings.nyne.api_key or SecretStr(""),
            settings.nyne.api_secret or SecretStr(""),
            settings.nyne.base_url,
            settings.nyne.credits_per_found,
            limits_in_force(LIMITS, own_limits(settings, cls.name)),
        )

    def can_ask(self, contact: Contact) -> bool:
        """Tell whether there is a profile, an e-mail or a name: a company alone names no person."""
        return bool(contact.profile_url or contact.work_email or contact.personal_email or contact.name)

    def submit(self, contact: Contact, callback_url: str | None) -> HttpRequest:
        """Build the question, with the address to call back if there is one."""
        body = {
            "name": contact.name,
            "company": contact.company,
            "email": contact.work_email or contact.personal_email,
            "social_media_url": contact.profile_url and f"https://www.{quote(contact.profile_url)}",
            "callback_url": callback_url,
        }
        given = {field: value for field, value in body.items() if value}
        return HttpRequest("POST", self._url("/person/phone"), self._headers(), given)

    def read_submit(self, response: HttpResponse) -> Outcome:
        """Read the answer to the question. Never raise."""
        job = _job(response.body)
        if _status(job) == "not_found" and _request_id(job):
            return Answered(None, request_id=_request_id(job))
        if not 200 <= response.status < 300:
            return _read_failed_submit(response, self._complaint(response))
        request_id = _request_id(job)
        if _status(job) in {"completed", "failed"}:
            outcome = self._read_job(job, request_id)
            if isinstance(outcome, Unreadable) and request_id is not None:
                return Accepted(request_id, outcome.reason)  # the job exists: its poll may be readable
            return outcome
        if request_id is None:
            return Unreadable(self._complaint(response).advised("a success without a request_id"))
        return Accepted(request_id)

    def poll(self, request_id: str) -> HttpRequest:
        """Build the free request for the state of a question."""
        url = self._url(f"/person/phone?request_id={quote(request_id, safe='')}")
        return HttpRequest("GET", url, self._headers())

    def read_poll(self, response: HttpResponse) -> Outcome:
        """Read the job's state from a poll. Never raise."""
        job = _job(response.body)
        if 200 <= response.status < 300:
            return self._read_job(job, _request_id(job))
        complaint = self._complaint(response)
        if _status(job) == "not_found" and complaint.code != "request_not_found":
            return Answered(None, request_id=_request_id(job))
        return _read_failed_poll(response, complaint)

    def read_callback(self, body: bytes) -> Outcome:
        """Read the job's state from a callback, whose body is that of a poll. Never raise."""
        job = _job(body)
        return self._read_job(job, _request_id(job) or _odd_request_id(job))

    def health(self) -> HttpRequest:
        """Build the question for the balance."""
        return HttpRequest("GET", self._url("/usage"), self._headers())

    def read_health(self, response: HttpResponse) -> Health:
        """Read the balance: well if it is positive, which each question needs, or unlimited.

        A 200 in another shape is well: the key was accepted, and the next question reveals the rest. A pause that
        waited for a renamed field would never end.
        """
        usage = _job(response.body)
        if response.status != 200 or usage is None:
            return Health(_is_unwell(response), reason=self._complaint(response).advised(_ADVICE.get(response.status)))
        limits = usage.get("limits")
        limits = limits if isinstance(limits, dict) else {}
        balance = read_number(limits.get("available_credits"))
        counts = usage.get("credits_used")
        used = read_credits(counts.get("total")) if isinstance(counts, dict) else None
        if balance is not None and balance <= 0 and limits.get("is_unlimited") is not True:
            return Health(well=False, balance=balance, reason=_ADVICE[402], used=used)
        return Health(well=True, balance=balance, used=used)

    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """Read the allowance of this minute or hour. Never raise."""
        return read_limit_news(response, self.limits)

    def _read_job(self, job: dict[str, Any] | None, request_id: str | None) -> Outcome:
        """Read a job as polls and callbacks carry it."""
        if job is None:
            return Unreadable("no JSON object")
        status = _status(job)
        if status in _RUNNING:
            return Running(request_id)
        if status == "not_found":
            return Answered(None, request_id=request_id)
        if status == "failed":
            reason = read_reason(job.get("error"), secrets=self._secrets())
            return Refused(f"the job failed: {reason}" if reason else "the job failed", request_id)
        if status == "completed" or _looks_completed(job):
            return _read_result(job, request_id)
        return Unreadable("a status never seen")

    def _url(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}{path}"

    def _headers(self) -> dict[str, str]:
        return {
            "X-API-Key": self.api_key.get_secret_value(),
            "X-API-Secret": self.api_secret.get_secret_value(),
            "Accept": "application/json",
        }

    def _secrets(self) -> tuple[str, str]:
        return self.api_key.get_secret_value(), self.api_secret.get_secret_value()

    def _complaint(self, response: HttpResponse) -> Complaint:
        return read_complaint(response, secrets=self._secrets())


def _read_failed_submit(response: HttpResponse, complaint: Complaint) -> Outcome:
    """Read a POST's answer that is not 2xx: retry only if no job can have been made."""
    outcome: Outcome
    match response.status:
        case 403 if not is_vendors_own(response.body):
            outcome = _read_blocked(response, complaint)
        case 401 | 402 | 403:
            outcome = Pause(complaint.advised(_ADVICE[complaint.status]))
        case 429:
            outcome = _read_throttle(response, complaint)
        case 408 | 503:
            outcome = Retry(str(complaint), after=read_wait(response))
        case status if 300 <= status < 500:
            outcome = Refused(complaint.advised(_ADVICE.get(status)))
        case _:
            outcome = Unclear(complaint.advised("a job may have been made"))
    return outcome


def _read_failed_poll(response: HttpResponse, complaint: Complaint) -> Outcome:
    """Read a GET's answer that is not 2xx: asking costs nothing, so retry every error that may pass."""
    outcome: Outcome
    match response.status:
        case 404 if _job(response.body) is None:
            # Not Nyne's answer but a gateway's, perhaps during a deployment.
            outcome = Retry(str(complaint), after=read_wait(response))
        case 404:
            outcome = Forgotten(complaint.advised("Nyne does not know the request"))
        case 403 if not is_vendors_own(response.body):
            outcome = _read_blocked(response, complaint)
        case 401 | 402 | 403:
            outcome = Pause(complaint.advised(_ADVICE[complaint.status]))
        case 429:
            outcome = _read_throttle(response, complaint)
        case status if status == 408 or status >= 500:
            outcome = Retry(str(complaint), after=read_wait(response))
        case _:
            outcome = Unreadable(str(complaint))
    return outcome


def _read_blocked(response: HttpResponse, complaint: Complaint) -> Outcome:
    """Read a 403 that Nyne did not write: a firewall's, which may object to this one question."""
    return Retry(complaint.advised("a firewall refused it"), after=read_wait(response), blocked=True)


def _is_unwell(response: HttpResponse) -> bool | None:
    """Return False if the response names the account's state; else None."""
    refused = response.status in {401, 402} or (response.status == 403 and is_vendors_own(response.body))
    return False if refused else None


def _read_throttle(response: HttpResponse, complaint: Complaint) -> Outcome:
    """Read a 429: too fast or, on older pages, out of credits."""
    # Without a code, the words decide: otherwise an empty account would be asked for ever, as a 429 costs no attempt.
    if _MEANS_CREDITS.search(complaint.code or complaint.words.lower()):
        return Pause(complaint.advised(_ADVICE[402]))
    return Retry(str(complaint), after=read_wait(response), throttled=True)


def _job(body: bytes) -> dict[str, Any] | None:
    """Return the job in *body*, without its envelope if it has one."""
    whole = read_object(body)
    data = whole.get("data") if whole else None
    return data if isinstance(data, dict) else whole


def _status(job: dict[str, Any] | None) -> str:
    """Return the job's status word, "" without one."""
    status = job.get("status") if job else None
    word = re.sub(r"[\s-]+", "_", status.strip().lower()) if isinstance(status, str) else ""
    return "not_found" if word in _NOT_FOUND else word


def _request_id(job: dict[str, Any] | None) -> str | None:
    """Return Nyne's opaque handle; so far <hex>_<Unix time, perhaps with a fraction>_<number>."""
    value = job.get("request_id") if job else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**18:
        return str(value)
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        return None
    return value if len(value) <= LONGEST_REQUEST_ID else None


def _odd_request_id(job: dict[str, Any] | None) -> str | None:
    """Return a handle that cannot be Nyne's in a form that can be stored: it names another request than ours."""
    value = job.get("request_id") if job else None
    if not value or (isinstance(value, str) and not value.strip()):
        return None
    text = ascii(value) if isinstance(value, str | int | float) else type(value).__name__
    return text[:LONGEST_REQUEST_ID]


def _looks_completed(job: dict[str, Any]) -> bool:
    """Tell whether a job with an unknown status word looks completed."""
    return not job.get("error") and (job.get("completed") is True or isinstance(job.get("result"), dict))


def _read_result(job: dict[str, Any], request_id: str | None) -> Outcome:
    """Read the numbers of a completed job: one text so far, lists and objects at sibling endpoints."""
    result = job.get("result") or {key: job[key] for key in NUMBER_KEYS if key in job}
    numbers = read_numbers(result, words_are_odd=True)
    if numbers.mobile is not None:
        return Answered(numbers.mobile, request_id=request_id, second_choice=numbers.second_choice)
    if isinstance(result, dict):
        is_odd = numbers.odd if result.keys() & set(NUMBER_KEYS) else holds_numbers(result)
        return Unreadable("a mobile in a form never seen") if is_odd else Answered(None, request_id=request_id)
    if numbers.odd:
        return Unreadable(f"result is of type {type(result).__name__}")
    return Answered(None, request_id=request_id)
