"""The words that a shell completes: of options and arguments that take one of a few."""

from __future__ import annotations

from collections.abc import Iterable


def complete_crms(incomplete: str) -> list[str]:
    """Complete the name of a CRM."""
    from enrichment.settings import CRM_NAMES

    return _beginning(incomplete, CRM_NAMES)


def complete_providers(incomplete: str) -> list[str]:
    """Complete the name of a provider."""
    from enrichment.settings import PROVIDER_NAMES

    return _beginning(incomplete, PROVIDER_NAMES)


def complete_sources(incomplete: str) -> list[str]:
    """Complete the name of a source."""
    from enrichment.settings import SOURCE_NAMES

    return _beginning(incomplete, SOURCE_NAMES)


def complete_statuses(incomplete: str) -> list[str]:
    """Complete the status of a lookup."""
    from typing import get_args

    from enrichment.states import LookupStatus

    return _beginning(incomplete, get_args(LookupStatus))


def complete_states(incomplete: str) -> list[str]:
    """Complete the state of a delivery that has ended."""
    from enrichment.selection import REPLAYED

    return _beginning(incomplete, REPLAYED)


def complete_channels(incomplete: str) -> list[str]:
    """Complete the channel of a delivery."""
    from enrichment.settings import CRM_NAMES
    from enrichment.wish import WEBHOOK

    return _beginning(incomplete, (WEBHOOK, *CRM_NAMES))


def complete_formats(incomplete: str) -> list[str]:
    """Complete the format of an export."""
    from enrichment.export import FORMATS

    return _beginning(incomplete, FORMATS)


def complete_columns(incomplete: str) -> list[str]:
    """Complete the last of an export's columns."""
    from enrichment.export import COLUMNS

    chosen, comma, last = incomplete.rpartition(",")
    return [f"{chosen}{comma}{name}" for name in _beginning(last, COLUMNS) if name not in chosen.split(",")]


def _beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
