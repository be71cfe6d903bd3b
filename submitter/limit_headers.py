"""Apply the limits in the headers of a provider or a CRM, for all processes."""

from __future__ import annotations

import time
from typing import Any

import asyncpg

from enrichment.crms.base import Crm
from enrichment.providers.base import HttpResponse, Provider
from store import providers
from store.database import UNREACHABLE

WRITTEN_FOR = 10.0  # seconds, after which an allowance is written again: another process may have heard otherwise


class LimitHeaders:
    """The limits in one provider's headers, as one process sees them; mostly changes are written."""

    def __init__(self, pool: asyncpg.Pool[Any], provider: Provider | Crm) -> None:
        self._pool = pool
        self._provider = provider
        self._allowances: dict[int, tuple[int, float]] = {}  # and until when they need not be written again

    async def heed(self, response: HttpResponse) -> None:
        """Store the allowance and the rest that the headers name, so that all processes keep to them."""
        news = self._provider.read_limits(response)
        if news is None:
            return
        known, until = self._allowances.get(news.window, (None, 0.0))
        if news.rest is None and known == news.allowance and time.monotonic() < until:
            return
        if news.allowance is not None:
            self._allowances[news.window] = (news.allowance, time.monotonic() + WRITTEN_FOR)
        try:
            await providers.correct_limits(self._pool, self._provider.name, news)
        except UNREACHABLE:
            self._allowances.pop(news.window, None)
