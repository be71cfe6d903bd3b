"""LeadMagic answers at once: POST /v1/people/mobile-finder, 5 credits for a number found, nothing for none.

Its words, and ours. Where no address is given, https://leadmagic.io/docs/v1/making-api-calls

    POST /v1/people/mobile-finder
    200 mobile_number: text                Answered     whatever `message` says: its wordings vary
    200 mobile_number: null, absent, ""    Answered     without a number
    404 profile_not_found                  Answered     without a number, for no credits:
        resource_not_found                 https://leadmagic.io/docs/v1/reference/email-to-profile
    400 validation_error; other 3xx, 4xx   Refused      the same question would end the same
    401 missing_authentication             Pause
        invalid_api_key
    402 insufficient_credits               Pause        asked below the full price, even where a miss is free
    403                                    Pause        https://leadmagic.io/docs/mcp/authentication
    408                                    Retry
    429 rate_limit_exceeded                Retry        after Retry-After, or what else names a wait
    500 INTERNAL_ERROR                     Retry        after 30 s, as its page for this endpoint asks
    502, 503                               Retry        no question got as far as being charged
    504; other 5xx                         Unclear      the work behind the gateway may have been done
    any other 2xx                          Unreadable

    GET /v1/credits                        https://leadmagic.io/docs/v1/reference/check-credits
    200 credits, is_frozen                 Health       free, and not counted against the limits
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from enrichment.contact import Contact
from enrichment.outcome import Answered, Outcome, Pause, Refused, Retry, Unclear, Unreadable
from enrichment.providers.base import Health, HttpRequest, HttpResponse, Limit, LimitNews
from enrichment.providers.replies import (
    LONGEST_MOBILE,
    Complaint,
    read_complaint,
    read_number,
    read_object,
    storable,
)
from enrichment.providers.waits import read_limit_news, read_wait

# A minute of this endpoint, which implies the account's 5,000; and a day of the account.
LIMITS = (Limit(3000, 60), Limit(500_000, 86_400))
AFTER_INTERNAL_ERROR = 30.0  # seconds
_NO_SUCH_PERSON = frozenset({"profile_not_found", "resource_not_found"})
_ADVICE = {
    401: "the key was refused; check LEADMAGIC_API_KEY",
    402: "out of credits; top up the LeadMagic account",
    403: "the account may not ask; check its plan and credits",
    404: "not LeadMagic's API; check LEADMAGIC_BASE_URL",
}


@dataclass(slots=True)
class LeadMagic:
    """https://api.leadmagic.io: one question, one answer."""

    api_key: SecretStr
    base_url: str = "https://api.leadmagic.io"
    price: Decimal = Decimal(5)
    limits: tuple[Limit, ...] = LIMITS
    name = "leadmagic"
    calls_back = False

    def can_ask(self, contact: Contact) -> bool:
        """Whether there is a profile or an e-mail: it takes no names."""
        return bool(contact.profile_url or contact.work_email or contact.personal_email)

    def submit(self, contact: Contact, callback_url: str | None) -> HttpRequest:
        """The question, for as many identifiers as there are: together they match more."""
        body = {
            "profile_url": contact.profile_url and quote(contact.profile_url),
            "work_email": contact.work_email,
            "personal_email": contact.personal_email,
        }
        given = {field: value for field, value in body.items() if value}
        return HttpRequest("POST", self._url("/v1/people/mobile-finder"), self._headers(), given)

    def read_submit(self, response: HttpResponse) -> Outcome:
        """What came of the question. Never raises."""
        if response.status == 200:
            return self._read_answer(response)
        if 200 <= response.status < 300:
            return Unreadable(f"a success of a kind never seen (HTTP {response.status})")
        return _read_failure(response, self._complaint(response))

    def poll(self, request_id: str) -> HttpRequest:
        """LookupError: there is nothing to ask about."""
        raise LookupError("LeadMagic answers at once")

    def read_poll(self, response: HttpResponse) -> Outcome:
        """Unreadable: there are no polls."""
        return Unreadable("LeadMagic is never polled")

    def read_callback(self, body: bytes) -> Outcome:
        """Unreadable: there are no callbacks."""
        return Unreadable("LeadMagic never calls back")

    def health(self) -> HttpRequest:
        """The question for the balance."""
        return HttpRequest("GET", self._url("/v1/credits"), self._headers())

    def read_health(self, response: HttpResponse) -> Health:
        """Well with at least one price in an account that is not frozen. Never raises."""
        account = read_object(response.body)
        if response.status != 200 or account is None:
            return Health(well=False, reason=self._complaint(response).advised(_ADVICE.get(response.status)))
        balance = read_number(account.get("credits"))
        if account.get("is_frozen"):
            return Health(well=False, balance=balance, reason="LeadMagic has frozen the account's credits")
        if balance is None:
            return Health(well=False, reason="LeadMagic named no balance")
        if balance < self.price:
            return Health(well=False, balance=balance, reason=_ADVICE[402])
        return Health(well=True, balance=balance)

    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """The allowance of this minute. Never raises."""
        return read_limit_news(response, LIMITS[:1])  # its headers speak of minutes only

    def _read_answer(self, response: HttpResponse) -> Outcome:
        """A 200: the number, or none."""
        answer = read_object(response.body)
        if answer is None:
            return Unreadable("a 200 without a JSON object")
        mobile = answer.get("mobile_number")
        if not (mobile is None or isinstance(mobile, str)):
            return Unreadable(f"mobile_number is of type {type(mobile).__name__}")
        if mobile and len(mobile) > LONGEST_MOBILE:
            return Unreadable("mobile_number is too long to be one")
        # credits_consumed is always there. Without it and the number this is some other page, no answer.
        if not answer.keys() & {"mobile_number", "credits_consumed"} or (not mobile and _complains(answer)):
            return Unreadable(self._complaint(response).advised("a 200 that is no answer"))
        charged = read_number(answer.get("credits_consumed"))
        number = storable(mobile or "").strip()
        return Answered(number or None, charged if charged is not None and charged >= 0 else None)

    def _url(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}{path}"

    def _headers(self) -> dict[str, str]:
        return {"X-API-Key": self.api_key.get_secret_value(), "Accept": "application/json"}

    def _complaint(self, response: HttpResponse) -> Complaint:
        return read_complaint(response, secrets=(self.api_key.get_secret_value(),))


def _complains(answer: dict[str, Any]) -> bool:
    return bool(answer.get("errors") or answer.get("error")) or answer.get("success") is False


def _read_failure(response: HttpResponse, complaint: Complaint) -> Outcome:
    """Anything but a 2xx."""
    outcome: Outcome
    match response.status:
        case 404 if complaint.code in _NO_SUCH_PERSON:
            outcome = Answered(None, Decimal(0))
        case 401 | 402 | 403:
            outcome = Pause(complaint.advised(_ADVICE.get(complaint.status)))
        case 408 | 502 | 503:
            outcome = Retry(str(complaint), after=read_wait(response))
        case 429:
            outcome = Retry(str(complaint), after=_throttle(response), throttled=True)
        case 500:
            outcome = Retry(str(complaint), after=AFTER_INTERNAL_ERROR)
        case status if 300 <= status < 500:
            outcome = Refused(complaint.advised(_ADVICE.get(complaint.status)))
        case _:
            outcome = Unclear(complaint.advised("perhaps charged"))
    return outcome


def _throttle(response: HttpResponse) -> float | None:
    """The headers' wait, or the one in the body where a proxy took the headers."""
    wait = read_wait(response)
    if wait is not None:
        return wait
    errors = (read_object(response.body) or {}).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    context = first.get("context") if isinstance(first, dict) else None
    asked = read_number(context.get("retry_after_seconds")) if isinstance(context, dict) else None
    return None if asked is None else float(min(max(asked, Decimal(0)), Decimal(3600)))
