"""Read how long a provider asks us to wait, and its headers about our allowance.

Retry-After          seconds or an HTTP date      https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
RateLimit-Limit      requests in a window         https://leadmagic.io/docs/v1/developer-experience
RateLimit-Remaining  of them, still free
RateLimit-Reset      seconds until the window ends
X-RateLimit-*        the older names; at Nyne, the reset of these is a Unix time
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from enrichment.providers.base import HttpResponse, Limit, LimitNews

LONGEST_WAIT = 3600.0  # seconds; longer waits are cut to an hour
LONGEST_HEADER = 64  # characters
MOST_REQUESTS = 10**9  # in any window; more is no limit
# A reset above this is a moment, not a duration: 2001 as Unix time, or 31 years of waiting.
FIRST_MOMENT = 1_000_000_000.0


def read_wait(response: HttpResponse, *, longest: float = LONGEST_WAIT) -> float | None:
    """Read the seconds to wait, from 0 to *longest*; None when the response does not say."""
    asked = _header(response, "retry-after")
    seconds = _number(asked)
    if seconds is None:
        seconds = _seconds_until(asked, response)
    if seconds is not None:
        return min(max(seconds, 0.0), longest)
    # Every answer names the end of the window; a caller has to wait for it only when over the limit.
    return _reset(response) if response.status == 429 else None


def read_limit_news(response: HttpResponse, documented: Sequence[Limit]) -> LimitNews | None:
    """Read the headers about one of the *documented* limits; None when they name none."""
    allowance = _number(_rate_limit(response, "limit"))
    if allowance is not None and not 1 <= allowance <= MOST_REQUESTS:
        allowance = None  # an allowance of zero would stop us for ever
    rest = read_wait(response) if response.status == 429 else None
    if rest is None and _number(_rate_limit(response, "remaining")) == 0:
        rest = _reset(response)
    if allowance is None and rest is None:
        return None
    window = _window(allowance, _reset(response), documented)
    return LimitNews(None if allowance is None else int(allowance), window, rest)


def _window(allowance: float | None, reset: float | None, documented: Sequence[Limit]) -> int:
    """Choose the most likely window, which no header names: it lasts until *reset* and has a similar allowance."""
    possible = [limit for limit in documented if limit.window >= (reset or 0)] or [documented[-1]]
    if allowance is None:
        return possible[0].window
    return min(possible, key=lambda limit: abs(limit.allowance - allowance)).window


def _reset(response: HttpResponse) -> float | None:
    """Read the seconds until the window ends."""
    reset = _number(_rate_limit(response, "reset"))
    if reset is not None and reset >= FIRST_MOMENT:
        reset -= _now(response).timestamp()
    return None if reset is None else min(max(reset, 0.0), LONGEST_WAIT)


def _seconds_until(date: str, response: HttpResponse) -> float | None:
    """Count the seconds from the response to *date*."""
    moment = _moment(date)
    return None if moment is None else (moment - _now(response)).total_seconds()


def _now(response: HttpResponse) -> datetime:
    """Return the provider's time if the response has a Date, so that a wrong clock on either side does no harm."""
    return date_of(response) or datetime.now(UTC)


def date_of(response: HttpResponse) -> datetime | None:
    """Return when the response was sent by the other side's clock; None if it does not say."""
    return _moment(_header(response, "date"))


def _moment(date: str) -> datetime | None:
    """Read an HTTP date."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str) -> float | None:
    """Read the leading number: structured fields may add parameters (100;w=60) or the policy (100, 1000)."""
    try:
        number = float(text.partition(",")[0].partition(";")[0])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rate_limit(response: HttpResponse, name: str) -> str:
    return _header(response, f"ratelimit-{name}") or _header(response, f"x-ratelimit-{name}")


def _header(response: HttpResponse, name: str) -> str:
    return response.headers.get(name, "")[:LONGEST_HEADER]
