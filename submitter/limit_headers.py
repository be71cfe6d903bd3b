"""Apply the limits in a provider's headers, for all processes."""

from __future__ import annotations

from typing import Any

import asyncpg

from enrichment.providers.base import HttpResponse, Provider
from store import providers
from store.database import UNREACHABLE


class LimitHeaders:
    """The limits in one provider's headers, as one process sees them; only changes are written."""

    def __init__(self, pool: asyncpg.Pool[Any], provider: Provider) -> None:
        self._pool = pool
        self._provider = provider
        self._allowances: dict[int, int] = {}

    async def heed(self, response: HttpResponse) -> None:
        """Store the allowance and the rest that the headers name, so that all processes keep to them."""
        news = self._provider.read_limits(response)
        if news is None or (news.rest is None and self._allowances.get(news.window) == news.allowance):
            return
        if news.allowance is not None:
            self._allowances[news.window] = news.allowance
        try:
            await providers.correct_limits(self._pool, self._provider.name, news)
        except UNREACHABLE:
            self._allowances.pop(news.window, None)
