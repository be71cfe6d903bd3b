"""Credits as the ledger holds them: cents, never negative, at most ten digits before the point."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
MOST_CREDITS = 10**9  # beyond is a defect of theirs, and no reason to write it into our ledger


def cents(credits: Decimal) -> Decimal:
    """Round *credits* to cents, half away from zero as PostgreSQL does, and keep them within 0 and a milliard."""
    if credits.is_nan():
        return Decimal(0)
    return min(max(credits, Decimal(0)), Decimal(MOST_CREDITS)).quantize(CENT, ROUND_HALF_UP).normalize() + Decimal(0)
