"""The providers, by name."""

from pydantic import SecretStr

from enrichment.providers.base import Provider
from enrichment.providers.leadmagic import LeadMagic
from enrichment.providers.nyne import Nyne
from enrichment.settings import Settings

PROVIDERS: dict[str, type[Provider]] = {
    "leadmagic": LeadMagic,
    "nyne": Nyne,
}
_NO_KEY = SecretStr("")  # the receiver reads callbacks and asks nobody: it needs no keys


def build_providers(settings: Settings) -> dict[str, Provider]:
    """The providers of PROVIDERS, in that order, with the addresses, prices and keys that are set."""
    known: dict[str, Provider] = {
        "leadmagic": LeadMagic(
            settings.leadmagic_api_key or _NO_KEY,
            settings.leadmagic_base_url,
            settings.leadmagic_credits_per_found,
        ),
        "nyne": Nyne(
            settings.nyne_api_key or _NO_KEY,
            settings.nyne_api_secret or _NO_KEY,
            settings.nyne_base_url,
            settings.nyne_credits_per_found,
        ),
    }
    return {name: known[name] for name in settings.providers}
