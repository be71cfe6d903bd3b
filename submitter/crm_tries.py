"""Try again after a call to a CRM that failed: when, and whether it counts as one of the tries."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol, TypeAlias
from uuid import UUID

from enrichment.outcome import Pause, Retry, Unclear
from store.leases import Postponed
from submitter.backoff import backoff
from submitter.crm_calls import Withheld
from submitter.outcomes import REST_AFTER_429

SOON = 5.0  # seconds: what is due later than that is waited for as if nothing waited
LONGEST_REST = 5.0  # seconds between two looks at a CRM that cannot be called: a person may resume it

# Seconds after each failure: a CRM may be away for hours, and neither an event nor a result is given up meanwhile.
WAITS = (1.0, 5.0, 30.0, 300.0, 1800.0, 7200.0, 18_000.0)

Passing: TypeAlias = Retry | Pause | Unclear | Withheld  # failures that another try may mend


class Tried(Protocol):
    """A claimed reading or delivery."""

    @property
    def id(self) -> UUID: ...
    @property
    def attempt(self) -> int: ...
    @property
    def tries(self) -> int: ...


def try_again(item: Tried, failure: Passing, *, most: int) -> Postponed | None:
    """Return when *item* is tried again after *failure*; None if that was the last of *most* tries.

    What the CRM could not be asked, because it is paused, at its limit or resting, costs no try.
    """
    match failure:
        case Pause():
            return postponed(item, failure.reason)
        case Withheld(reason, after):
            return postponed(item, reason, after)
        case Retry(reason, after, throttled=True):
            return postponed(item, reason, max(after or 0.0, REST_AFTER_429))
    if item.tries + 1 >= most:
        return None
    asked = failure.after if isinstance(failure, Retry) else None
    pause = WAITS[min(item.tries, len(WAITS) - 1)]
    wait = timedelta(seconds=max(asked or 0.0, backoff(0, first=pause, longest=pause)))
    return Postponed(item.id, item.attempt, wait, failure.reason)


def postponed(item: Tried, reason: str, after: float = 0.0) -> Postponed:
    """Return that *item* is tried again *after* so many seconds, without counting a try."""
    return Postponed(item.id, item.attempt, timedelta(seconds=after), reason, counts=False)


def given_up(item: Tried, failure: Passing) -> str:
    """Say that *failure* was the item's last."""
    return f"given up after {item.tries + 1} tries: {failure.reason}"
