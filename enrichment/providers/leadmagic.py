"""LeadMagic answers at once: POST /v1/people/mobile-finder, 5 credits for a number found, nothing for none.

Its words, and ours. Source, unless a line names another: https://leadmagic.io/docs/v1/making-api-calls

    POST /v1/people/mobile-finder
    200 mobile_number: text, integer, list Answered     whatever `message` says: its wordings vary
    200 mobile_number: null, absent, "",   Answered     without a number
        false, "N/A" and its kind
    404 profile_not_found                  Answered     without a number, for no credits:
        resource_not_found                 https://leadmagic.io/docs/v1/reference/email-to-profile
        "Contact not found" in its JSON
    400 validation_error; other 3xx, 4xx   Refused      the same question would end the same
    401 missing_authentication             Pause
        invalid_api_key
    402 insufficient_credits               Pause        asked below the full price, even where a miss is free
    403 in its own JSON                    Pause        https://leadmagic.io/docs/mcp/authentication
    403 otherwise                          Retry        a firewall in front of it, and perhaps only for this question
    408                                    Retry
    429 rate_limit_exceeded                Retry        after Retry-After, or what else names a wait
    500 INTERNAL_ERROR                     Retry        after 30 s, as its page for this endpoint asks
    502 in its own JSON; 503               Retry        no question got as far as being charged
    502 otherwise; 504; other 5xx          Unclear      the work behind the gateway may have been done
    any other 2xx                          Unreadable

    GET /v1/credits                        https://leadmagic.io/docs/v1/reference/check-credits
    200 credits, is_frozen                 Health       free, and not counted against the limits
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
from enrichment.outcome import Answered, Outcome, Pause, Refused, Retry, Unclear, Unreadable
from enrichment.providers.base import Health, HttpRequest, HttpResponse, Limit, LimitNews, Provider
from enrichment.providers.numbers import NUMBER_KEYS, holds_numbers, read_numbers
from enrichment.providers.replies import (
    Complaint,
    is_vendors_own,
    read_complaint,
    read_credits,
    read_number,
    read_object,
    read_words,
)
from enrichment.providers.waits import read_limit_news, read_wait
from enrichment.settings import Settings

# A minute of this endpoint, which implies the account's 5,000; and a day of the account.
LIMITS = (Limit(3000, 60), Limit(500_000, 86_400))
AFTER_INTERNAL_ERROR = 30.0  # seconds
_NO_SUCH_PERSON = frozenset({"profile_not_found", "resource_not_found"})
_PERSON = (
    r"(?:contact|person|people|profile|prospect|lead|user|mobile|phone|number|e-?mail|match|data|results?|records?)"
)
_NO_MATCH = re.compile(
    rf"\b{_PERSON}\b[\w\s]{{0,40}}\b(?:not (?:be )?found|does(?: not|n['’]t) exist)"
    rf"|\b(?:no|(?:could|can|did)(?: ?not|n['’]t) find|unable to find)\b[\w\s]{{0,40}}\b{_PERSON}\b|{_PERSON}_not_found"
)
_NO_SUCH_PATH = re.compile(r"\b(?:route|path|endpoint|url|page|method|api|get|post)\b")
_ADVICE = {
    401: "the key was refused; check LEADMAGIC_API_KEY",
    402: "out of credits; top up the LeadMagic account",
    403: "the account may not ask; check its plan and credits",
    404: "not LeadMagic's API; check LEADMAGIC_BASE_URL",
}


@dataclass(slots=True)
class LeadMagic(Provider):
    """https://api.leadmagic.io: one question, one answer."""

    api_key: SecretStr
    base_url: str = "https://api.leadmagic.io"
    price: Decimal = Decimal(5)
    limits: tuple[Limit, ...] = LIMITS
    name = "leadmagic"

    def __post_init__(self) -> None:
        """Round the price to what the ledger can hold."""
        self.price = cents(self.price)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the provider from the settings that begin with LEADMAGIC_."""
        return cls(
            settings.leadmagic.api_key or SecretStr(""),
            settings.leadmagic.base_url,
            settings.leadmagic.credits_per_found,
        )

    def can_ask(self, contact: Contact) -> bool:
        """Tell whether there is a profile or an e-mail: LeadMagic takes no names."""
        return bool(contact.profile_url or contact.work_email or contact.personal_email)

    def submit(self, contact: Contact, callback_url: str | None) -> HttpRequest:
        """Build the question from all identifiers of the contact: together they match more."""
        body = {
            "profile_url": contact.profile_url and quote(contact.profile_url),
            "work_email": contact.work_email,
            "personal_email": contact.personal_email,
        }
        given = {field: value for field, value in body.items() if value}
        return HttpRequest("POST", self._url("/v1/people/mobile-finder"), self._headers(), given)

    def read_submit(self, response: HttpResponse) -> Outcome:
        """Read the answer to the question. Never raise."""
        if response.status == 200:
            return self._read_answer(response)
        if 200 <= response.status < 300:
            return Unreadable(f"a success of a kind never seen (HTTP {response.status})")
        return _read_failure(response, self._complaint(response))

    def health(self) -> HttpRequest:
        """Build the question for the balance."""
        return HttpRequest("GET", self._url("/v1/credits"), self._headers())

    def read_health(self, response: HttpResponse) -> Health:
        """Read the balance: well with at least one price in an account that is not frozen.

        A 200 in another shape is well: the key was accepted, and the next question reveals the rest. A pause that
        waited for a renamed field would never end.
        """
        account = read_object(response.body)
        if response.status != 200 or account is None:
            return Health(_is_unwell(response), reason=self._complaint(response).advised(_ADVICE.get(response.status)))
        balance = read_number(account.get("credits"))
        if account.get("is_frozen") is True:
            return Health(well=False, balance=balance, reason="LeadMagic has frozen the account's credits")
        if balance is not None and balance < self.price:
            return Health(well=False, balance=balance, reason=_ADVICE[402])
        return Health(well=True, balance=balance)

    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """Read the allowance of this minute. Never raise."""
        return read_limit_news(response, LIMITS[:1])  # its headers are about minutes only

    def _read_answer(self, response: HttpResponse) -> Outcome:
        """Read a 200: the number, or none."""
        answer = read_object(response.body)
        if answer is None:
            return Unreadable("a 200 without a JSON object")
        named = answer.get("mobile_number", {key: answer[key] for key in NUMBER_KEYS if key in answer})
        numbers = read_numbers(named, words_are_odd=False)
        if numbers.mobile is None and (numbers.odd or ("mobile_number" not in answer and holds_numbers(answer))):
            return Unreadable("a mobile_number in a form never seen")
        # credits_consumed is always there. Without it and a number, this is some other page, not an answer.
        is_answer = bool(answer.keys() & {"mobile_number", "credits_consumed"}) or _says_no_match(response.body)
        if numbers.mobile is None and (_complains(answer) or not is_answer):
            return Unreadable(self._complaint(response).advised("a 200 that is no answer"))
        charged = read_credits(answer.get("credits_consumed"))
        return Answered(numbers.mobile, charged, second_choice=numbers.second_choice)

    def _url(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}{path}"

    def _headers(self) -> dict[str, str]:
        return {"X-API-Key": self.api_key.get_secret_value(), "Accept": "application/json"}

    def _complaint(self, response: HttpResponse) -> Complaint:
        return read_complaint(response, secrets=(self.api_key.get_secret_value(),))


def _complains(answer: dict[str, Any]) -> bool:
    return bool(answer.get("errors") or answer.get("error")) or answer.get("success") is False


def _is_unwell(response: HttpResponse) -> bool | None:
    """Return False if the response names the account's state; else None."""
    refused = response.status in {401, 402} or (response.status == 403 and is_vendors_own(response.body))
    return False if refused else None


def _read_failure(response: HttpResponse, complaint: Complaint) -> Outcome:
    """Read anything but a 2xx."""
    outcome: Outcome
    match response.status:
        case 404 if complaint.code in _NO_SUCH_PERSON or _says_no_match(response.body):
            outcome = Answered(None, Decimal(0))
        case 403 if not is_vendors_own(response.body):
            outcome = Retry(complaint.advised("a firewall refused it"), after=read_wait(response), blocked=True)
        case 401 | 402 | 403:
            outcome = Pause(complaint.advised(_ADVICE.get(complaint.status)))
        case 502 if not is_vendors_own(response.body):
            outcome = Unclear(complaint.advised("perhaps charged"))
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


def _says_no_match(body: bytes) -> bool:
    """Tell whether a 404's body means that the person was not found, not that the address is wrong."""
    words = read_words(body)
    return _NO_MATCH.search(words) is not None and _NO_SUCH_PATH.search(words) is None


def _throttle(response: HttpResponse) -> float | None:
    """Read the wait from the headers, or from the body if a proxy removed the headers."""
    wait = read_wait(response)
    if wait is not None:
        return wait
    errors = (read_object(response.body) or {}).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    context = first.get("context") if isinstance(first, dict) else None
    asked = read_number(context.get("retry_after_seconds")) if isinstance(context, dict) else None
    return None if asked is None else float(min(max(asked, Decimal(0)), Decimal(3600)))
