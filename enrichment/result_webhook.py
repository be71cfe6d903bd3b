"""The result webhook: its message, its schedule, and how to read an answer to it.

2xx     delivered
410     the receiver wants no more messages: refused, not tried again
others  failed: tried again by the schedule; 3xx too, because redirects are not followed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from enrichment.providers.base import HttpResponse
from enrichment.providers.waits import read_wait
from enrichment.shown import Lookup, Time, show_lookup

# Seconds before each try, counted from the failed try before it:
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#deliverability-and-reliability
SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
LONGEST_WAIT = 86_400.0  # seconds; a longer Retry-After is cut to this
ANSWER_KEPT = 4096  # bytes


class Finished(BaseModel):
    """The message that a lookup has ended."""

    type: Literal["lookup.finished"] = "lookup.finished"
    timestamp: Time
    data: Lookup


@dataclass(frozen=True, slots=True)
class Taken:
    """The receiver accepted the message."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The receiver refuses this message for ever."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The try failed; another may succeed, after at least *after* seconds."""

    reason: str
    after: float = 0.0


Said: TypeAlias = Taken | Unwanted | Failed


def finished_message(row: Mapping[str, Any]) -> bytes:
    """Return the body that reports the end of a lookup; *row* comes from store/reports.py."""
    lookup = show_lookup(row)
    assert lookup.finished_at is not None  # noqa: S101  an open lookup has not ended
    return Finished(timestamp=lookup.finished_at, data=lookup).model_dump_json().encode()


def read_said(response: HttpResponse) -> Said:
    """Read the receiver's answer."""
    status = response.status
    if 200 <= status < 300:
        return Taken()
    if status == 410:
        return Unwanted("HTTP 410: the receiver wants no more of it")
    reason = f"HTTP {status}: a redirect is not followed" if 300 <= status < 400 else f"HTTP {status}"
    return Failed(reason, read_wait(response, longest=LONGEST_WAIT) or 0.0)


def next_wait(failures: int, asked: float, chance: float) -> float | None:
    """Return the seconds until the next try after this many *failures*; None if no try is left.

    *asked*: the seconds that the receiver asked for; *chance*: from 0 to 1, lengthens the wait by up to a tenth.
    """
    if failures >= len(SCHEDULE):
        return None
    return max(SCHEDULE[failures], asked) * (1 + chance / 10)


def kept(body: bytes) -> str | None:
    """Return the beginning of an answer as text that the database can store."""
    text = body[:ANSWER_KEPT].decode("utf-8", "replace").replace("\0", "")
    return text.encode()[:ANSWER_KEPT].decode("utf-8", "ignore") or None
