"""Times as HubSpot writes them: milliseconds since 1970, or ISO with milliseconds and Z."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


def iso(at: int) -> str:
    """Write milliseconds as ISO."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(text: str) -> int:
    """Read milliseconds, or an ISO date or time. Raise ValueError for anything else."""
    if text.lstrip("-").isdecimal():
        return int(text)
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
