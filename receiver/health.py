"""/healthz, /readyz and /metrics: for machines that watch us."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from receiver.gate import Door
from receiver.metrics import Metrics
from receiver.problems import RETRY_AFTER, UNAVAILABLE, Problem
from receiver.shared_metrics import SharedMetrics
from store.database import replication_is_stuck

PATIENCE = 1.0  # seconds; who asks usually waits no longer


class Health:
    """How this process is."""

    def __init__(self, pool: asyncpg.Pool[Any], door: Door, metrics: Metrics) -> None:
        self._pool = pool
        self._door = door
        self._metrics = metrics
        self._shared = SharedMetrics(pool)
        metrics.registry.register(self._shared)

    async def alive(self, _: Request) -> Response:
        """The process runs: restarting it would not help."""
        return Response('{"status": "ok"}', media_type="application/json")

    async def ready(self, _: Request) -> Response:
        """Events sent here now would be stored."""
        if not self._door.ready:
            raise Problem(503, "This process is stopping.", headers={"Retry-After": RETRY_AFTER})
        try:
            async with asyncio.timeout(PATIENCE):
                stuck = await replication_is_stuck(self._pool)
        except (asyncpg.PostgresError, *UNAVAILABLE):
            raise Problem(503, "The database does not answer.", headers={"Retry-After": RETRY_AFTER}) from None
        if stuck:
            detail = "Commits wait for the synchronous standby: nothing can be acknowledged."
            raise Problem(503, detail, headers={"Retry-After": RETRY_AFTER})
        return Response('{"status": "ok"}', media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """The numbers, as Prometheus reads them."""
        await self._shared.refresh()
        return Response(generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
