"""Ask the free endpoint of a paused provider or CRM, and resume it when it is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from enrichment.logs import without_words
from enrichment.providers.base import Health
from store import providers

log = structlog.get_logger()

CHECK_EVERY = timedelta(seconds=30)  # between two looks at a paused provider's free endpoint


async def check(pool: asyncpg.Pool[Any], name: str, ask: Callable[[], Awaitable[Health]]) -> bool:
    """Ask how *name* is if its check is due; resume it when it is well, or has revealed nothing too often.

    Return True if it was resumed.
    """
    if not await providers.claim_check(pool, name, CHECK_EVERY):
        return False
    health = await ask()
    if health.well or (health.well is None and await providers.note_untold(pool, name)):
        if await providers.resume(pool, name):
            log.info("provider_resumed", provider=name, told=health.well is not None)
            return True
    else:
        log.warning("provider_still_paused", provider=name, why=without_words(health.reason))
    return False
