"""Serve /healthz, /readyz and /metrics, for monitoring."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from enrichment.setting_types import ApiToken
from receiver.auth import Tokens
from receiver.gate import Door
from receiver.metrics import Metrics
from receiver.problems import RETRY_AFTER, UNAVAILABLE, Problem
from receiver.shared_metrics import SharedMetrics
from store.database import replication_is_stuck

PATIENCE = 0.9  # seconds; load balancers usually wait for one


class Health:
    """The handlers that report the health of this process."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        door: Door,
        metrics: Metrics,
        metrics_token: SecretStr | None,
        sweep_seconds: Mapping[str, float],
    ) -> None:
        self._pool = pool
        self._door = door
        self._metrics = metrics
        self._tokens = Tokens([ApiToken(metrics_token.get_secret_value())]) if metrics_token else None
        self._ping: asyncio.Task[bool] | None = None
        self._shared = SharedMetrics(pool, sweep_seconds)
        metrics.registry.register(self._shared)

    async def alive(self, _: Request) -> Response:
        """Answer that the process runs, so that restarting it would not help."""
        return Response('{"status": "ok"}', media_type="application/json")

    async def ready(self, _: Request) -> Response:
        """Answer whether an event sent here now would be stored."""
        if not self._door.ready:
            raise Problem(503, "This process is stopping.", headers={"Retry-After": RETRY_AFTER})
        answers = await self._database_answers()
        if answers is None:
            raise Problem(503, "The database does not answer.", headers={"Retry-After": RETRY_AFTER})
        if not answers:
            detail = "Commits wait for the synchronous standby: nothing can be acknowledged."
            raise Problem(503, detail, headers={"Retry-After": RETRY_AFTER})
        return Response('{"status": "ok"}', media_type="application/json")

    def close(self) -> None:
        """Cancel a ping of the database that is still under way."""
        self._shared.close()
        if self._ping is not None:
            self._ping.cancel()

    async def _database_answers(self) -> bool | None:
        """Tell whether PostgreSQL acknowledges commits; None when it does not answer within PATIENCE.

        Concurrent requests share one ping. It is not cancelled: on a dead network, cancelling takes too long.
        """
        if self._ping is None or self._ping.done():
            self._ping = asyncio.create_task(replication_is_stuck(self._pool))
        done, _ = await asyncio.wait([self._ping], timeout=PATIENCE)
        if not done or self._ping.cancelled():
            return None
        error = self._ping.exception()
        if error is not None and not isinstance(error, (asyncpg.PostgresError, *UNAVAILABLE)):
            raise error
        return None if error is not None else not self._ping.result()

    async def metrics(self, request: Request) -> Response:
        """Answer with the metrics in Prometheus's text format. Raise Problem (401)."""
        if self._tokens is not None and not self._tokens.holders(request):
            raise Problem(
                401, "Send METRICS_TOKEN as `Authorization: Bearer <token>`.",
                headers={"WWW-Authenticate": 'Bearer realm="ringback metrics"'},
            )  # fmt: skip
        await self._shared.refresh()
        return Response(generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
