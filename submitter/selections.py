"""A duty of the reconciler: go on with selections that a request, a command or another process left under way."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from enrichment.providers import PROVIDERS
from store import selections
from submitter.process import Process

log = structlog.get_logger()

MOST = 20  # selections of one pass
WORKS_FOR = 10.0  # seconds of one pass: a stop need not wait for a large selection


class SelectionWorker:
    """Works on selections, chunk by chunk."""

    def __init__(self, process: Process, wake: Callable[[], None]) -> None:
        self._process = process
        self._wake = wake
        self._prices = {name: kind.from_settings(process.settings).price for name, kind in PROVIDERS.items()}

    async def work_on_selections(self) -> int:
        """Go on with the selections that are under way, each in its turn."""
        ends = time.monotonic() + WORKS_FOR
        for id in await selections.under_way(self._process.pool, MOST):
            while time.monotonic() < ends and await selections.advance(
                self._process.pool, id, self._process.policy, self._prices
            ):
                self._wake()
        return 0  # what is left is another process's at this moment
