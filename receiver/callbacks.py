"""POST /callbacks/{provider}/{job_id}/{token}: the URL is the credential, and it is checked before all else."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from enrichment.providers.base import CallsBack, Provider
from enrichment.settings import Settings
from enrichment.tokens import is_genuine
from receiver import patience
from receiver.bodies import MOST_OF_A_CALLBACK, read_body
from receiver.encodings import readable_text
from receiver.metrics import Metrics
from store.callbacks import Callback, CallbackReceipt
from store.group_commit import GroupCommit
from store.notify import Notifier
from store.sweeper import Sweeper

log = structlog.get_logger()

STORED = Response("{}", media_type="application/json")


class Callbacks:
    """The handler of callbacks."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        commit: GroupCommit[Callback, CallbackReceipt],
        notifier: Notifier,
        sweeper: Sweeper,
        metrics: Metrics,
    ) -> None:
        self._keys = settings.callback_keys
        self._providers = {name: p for name, p in providers.items() if isinstance(p, CallsBack)}
        self._commit = commit
        self._notifier = notifier
        self._sweeper = sweeper
        self._counter = metrics.callbacks

    async def receive(self, request: Request) -> Response:
        """Store and apply a provider's message; a 200 means both are committed. Answer 404 to a wrong address."""
        provider = self._providers.get(request.path_params["provider"])
        job_id = _read_id(request.path_params["job_id"])
        token = request.path_params["token"]
        if provider is None or job_id is None or not is_genuine(token, self._keys, provider.name, job_id):
            return Response(status_code=404)
        body = readable_text(request.headers, await read_body(request, MOST_OF_A_CALLBACK), MOST_OF_A_CALLBACK)
        callback = Callback(provider.name, job_id, body, provider.read_callback(body), provider.price)
        recorded = await self._commit.submit(callback, within=patience.FOR_A_CALLBACK)
        self._counter.labels(provider.name, recorded.verdict).inc()
        if recorded.lookup_id is None and recorded.verdict == "ignored":
            # Our token, and no such job: it was pruned or erased, or the database was restored.
            remedy = "after a restore: ringback reconcile --since TIME"
            log.warning("callback_for_unknown_job", job=str(job_id), remedy=remedy)
        if recorded.delivers or (recorded.ended is not None and recorded.ended.next_provider is not None):
            self._notifier.wake()
        self._sweeper.add(recorded.unswept)
        return STORED


def _read_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
