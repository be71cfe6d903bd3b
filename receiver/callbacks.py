"""POST /callbacks/{provider}/{job_id}/{token}: the URL is the credential, and it is checked before all else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from enrichment.ending import Ending, read_ending
from enrichment.outcome import Answered, Outcome, Refused
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from enrichment.tokens import is_genuine
from receiver.bodies import MOST_OF_A_CALLBACK, read_body
from receiver.followers import Followers
from receiver.metrics import Metrics
from store.callbacks import Callback, Recorded
from store.group_commit import GroupCommit
from store.notify import Notifier

PATIENCE = 20.0  # seconds for the commit, if the database comes back; providers wait about thirty
STORED = Response("{}", media_type="application/json")


class Callbacks:
    """Takes callbacks in."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        commit: GroupCommit[Callback, Recorded],
        notifier: Notifier,
        followers: Followers,
        metrics: Metrics,
    ) -> None:
        self._keys = settings.callback_keys
        self._region = settings.default_region
        self._providers = {name: provider for name, provider in providers.items() if provider.calls_back}
        self._commit = commit
        self._notifier = notifier
        self._followers = followers
        self._counter = metrics.callbacks

    async def receive(self, request: Request) -> Response:
        """A provider's message is stored and applied; a 200 means both.  Strangers get a 404 and learn nothing."""
        provider = self._providers.get(request.path_params["provider"])
        job_id = _read_id(request.path_params["job_id"])
        token = request.path_params["token"]
        if provider is None or job_id is None or not is_genuine(token, self._keys, provider.name, job_id):
            return Response(status_code=404)
        body = await read_body(request, MOST_OF_A_CALLBACK)
        recorded = await self._commit.submit(self._read(provider, job_id, body), within=PATIENCE)
        self._counter.labels(provider.name, recorded.verdict).inc()
        self._follow_up(recorded)
        return STORED

    def _read(self, provider: Provider, job_id: UUID, body: bytes) -> Callback:
        outcome = provider.read_callback(body)
        read = partial(_ending, outcome, job_id, body, provider)
        # Read here and not while the commit is made: a batch of numbers would hold up everybody for as long.
        ending = read(self._region)
        return Callback(provider.name, job_id, body, outcome, lambda region: ending if region is None else read(region))

    def _follow_up(self, recorded: Recorded) -> None:
        """What the commit made possible is started; nobody waits for it."""
        ended = recorded.ended
        if ended is not None and ended.next_provider is not None:
            self._notifier.wake()
        if recorded.lookup_id is not None and (
            recorded.verdict == "late" or (ended is not None and ended.has_followers)
        ):
            self._followers.look_after(recorded.lookup_id)


def _ending(outcome: Outcome, job_id: UUID, body: bytes, provider: Provider, region: str | None) -> Ending | None:
    """How the job ends by a callback: only by a plain yes or no. What we cannot read, the next poll decides."""
    if not isinstance(outcome, Answered | Refused):
        return None
    return read_ending(
        outcome,
        job_id,
        answered_by="callback",
        price=provider.price,
        region=region,
        body=body,
    )


def _read_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
