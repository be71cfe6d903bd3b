"""Build the receiver as an ASGI app: its parts, its start and its stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from enrichment.crms import CRMS
from enrichment.providers import PROVIDERS, build_providers
from enrichment.providers.base import Provider
from enrichment.settings import Settings
from receiver.access import Access
from receiver.api import Api
from receiver.audit import Audit
from receiver.auth import Tokens
from receiver.callbacks import Addresses, Callbacks
from receiver.clients import Clients
from receiver.crm_events import CrmEvents
from receiver.dashboard.desk import Desk, on_http_exception
from receiver.dashboard.routes import Dashboard
from receiver.decisions import Decisions
from receiver.deliveries import Deliveries
from receiver.docs import Docs, viewer
from receiver.events import Events
from receiver.front import Strangers
from receiver.gate import Door, Gate
from receiver.health import Health
from receiver.metrics import Metrics
from receiver.openapi import document
from receiver.operations import Handlers
from receiver.pauses import Pauses
from receiver.problems import UNAVAILABLE, Problem, on_problem, on_unavailable
from receiver.queues import Queues
from receiver.readings import Readings
from receiver.rights import Rights
from receiver.room import Room
from receiver.routes import build_routes
from receiver.selection_work import SelectionWork
from receiver.selections import Selections
from receiver.usage import UsageReport
from store.connections import Connections
from store.installation import Installation
from store.notify import Notifier
from store.sweeper import Sweeper

log = structlog.get_logger()

# At SIGTERM, seconds for cancelled handlers to end, and for their queued items to be written.
LEAVING, WRITING = 5.0, 15.0


def create_app(
    settings: Settings, pool: asyncpg.Pool[Any], url: str, door: Door | None = None, clients: Clients | None = None
) -> Starlette:
    """Build the receiver on *pool*, which the caller closes; *url* is the same database, for the notifier."""
    door = door or Door()
    metrics = Metrics(lambda: door.in_flight, clients or Clients(settings))
    installation = Installation(pool, settings)
    notifier = Notifier(url, name="receiver notifier")

    queues = Queues(pool, installation, settings, metrics)
    sweeper = Sweeper(pool, installation, notifier.wake)
    connections = Connections(pool, settings)
    tokens = Tokens(settings.api_tokens, _access(settings, metrics))
    providers = _all_providers(settings)
    addresses = Addresses(settings.callback_keys, providers)
    decisions = Decisions(pool, installation, notifier)
    health = Health(pool, url, door, metrics, settings, tokens.access)
    events = Events(settings, tokens, build_providers(settings), queues.events, notifier)
    handlers = Handlers(
        events=events,
        crm_events={
            name: CrmEvents(name, settings, tokens, connections, queues.named, notifier, metrics) for name in CRMS
        },
        readings=Readings(pool),
        callbacks=Callbacks(addresses, queues.callbacks, notifier, sweeper, metrics),
        api=Api(pool, installation, decisions),
        audit=Audit(pool),
        selections=Selections(pool, SelectionWork(pool, installation, notifier, providers)),
        pauses=Pauses(pool, notifier),
        rights=Rights(pool, installation, notifier),
        deliveries=Deliveries(pool, decisions),
        usage=UsageReport(pool, settings),
        health=health,
        docs=Docs(document()),
    )

    dashboard = Dashboard(Desk(settings, pool, installation, notifier, providers, tokens, door, events))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        notifying = asyncio.create_task(notifier.run())
        try:
            yield
        finally:
            await _write_what_was_taken(door, queues, sweeper)
            health.close()
            dashboard.close()
            notifying.cancel()
            await asyncio.wait([notifying])

    app = Starlette(
        lifespan=lifespan,
        middleware=[Middleware(Gate, door=door, metrics=metrics, room=Room())],
        routes=[*build_routes(handlers, tokens), *dashboard.routes(), viewer()],
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            **dict.fromkeys(UNAVAILABLE, on_unavailable),
        },
    )
    app.state.strangers = Strangers(addresses, metrics)
    app.router.redirect_slashes = False  # the gate cleans paths
    return app


async def _write_what_was_taken(door: Door, queues: Queues, sweeper: Sweeper) -> None:
    """Wait, for a bounded time, until the handlers have ended and their queued items are written."""
    if not await door.emptied(LEAVING):
        log.warning("requests_abandoned", requests=door.in_flight)
    try:
        async with asyncio.timeout(WRITING):
            await queues.close()
            await sweeper.close()
    except TimeoutError:
        log.warning("writes_abandoned")  # none of them was acknowledged


def _access(settings: Settings, metrics: Metrics) -> Access:
    """Build the limits of requests, which count their refusals."""
    return Access(
        token_requests=settings.token_requests_per_minute,
        address_requests=settings.address_requests_per_minute,
        proxies=settings.trusted_proxies,
        refused=lambda kind, name: metrics.limited.labels(kind, name).inc(),
    )


def _all_providers(settings: Settings) -> Mapping[str, Provider]:
    """Build every known provider: one that PROVIDERS no longer lists may still call back."""
    return build_providers(settings.model_copy(update={"providers": tuple(PROVIDERS)}))
