"""The receiver as an ASGI app: its parts, its addresses, how it starts and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from enrichment.identity import ReusePolicy
from enrichment.logs import together
from enrichment.providers import PROVIDERS, build_providers
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from receiver.api import Api
from receiver.auth import Tokens
from receiver.callbacks import Callbacks
from receiver.docs import for_people, for_programs
from receiver.events import Events
from receiver.followers import Followers
from receiver.gate import Door, Gate
from receiver.health import Health
from receiver.metrics import Metrics
from receiver.problems import UNAVAILABLE, Problem, on_http_exception, on_problem, on_unavailable
from receiver.usage import UsageReport
from store.callbacks import Callback, Recorded, record_callbacks
from store.followers import release_followers
from store.group_commit import GroupCommit
from store.intake import Event, Taken, ingest
from store.notify import Notifier

log = structlog.get_logger()

FLUSHERS = 3  # commits in flight per queue; with more, batches get smaller and no faster
MOST_EVENTS = 64  # per commit; an event may have a hundred contacts
MOST_CALLBACKS = 256  # per commit
# At SIGTERM, seconds for cancelled handlers to go, and for what they handed over to be written.
LEAVING, WRITING = 5.0, 15.0


def create_app(settings: Settings, pool: asyncpg.Pool[Any], url: str, door: Door | None = None) -> Starlette:
    """The receiver on *pool*, which stays the caller's; *url* is the same database, for the notifier."""
    door = door or Door()
    metrics = Metrics(lambda: door.in_flight)
    policy = ReusePolicy(timedelta(days=settings.reuse_found_days), timedelta(days=settings.reuse_not_found_days))
    notifier = Notifier(url, name="receiver notifier")

    async def release(leaders: Sequence[UUID]) -> None:
        await release_followers(pool, leaders, policy)
        notifier.wake()  # some of them may lead now

    async def take(events: Sequence[Event]) -> list[list[Taken]]:
        taken = await ingest(pool, events, policy)
        # One line for all of them: under load, a line for each would cost more than its share of the commit.
        if lookups := [str(one.id) for event in taken for one in event if not one.duplicate]:
            log.info("taken", lookups=lookups)
        return taken

    async def record(callbacks: Sequence[Callback]) -> list[Recorded]:
        recorded = await record_callbacks(pool, callbacks)
        with together():
            for callback, fate in zip(callbacks, recorded, strict=True):
                log.info(
                    "callback", provider=callback.provider, job=str(callback.job_id), verdict=fate.verdict,
                    lookup=fate.lookup_id and str(fate.lookup_id), status=fate.ended and fate.ended.status,
                )  # fmt: skip
        return recorded

    intake = GroupCommit(metrics.counted("events", take), most=MOST_EVENTS, flushers=FLUSHERS, size=_bytes)
    inbox = GroupCommit(metrics.counted("callbacks", record), most=MOST_CALLBACKS, flushers=FLUSHERS, size=_bytes)
    followers = Followers(release)
    tokens = Tokens(settings.api_tokens)
    events = Events(settings, tokens, build_providers(settings), intake, notifier)
    callbacks = Callbacks(settings, _all_providers(settings), inbox, notifier, followers, metrics)
    api, usage = Api(pool, policy, notifier, followers), UsageReport(pool, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        notifying = asyncio.create_task(notifier.run())
        try:
            yield
        finally:
            await _write_what_was_taken(door, intake, inbox, followers)
            notifying.cancel()
            await asyncio.wait([notifying])

    app = Starlette(
        lifespan=lifespan,
        middleware=[Middleware(Gate, door=door, metrics=metrics)],
        routes=_routes(tokens, events, callbacks, api, usage, Health(pool, door, metrics)),
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            **dict.fromkeys(UNAVAILABLE, on_unavailable),
        },
    )
    app.router.redirect_slashes = False  # few CRMs follow a redirect of a POST
    return app


def _routes(
    tokens: Tokens, events: Events, callbacks: Callbacks, api: Api, usage: UsageReport, health: Health
) -> list[Route]:
    token = tokens.guard
    return [
        Route("/callbacks/{provider}/{job_id}/{token}", callbacks.receive, methods=["POST"]),
        Route("/events/{source}", events.receive, methods=["POST"]),
        Route("/v1/lookups", token(events.create), methods=["POST"]),
        Route("/v1/lookups", token(api.page)),
        Route("/v1/lookups/{id}", token(api.read)),
        Route("/v1/lookups/{id}/retry", token(api.retry), methods=["POST"]),
        Route("/v1/lookups/{id}/cancel", token(api.cancel), methods=["POST"]),
        Route("/v1/usage", token(usage.read)),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready),
        Route("/metrics", health.metrics),
        Route("/openapi.json", for_programs),
        Route("/docs", for_people),
    ]


async def _write_what_was_taken(
    door: Door,
    intake: GroupCommit[Event, list[Taken]],
    inbox: GroupCommit[Callback, Recorded],
    followers: Followers,
) -> None:
    """Every handler has gone, and what they handed over is stored; or that took too long."""
    if not await door.emptied(LEAVING):
        log.warning("handlers left behind", requests=door.in_flight)
    try:
        async with asyncio.timeout(WRITING):
            await asyncio.gather(intake.close(), inbox.close())
            await followers.close()
    except TimeoutError:
        log.warning("writes given up")  # nobody was told that they were stored


def _bytes(message: Event | Callback) -> int:
    """The memory that *message* holds while it waits."""
    return len(message.body)


def _all_providers(settings: Settings) -> Mapping[str, Provider]:
    """Every provider we know: one that is no longer asked may still call back."""
    return build_providers(settings.model_copy(update={"providers": tuple(PROVIDERS)}))
