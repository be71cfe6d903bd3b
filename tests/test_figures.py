"""What a vendor says of its account is compared with our ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from enrichment.figures import Figure, compare

# What the vendors say.
HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)
SAID = Figure(NOW, balance=Decimal(900), used=Decimal(150), charged=Decimal(120))
BEFORE = Figure(NOW - HOUR, balance=Decimal(1000), used=Decimal(40), charged=Decimal(100))


@pytest.mark.parametrize(
    ("before", "now", "basis", "unexplained"),
    [
        (BEFORE, SAID, "credits used", 90),  # 110 were used, 20 are in the ledger
        (BEFORE, replace(SAID, used=None), "balance", 80),
        (replace(BEFORE, at=NOW - 30 * 24 * HOUR), SAID, "balance", 80),  # the month is another
        (BEFORE, replace(SAID, used=None, balance=Decimal(2000)), "balance", None),  # credits were bought
        (None, SAID, "month", 75),  # the ledger has 75 in this month
        (None, replace(SAID, used=None), "nothing", None),
    ],
)
def test_the_vendors_figures_are_compared_with_our_ledger(
    before: Figure | None, now: Figure, basis: str, unexplained: int | None
) -> None:
    """What the provider charged and the ledger lacks, by the best figures that both have."""
    found = compare(before, now, Decimal(75))

    assert (found.basis, found.unexplained) == (basis, unexplained)
