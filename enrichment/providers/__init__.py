"""The providers, by name: one line each."""

from enrichment.providers.base import Provider
from enrichment.providers.leadmagic import LeadMagic
from enrichment.providers.nyne import Nyne
from enrichment.settings import Settings

PROVIDERS: dict[str, type[Provider]] = {
    "leadmagic": LeadMagic,
    "nyne": Nyne,
}


def build_providers(settings: Settings) -> dict[str, Provider]:
    """Build the providers of the setting PROVIDERS, in its order."""
    return {name: PROVIDERS[name].from_settings(settings) for name in settings.providers}
