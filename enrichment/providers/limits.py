"""Which limits are in force at a provider: those of its page, or a person's settings."""

from __future__ import annotations

from collections.abc import Iterable

from enrichment.providers.base import Limit
from enrichment.settings import Settings

WINDOWS = {"per_minute": 60, "per_hour": 3600, "per_day": 86_400}  # seconds, by the name of the setting


def own_limits(settings: Settings, provider: str) -> dict[int, int]:
    """Return what a person allows us to ask this provider, by the seconds of the window."""
    own = settings.provider(provider)
    return {seconds: n for field, seconds in WINDOWS.items() if (n := getattr(own, field)) is not None}


def limits_in_force(documented: Iterable[Limit], own: dict[int, int]) -> tuple[Limit, ...]:
    """Return the *documented* limits with a person's *own* in their place.

    A header does not say which limit it means, but which it is like.
    """
    allowances = {limit.window: limit.allowance for limit in documented} | own
    return tuple(Limit(allowance, window) for window, allowance in sorted(allowances.items()))
