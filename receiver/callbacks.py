"""POST /callbacks/{provider}/{job_id}/{token}: the URL is the credential, and it is checked before all else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from enrichment.providers.base import CallsBack, Provider
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

PREFIX = "/callbacks/"
ROUTE = "/callbacks/{provider}/{job_id}/{token}"
STORED = Response("{}", media_type="application/json")


class Addresses:
    """The callback addresses that we gave out, recognised without the database."""

    def __init__(self, keys: Sequence[SecretStr], providers: Mapping[str, Provider]) -> None:
        self._keys = keys
        self._providers = {name: one for name, one in providers.items() if isinstance(one, CallsBack)}

    def find(self, path: str) -> tuple[CallsBack, UUID] | None:
        """Read a *path* that begins with PREFIX; return None if it is not one of ours."""
        name, _, rest = path[len(PREFIX) :].partition("/")
        job, _, token = rest.partition("/")
        provider, job_id = self._providers.get(name), _read_id(job)
        if provider is None or job_id is None or not is_genuine(token, self._keys, name, job_id):
            return None
        return provider, job_id


class Callbacks:
    """The handler of callbacks."""

    def __init__(
        self,
        addresses: Addresses,
        commit: GroupCommit[Callback, CallbackReceipt],
        notifier: Notifier,
        sweeper: Sweeper,
        metrics: Metrics,
    ) -> None:
        self._addresses = addresses
        self._commit = commit
        self._notifier = notifier
        self._sweeper = sweeper
        self._counter = metrics.callbacks
        self._surplus = metrics.callbacks_surplus

    async def receive(self, request: Request) -> Response:
        """Store and apply a provider's message; a 200 means both are committed. Answer 404 to a wrong address."""
        # The server found the address before it began (receiver/front.py); other servers do not.
        address = request.scope.get("callback") or self._addresses.find(request.scope["path"])
        if address is None:
            return Response(status_code=404)
        provider, job_id = address
        body = readable_text(request.headers, await read_body(request, MOST_OF_A_CALLBACK), MOST_OF_A_CALLBACK)
        callback = Callback(provider.name, job_id, body, provider.read_callback(body), provider.price)
        recorded = await self._commit.submit(callback, within=patience.FOR_A_CALLBACK)
        self._counter.labels(provider.name, recorded.verdict).inc()
        if recorded.lookup_id is None and recorded.verdict == "ignored":
            # Our token, and no such job: it was pruned or erased, or the database was restored.
            remedy = "after a restore: ringback reconcile --since TIME"
            log.warning("callback_for_unknown_job", job=str(job_id), remedy=remedy)
        if not recorded.is_kept:
            self._surplus.labels(provider.name).inc()
        if recorded.delivers or (recorded.ended is not None and recorded.ended.next_provider is not None):
            self._notifier.wake()
        self._sweeper.add(recorded.unswept)
        return STORED


def _read_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
