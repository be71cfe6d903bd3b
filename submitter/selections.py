"""A duty of the reconciler: go on with selections that a request, a command or another process left under way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog

from enrichment.providers import PROVIDERS
from store import selections
from submitter.process import Process

log = structlog.get_logger()

KEPT_FOR = timedelta(days=30)  # a selection and its items, from the preview on
FORGOTTEN_AT_ONCE = 500  # a full batch is followed by another at once
MOST = 2  # selections of one pass
WORKS_FOR = 5.0  # seconds for each: a stop does not wait for a large one


class SelectionWorker:
    """Works on selections, chunk by chunk."""

    def __init__(self, process: Process, wake: Callable[[], None]) -> None:
        self._process = process
        self._wake = wake
        self._last = UUID(int=0)
        self._prices = {name: kind.from_settings(process.settings).price for name, kind in PROVIDERS.items()}

    async def work_on_selections(self) -> int:
        """Go on with some selections that are under way, each for a while; with others the next time.

        So one that fails, whatever the reason, keeps no other waiting.
        """
        process = self._process
        for id in await selections.under_way(process.pool, MOST, self._last):
            self._last = id
            await selections.work(
                process.pool, id, process.policy, self._prices, seconds=WORKS_FOR, after_each=self._wake
            )
        return 0  # what is left is another process's at this moment

    async def forget_selections(self) -> int:
        """Delete old selections, a batch of their items at a time."""
        return await selections.forget(self._process.pool, KEPT_FOR, FORGOTTEN_AT_ONCE)
