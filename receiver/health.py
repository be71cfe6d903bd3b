"""Serve /healthz, /readyz and /metrics, for monitoring. Who asks more than once a second gets the same answer again."""

from __future__ import annotations

from typing import Any

import asyncpg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from enrichment.guards import read_budgets
from enrichment.setting_types import ApiToken
from enrichment.settings import Settings
from receiver.access import Access
from receiver.auth import Tokens
from receiver.fresh import Fresh
from receiver.gate import Door
from receiver.metrics import Metrics
from receiver.problems import RETRY_AFTER, Problem
from receiver.readiness import Readiness
from receiver.shared_metrics import SharedMetrics

WELL = Response('{"status": "ok"}', media_type="application/json")


class Health:
    """The handlers that report the health of this process."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        url: str,
        door: Door,
        metrics: Metrics,
        settings: Settings,
        access: Access,
    ) -> None:
        token = settings.metrics_token
        self._door = door
        self._metrics = metrics
        self._tokens = Tokens([ApiToken(token.get_secret_value())], access) if token else None
        self._readiness = Readiness(pool, url)
        self._shared = SharedMetrics(pool, settings.sweep_seconds, read_budgets(settings))
        metrics.registry.register(self._shared)
        self._rendered = Fresh(self._render)

    async def alive(self, _: Request) -> Response:
        """Answer that the process runs, so that restarting it would not help."""
        return WELL

    async def ready(self, _: Request) -> Response:
        """Answer whether an event sent here now would be stored."""
        if not self._door.ready:
            raise Problem(503, "This process is stopping.", headers={"Retry-After": RETRY_AFTER})
        acknowledges = await self._readiness.acknowledges()
        if acknowledges is None:
            raise Problem(503, "The database does not answer.", headers={"Retry-After": RETRY_AFTER})
        if not acknowledges:
            detail = "Commits wait for the synchronous standby: nothing can be acknowledged."
            raise Problem(503, detail, headers={"Retry-After": RETRY_AFTER})
        return WELL

    async def metrics(self, request: Request) -> Response:
        """Answer with the metrics in Prometheus's text format. Raise Problem (401, 429)."""
        if self._tokens is not None and not self._tokens.holders(request):
            problem = Problem(
                401, "Send METRICS_TOKEN as `Authorization: Bearer <token>`.",
                headers={"WWW-Authenticate": 'Bearer realm="ringback metrics"'},
            )  # fmt: skip
            raise self._tokens.refusal(request, problem)
        return await self._rendered.get()

    def close(self) -> None:
        """End what is still under way."""
        self._readiness.close()
        self._rendered.close()
        self._shared.close()

    async def _render(self) -> Response:
        await self._shared.refresh()
        return Response(generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
