"""The limits in force at a provider: those that it documents, or those in the settings."""

from __future__ import annotations

from collections.abc import Iterable

from enrichment.providers.base import Limit
from enrichment.settings import Settings

WINDOWS = {"per_minute": 60, "per_hour": 3600, "per_day": 86_400}  # seconds, by the name of the setting


def own_limits(settings: Settings, provider: str) -> dict[int, int]:
    """Return the configured limits of this provider, by window in seconds."""
    own = settings.provider(provider)
    return {seconds: n for field, seconds in WINDOWS.items() if (n := getattr(own, field)) is not None}


def limits_in_force(documented: Iterable[Limit], own: dict[int, int]) -> tuple[Limit, ...]:
    """Return the *documented* limits, each replaced by the configured one in *own* if there is one.

    A header does not name its limit; the documented limits show which one it resembles.
    """
    allowances = {limit.window: limit.allowance for limit in documented} | own
    return tuple(Limit(allowance, window) for window, allowance in sorted(allowances.items()))
