"""The outcome of an answer, a callback or a poll, as one value.

Answered    the provider looked; there is a number or there is none          -> job answered
Accepted    the provider accepted the question and will answer later         -> job awaiting
Running     asked by a poll: still at work                                   -> nothing changes
Refused     the provider refused, or said failed; nothing was charged        -> job failed
Unreadable  a success we cannot read: perhaps charged                        -> as Unclear, body kept
Retry       a definite failure: nothing was done, asking again is safe       -> job queued again
Pause       the account cannot ask at all (key, credits, plan, address)      -> provider paused, job queued again
Unclear     asked, and the outcome cannot be known                           -> job unknown, or waits for its callback
Forgotten   the provider no longer knows the request                         -> job lost
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Answered:
    """The provider looked. *mobile*: the number as written, None for no number. *credits*: the charge, if it names one.

    *mobile* may hold several numbers; *second_choice* holds those beside them that the provider does not call mobiles.
    """

    mobile: str | None = field(repr=False)
    credits: Decimal | None = None
    request_id: str | None = None
    second_choice: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the question. *request_id*: its handle for polls, None when the answer was unreadable.

    *reason* says what could not be read in an answer that came at once: its poll may be readable.
    """

    request_id: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """The provider is still at work."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider refused this question, or its job failed: asking again would end in the same way."""

    reason: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A success in an unknown form; the raw body is kept for a person to read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """A definite failure: nothing was done. *after* is in seconds, None for our own backoff.

    *throttled* marks a 429: it costs no attempt, and the provider rests for *after*. *blocked* marks a refusal by a
    firewall in front of the provider: refusing one question means little, refusing five means that it blocks us.
    """

    reason: str
    after: float | None = None
    throttled: bool = False
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """No question can be asked through this account until a person acts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The request was sent and its outcome is not known: perhaps charged, never repeated automatically."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The provider no longer knows the request_id."""

    reason: str


Outcome = Answered | Accepted | Running | Refused | Unreadable | Retry | Pause | Unclear | Forgotten
