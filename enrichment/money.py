"""Credits, in the ledger's cents."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
MOST = Decimal("9999999999.99")  # what numeric(12,2) holds


def to_cents(credits: Decimal) -> Decimal:
    """Round *credits* to cents, within what the ledger can hold; a value that is no number counts as nothing."""
    if not credits.is_finite():
        return Decimal("0.00")
    return min(max(credits, Decimal(0)), MOST).quantize(CENT, ROUND_HALF_UP)
