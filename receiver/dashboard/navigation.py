"""The pages that the navigation names, in its order. Tests and screenshots go through this table."""

from __future__ import annotations

from dataclasses import dataclass

from enrichment.setting_types import Scope


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the navigation, and the scope that its visitor's token needs."""

    path: str
    title: str
    scope: Scope = "read"


PAGES = (
    Page("/", "Now"),
    Page("/history", "Over time"),
    Page("/lookups", "Lookups"),
    Page("/files", "Files"),
    Page("/deliveries", "Deliveries"),
    Page("/readings", "Readings"),
    Page("/suppressions", "Suppressions"),
    Page("/ledger", "Ledger"),
    Page("/audit", "Audit", "admin"),
    Page("/start", "First run"),
)
