"""Compare this machine's clock with a CRM's: events that it signed are refused when they are too far apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import aiohttp

from console.findings import Finding
from enrichment.crms.base import Crm
from enrichment.providers.base import HttpResponse
from enrichment.providers.waits import date_of
from submitter.transport import send

WORTH_A_WORD = 30  # seconds
TOO_FAR = 270  # seconds: events are refused after 300, and take some on their way


def _now() -> datetime:
    return datetime.now(UTC)


async def check_clock(session: aiohttp.ClientSession, crm: Crm, now: Callable[[], datetime] = _now) -> Finding | None:
    """Return how far the clocks are apart, if that is worth a word."""
    answer = await send(session, crm.account())
    if not isinstance(answer, HttpResponse) or (theirs := date_of(answer)) is None:
        return None
    apart = round((now() - theirs).total_seconds())
    if abs(apart) <= WORTH_A_WORD:
        return None
    found = f"this machine's clock is {abs(apart)} seconds {'ahead of' if apart > 0 else 'behind'} {crm.label}'s"
    if abs(apart) <= TOO_FAR:
        return Finding(f"{crm.label} clock", "warn", found, "check NTP")
    return Finding(f"{crm.label} clock", "fail", f"{found}: its events are refused", "check NTP")
