"""What the open lookups of a campaign wait for, in words that say what a person can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

HELD = {
    "budget": "the budget of {provider} is used up: they go on when it returns, or when you raise it",
    "paused": "{provider} is paused: `ringback status` says why",
    "flood": "the flood guard holds them: `ringback release` lets them go on",
    "brake": "the brake is on: `ringback resume` lets go of it",
    "restored": "they may have been paid for before the database was restored: `ringback release`",
}
NOT_ASKED = (
    "nothing is asked. Do the processes run? Start them with `ringback up`; `ringback doctor` says what is wrong"
)
AWAITED = "{provider} has yet to answer"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open lookups in one state: *held* says why a queued one may not be asked, at *provider*."""

    state: str  # queued, submitting, awaiting; or following, when its search has ended
    held: str | None
    provider: str | None
    lookups: int
    most: Decimal  # spent by them, and the most that they can still cost


def why_held(waiting: Sequence[Waiting]) -> str:
    """Say why lookups are held, of the reason that holds most; "" if none is."""
    held = [one for one in waiting if one.held]
    if not held:
        return ""
    most = max(held, key=lambda one: one.lookups)
    return f"{most.lookups:,} lookups are held; " + HELD[most.held or ""].format(provider=most.provider)


def why_it_waits(waiting: Sequence[Waiting]) -> str:
    """Say why nothing has ended for a while, first of all what a person can change."""
    if held := why_held(waiting):
        return held
    asked = [one for one in waiting if one.state in ("submitting", "awaiting")]
    if asked:
        return AWAITED.format(provider=max(asked, key=lambda one: one.lookups).provider)
    return NOT_ASKED if waiting else ""
