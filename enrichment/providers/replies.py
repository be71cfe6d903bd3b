"""Read any provider's replies: JSON that may be anything, and complaints in all shapes seen so far.

Complaints are logged and shown to users, so they have the vendor's machine code, and its words only if those hold no
personal data and no secret. The raw body is kept elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from enrichment.money import MOST_CREDITS, cents
from enrichment.providers.base import HttpResponse

LONGEST_REASON = 200  # characters
LONGEST_READ = 4096  # characters; a longer text is a page, not a reason

_CODES = ("code", "error_code", "error")
_MACHINE_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,63}")
# An address, a profile, a URL (ours has a token), or as many digits as a phone number.
_PERSONAL = re.compile(r"@|%40|linkedin|https?:|\d(?:[\s().-]*\d){6}", re.IGNORECASE)

# Codes that any server or gateway may send, and words that only the vendor can know.
_GENERIC_CODES = re.compile(
    r"forbidden|(?:access_?)?denied|error|bad_?gateway|internal_(?:server_)?error|service_unavailable|gateway_timeout"
    r"|unauthorized|not_found|request_blocked"
)
_FIREWALL = re.compile(
    r"firewall|\bwaf\b|captcha|challenge|cloudflare|akamai|incapsula|imperva|sucuri|blocked|\bbots?\b"
)
_ACCOUNT = re.compile(r"credit|quota|balance|\bplan|subscri|api.?key|permission|account|billing|\bscope")

# Not strict, because Nyne sends control characters inside strings: https://github.com/MichaelFanous2/nyne-skills
# (json.loads would make a decoder for each answer, which takes longer than the reading.)
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A vendor's complaint: HTTP status, machine code in lower case, and words that may be shown."""

    status: int
    code: str | None
    words: str

    def __str__(self) -> str:
        """Format the complaint on one line, such as: HTTP 402 insufficient_credits: Insufficient credits."""
        known = f"HTTP {self.status} {self.code}" if self.code else f"HTTP {self.status}"
        return (f"{known}: {self.words}" if self.words else known)[:LONGEST_REASON]

    def advised(self, advice: str | None) -> str:
        """Format *advice* on what to do next, if any, then the complaint."""
        if not advice:
            return str(self)
        return f"{advice} ({self})"[:LONGEST_REASON]


def read_object(body: bytes) -> dict[str, Any] | None:
    """Read the JSON object in *body*; None for anything else. Never raise."""
    try:
        value = _DECODER.decode(body.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):  # ValueError also for integers of more than 4,300 digits
        return None
    return value if isinstance(value, dict) else None


def read_complaint(response: HttpResponse, *, secrets: Collection[str]) -> Complaint:
    """Read the complaint in *response*, in any shape seen; only the status if the body is not a JSON object.

    {errors: [{code, title, detail}]}: https://leadmagic.io/docs/v1/making-api-calls. Vendors' clients also read
    {error: {code, message}}, {error: code, message}, {error, detail}, {message} and {data: {error}}.
    """
    places = list(_places(read_object(response.body) or {}))
    return Complaint(response.status, _code(places, secrets), _words(places, secrets))


def read_reason(error: object, *, secrets: Collection[str]) -> str:
    """Read why a job failed, from a text or an object; "" when none of it may be shown."""
    places = list(_places({"error": error}))
    shown = (_code(places, secrets), _words(places, secrets))
    return ": ".join(part for part in shown if part)[:LONGEST_REASON]


def read_number(value: object) -> Decimal | None:
    """Read *value* as a finite number; None for any other JSON value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN and both infinities fail the comparison too, and no integer is too large for it.
    return Decimal(str(value)) if -MOST_CREDITS <= value <= MOST_CREDITS else None


def read_credits(value: object) -> Decimal | None:
    """Read *value* as credits charged, rounded to cents; None if it is not a number, or below zero."""
    charged = read_number(value)
    return None if charged is None or charged < 0 else cents(charged)


def is_vendors_own(body: bytes) -> bool:
    """Tell whether *body* is the vendor's own complaint, not that of a firewall or gateway in front of it.

    The signs: a problem of LeadMagic's shape, a machine code that no other server uses, or words about the account.
    """
    whole = read_object(body)
    words = read_words(body)
    if whole is None or _FIREWALL.search(words):
        return False
    places = list(_places(whole))
    if isinstance(whole.get("errors"), list) and places and {"code", "title", "status"} <= places[0].keys():
        return True
    code = _code(places, ())
    is_telling = code is not None and not _GENERIC_CODES.fullmatch(code)
    return is_telling or _ACCOUNT.search(words) is not None


def read_words(body: bytes) -> str:
    """Join all words of the complaint in *body*, in lower case, for decisions; never show them."""
    places = list(_places(read_object(body) or {}))
    keys = ("code", "error_code", "error", "title", "message", "detail", "reason")
    said = [text for place in places for key in keys if isinstance(text := place.get(key), str)]
    return " ".join(said)[:LONGEST_READ].lower()


def storable(text: str) -> str:
    """Return *text* without NUL, other controls and half surrogates, which PostgreSQL or a terminal cannot hold."""
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def _places(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects in *body* that may hold the complaint, the most telling first."""
    errors, data = body.get("errors"), body.get("data")
    first = errors[0] if isinstance(errors, list) and errors else None
    inner = data.get("error") if isinstance(data, dict) else None
    first = {"message": first} if isinstance(first, str) else first
    yield from (place for place in (first, body.get("error"), body, inner, data) if isinstance(place, dict))


def _code(places: Iterable[dict[str, Any]], secrets: Collection[str]) -> str | None:
    """Return the first machine code."""
    for place in places:
        for key in _CODES:
            word = place.get(key)
            if _is_code(word) and not _tells(str(word), secrets):
                return str(word).lower()
    return None


def _words(places: Iterable[dict[str, Any]], secrets: Collection[str]) -> str:
    """Return the words (title, message, detail) of the first place that has any that may be shown."""
    for place in places:
        said = [place.get("title"), place.get("message"), place.get("detail")]
        if not _is_code(place.get("error")):
            said.append(place.get("error"))
        shown = dict.fromkeys(_shown(text, secrets).rstrip(".") for text in said if isinstance(text, str))
        if any(shown):
            return ". ".join(filter(None, shown))[:LONGEST_REASON]
    return ""


def _is_code(word: object) -> bool:
    """Tell whether *word* is a machine code, not a sentence."""
    return isinstance(word, str) and _MACHINE_WORD.fullmatch(word) is not None


def _shown(text: str, secrets: Collection[str]) -> str:
    """Return *text* on one line if users may see it; else ""."""
    # Tested before it is cut: half an address would pass.
    if len(text) > LONGEST_READ or _PERSONAL.search(text) or _tells(text, secrets):
        return ""
    return storable(" ".join(text.split()))


def _tells(text: str, secrets: Collection[str]) -> bool:
    """Tell whether *text* repeats one of our *secrets*."""
    return any(secret and secret in text for secret in secrets)
