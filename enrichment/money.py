"""Credits as the ledger stores them: in cents, never negative, at most ten digits before the point."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
MOST_CREDITS = 10**9  # more is a vendor's bug, and must not get into our ledger


def cents(credits: Decimal) -> Decimal:
    """Round *credits* to cents, half away from zero like PostgreSQL, and limit them to 0 ... 10^9."""
    if credits.is_nan():
        return Decimal(0)
    return min(max(credits, Decimal(0)), Decimal(MOST_CREDITS)).quantize(CENT, ROUND_HALF_UP).normalize() + Decimal(0)
