"""The CRMs, by name: one line each."""

from collections.abc import Mapping
from typing import Any

from enrichment.crms.base import Crm
from enrichment.crms.hubspot import HubSpot
from enrichment.settings import Settings

CRMS: dict[str, type[Crm]] = {"hubspot": HubSpot}


def build_crm(name: str, settings: Settings, learned: Mapping[str, Any]) -> Crm:
    """Build the CRM *name*, with what `ringback connect` learned about it."""
    return CRMS[name].from_settings(settings, learned)
