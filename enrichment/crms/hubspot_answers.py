"""Read HubSpot's refusals. https://developers.hubspot.com/docs/api-reference/error-handling

                                             of a read                 of a write
    400 and other 4xx                        Refused                   Refused, naming rule and property
    401, 402                                 Pause                     Pause
    403 in HubSpot's own JSON                Pause, naming the scopes  Pause, naming the scopes
    403 otherwise                            Retry, blocked            Retry, blocked
    404 in HubSpot's own JSON                Gone                      Gone
    404 otherwise                            Retry                     Retry
    408, 409                                 Retry                     Retry: it was not written
    423 locked                               Retry after 2 s           Retry after 2 s
    429                                      Retry, throttled          Retry, throttled
    477 the account is being moved           Retry, throttled          Retry, throttled: nothing else would go through
    5xx, and what is no answer of HubSpot's  Retry                     Unclear: perhaps written

Any field of a body may be absent, and gateways answer with HTML.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from enrichment.crms.base import Failure, Gone
from enrichment.outcome import Pause, Refused, Retry, Unclear
from enrichment.providers.base import HttpResponse
from enrichment.providers.replies import LONGEST_REASON, read_complaint, read_object
from enrichment.providers.waits import LONGEST_WAIT, read_wait

LOCKED_FOR = 2.0  # seconds
MOVING_FOR = 600.0  # seconds, if no Retry-After says otherwise; a move takes up to a day
TEN_SECONDLY = 10.0  # seconds
MOST_NAMED = 5  # rules, properties or scopes in one reason

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}")
_MISSING = re.compile(r"not\s+(?:be\s+)?found|does(?:n['’]t| not) exist", re.IGNORECASE)
_SCOPES = ("requiredGranularScopes", "requiredScopes", "missingScopes")


def read_failure(response: HttpResponse, *, secrets: Collection[str], writing: bool = False) -> Failure | Gone:
    """Read an answer other than the expected one. Never raise."""
    reason = read_reason(response, secrets=secrets)
    match response.status:
        case 401 | 402 | 403:
            return _read_denial(response, reason)
        case 404:
            return _read_absence(response, reason)
        case 408 | 409 | 423 | 429 | 477:
            return _read_delay(response, reason)
        case status if 300 <= status < 500:
            return Refused(reason)
        case _ if writing:
            return Unclear(_cut(f"perhaps written ({reason})"))
        case _:
            return Retry(reason, after=read_wait(response))


def read_throttle(response: HttpResponse) -> float:
    """Read how many seconds to rest after a 429: as the answer asks, else by the limit that was reached.

    The daily limit ends at midnight of the account's time zone, which the answer does not name: try again in an hour.
    """
    wait = read_wait(response)
    if wait is not None:
        return wait
    answer = read_object(response.body) or {}
    policy, message = (str(answer.get(name, "")).upper()[:200] for name in ("policyName", "message"))
    if "DAILY" in policy or (not policy and "DAILY" in message):
        return LONGEST_WAIT
    if re.search(r"(?<!TEN_)(?<!TEN )SECONDLY", policy or message):
        return 1.0  # the limit of searches
    return TEN_SECONDLY


def read_scopes(response: HttpResponse) -> tuple[str, ...]:
    """Read the scopes that the token lacks; none if the answer names none."""
    answer = read_object(response.body) or {}
    return _named(_contexts(answer), _SCOPES)


def read_reason(response: HttpResponse, *, secrets: Collection[str]) -> str:
    """Format why HubSpot refused, with the rule and the property: HTTP 400 RULE of property: words."""
    complaint = read_complaint(response, secrets=secrets)
    answer = read_object(response.body) or {}
    errors = [error for error in _errors(answer) if _is_word(error.get("code"))]
    rules = list(dict.fromkeys(str(error["code"]) for error in errors))[:MOST_NAMED]
    if not rules and _is_word(category := answer.get("category") or answer.get("errorType")):
        rules = [str(category)]
    properties = _named(_contexts(answer), ("propertyName", "propertyNames", "properties"))
    text = " ".join([f"HTTP {response.status}", *rules])
    text += f" of {', '.join(properties)}" if properties else ""
    return _cut(f"{text}: {complaint.words}" if complaint.words else text)


def _read_denial(response: HttpResponse, reason: str) -> Failure:
    if response.status == 401:
        return Pause(_cut(f"HubSpot refused the token; check HUBSPOT_ACCESS_TOKEN ({reason})"))
    if response.status == 402:
        return Pause(_cut(f"the HubSpot account may not ask; check its plan ({reason})"))
    if read_object(response.body) is None:
        return Retry(_cut(f"a firewall refused it ({reason})"), after=read_wait(response), blocked=True)
    return Pause(_cut(_lacking(response, reason)))


def _read_absence(response: HttpResponse, reason: str) -> Failure | Gone:
    answer = read_object(response.body)
    if answer is not None and _is_gone(answer):
        return Gone()
    return Retry(_cut(f"not HubSpot's API; check HUBSPOT_BASE_URL ({reason})"))


def _read_delay(response: HttpResponse, reason: str) -> Retry:
    match response.status:
        case 423:
            return Retry(reason, after=LOCKED_FOR)
        case 429:
            return Retry(reason, after=read_throttle(response), throttled=True)
        case 477:
            wait = read_wait(response)
            return Retry(reason, after=MOVING_FOR if wait is None else wait, throttled=True)
        case _:
            return Retry(reason, after=read_wait(response))


def _lacking(response: HttpResponse, reason: str) -> str:
    scopes = read_scopes(response)
    if not scopes:
        return f"HubSpot forbids it; check the token's scopes ({reason})"
    return f"HubSpot's token lacks the scopes {', '.join(scopes)} ({reason})"


def _is_gone(answer: dict[str, Any]) -> bool:
    """Tell whether a 404 is about the contact. One without category and message is, if it has HubSpot's form."""
    category, message = answer.get("category"), answer.get("message")
    if category == "OBJECT_NOT_FOUND" or (isinstance(message, str) and _MISSING.search(message[:1000])):
        return True
    return category is None and message is None and (answer.get("status") == "error" or "correlationId" in answer)


def _errors(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    errors = answer.get("errors")
    yield from (error for error in (errors if isinstance(errors, list) else [])[:100] if isinstance(error, dict))


def _contexts(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    places = (answer, *_errors(answer))
    yield from (context for place in places if isinstance(context := place.get("context"), dict))


def _named(contexts: Iterator[dict[str, Any]], names: Collection[str]) -> tuple[str, ...]:
    """Return the identifiers under these *names*, each once."""
    values = (context.get(name) for context in contexts for name in names)
    listed = (one for value in values for one in (value[:100] if isinstance(value, list) else [value]))
    return tuple(dict.fromkeys(str(one) for one in listed if _is_word(one)))[:MOST_NAMED]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _cut(reason: str) -> str:
    return reason[:LONGEST_REASON]
