"""The providers, by name."""

from collections.abc import Iterable

from pydantic import SecretStr

from enrichment.providers.base import Limit, Provider
from enrichment.providers.leadmagic import LeadMagic
from enrichment.providers.nyne import LIMITS as NYNE_LIMITS
from enrichment.providers.nyne import Nyne
from enrichment.settings import Settings

PROVIDERS: dict[str, type[Provider]] = {
    "leadmagic": LeadMagic,
    "nyne": Nyne,
}
WINDOWS = {"per_minute": 60, "per_hour": 3600, "per_day": 86_400}  # seconds, by the name of the setting
_NO_KEY = SecretStr("")  # the receiver reads callbacks and asks nobody: it needs no keys


def build_providers(settings: Settings) -> dict[str, Provider]:
    """The providers of PROVIDERS, in that order, with the addresses, prices and keys that are set."""
    known: dict[str, Provider] = {
        "leadmagic": LeadMagic(
            settings.leadmagic.api_key or _NO_KEY,
            settings.leadmagic.base_url,
            settings.leadmagic.credits_per_found,
        ),
        "nyne": Nyne(
            settings.nyne.api_key or _NO_KEY,
            settings.nyne.api_secret or _NO_KEY,
            settings.nyne.base_url,
            settings.nyne.credits_per_found,
            _in_force(NYNE_LIMITS, own_limits(settings, "nyne")),
        ),
    }
    return {name: known[name] for name in settings.providers}


def own_limits(settings: Settings, provider: str) -> dict[int, int]:
    """What a person allows us to ask this provider, by the seconds of the window."""
    own = settings.provider(provider)
    return {seconds: n for field, seconds in WINDOWS.items() if (n := getattr(own, field)) is not None}


def _in_force(documented: Iterable[Limit], own: dict[int, int]) -> tuple[Limit, ...]:
    """The documented limits, or a person's own: a header does not say which one it means, but which it is like."""
    allowances = {limit.window: limit.allowance for limit in documented} | own
    return tuple(Limit(allowance, window) for window, allowance in sorted(allowances.items()))
