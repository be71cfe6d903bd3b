"""Build the receiver as an ASGI app: its parts, its start and its stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
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
from receiver.problems import UNAVAILABLE, Problem, on_http_exception, on_problem, on_unavailable
from receiver.readings import Readings
from receiver.rights import Rights
from receiver.room import Room
from receiver.routes import build_routes
from receiver.selections import Selections
from receiver.usage import UsageReport
from store.callbacks import Callback, CallbackReceipt, record_callbacks
from store.connections import Connections
from store.group_commit import GroupCommit
from store.installation import Installation
from store.intake import Event, Receipt, ingest
from store.notify import Notifier
from store.readings import CrmEvent, name_contacts
from store.sweeper import Sweeper

log = structlog.get_logger()

FLUSHERS = 2  # commits in flight per queue; with more, batches get smaller, and each has its own cost
MOST_EVENTS = 64  # per commit; an event may have a hundred contacts
MOST_CALLBACKS = 256  # per commit
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

    async def take(events: Sequence[Event]) -> list[list[Receipt]]:
        taken = await ingest(pool, events, await installation.policy())
        # One log line per commit: under load, a line per event would cost more than its share of the commit.
        if lookups := [str(one.id) for event in taken for one in event if not one.duplicate]:
            log.info("taken", lookups=lookups)
        return taken

    async def record(callbacks: Sequence[Callback]) -> list[CallbackReceipt]:
        recorded = await record_callbacks(pool, callbacks, await installation.policy(), settings.default_region)
        groups: dict[tuple[str, str, str | None], list[str]] = {}
        for callback, one in zip(callbacks, recorded, strict=True):
            key = (callback.provider, one.verdict, one.ended.search_status if one.ended else None)
            groups.setdefault(key, []).append(str(callback.job_id))
        for (provider, verdict, status), jobs in groups.items():
            log.info("callbacks", provider=provider, verdict=verdict, search=status, jobs=jobs)
        return recorded

    async def name(events: Sequence[CrmEvent]) -> list[int]:
        accepted = await name_contacts(pool, events)
        log.info("named", sources=sorted({event.source for event in events}), events=sum(accepted))
        return accepted

    intake = GroupCommit(metrics.counted("events", take), most=MOST_EVENTS, flushers=FLUSHERS, size=_bytes)
    naming = GroupCommit(metrics.counted("crm_events", name), most=MOST_EVENTS, flushers=FLUSHERS, size=_bytes)
    inbox = GroupCommit(metrics.counted("callbacks", record), most=MOST_CALLBACKS, flushers=FLUSHERS, size=_bytes)
    sweeper = Sweeper(pool, installation, notifier.wake)
    connections = Connections(pool, settings)
    tokens = Tokens(settings.api_tokens, _access(settings, metrics))
    addresses = Addresses(settings.callback_keys, _all_providers(settings))
    health = Health(pool, url, door, metrics, settings, tokens.access)
    handlers = Handlers(
        events=Events(settings, tokens, build_providers(settings), intake, notifier),
        crm_events={name: CrmEvents(name, settings, tokens, connections, naming, notifier, metrics) for name in CRMS},
        readings=Readings(pool),
        callbacks=Callbacks(addresses, inbox, notifier, sweeper, metrics),
        api=Api(pool, installation, notifier),
        audit=Audit(pool),
        selections=Selections(pool, installation, notifier, _all_providers(settings)),
        pauses=Pauses(pool, notifier),
        rights=Rights(pool, installation, notifier),
        deliveries=Deliveries(pool, notifier),
        usage=UsageReport(pool, settings),
        health=health,
        docs=Docs(document()),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        notifying = asyncio.create_task(notifier.run())
        try:
            yield
        finally:
            await _write_what_was_taken(door, [intake, naming, inbox], sweeper)
            health.close()
            notifying.cancel()
            await asyncio.wait([notifying])

    app = Starlette(
        lifespan=lifespan,
        middleware=[Middleware(Gate, door=door, metrics=metrics, room=Room())],
        routes=[*build_routes(handlers, tokens), viewer()],
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            **dict.fromkeys(UNAVAILABLE, on_unavailable),
        },
    )
    app.state.strangers = Strangers(addresses, metrics)
    app.router.redirect_slashes = False  # the gate cleans paths
    return app


async def _write_what_was_taken(door: Door, queues: Sequence[GroupCommit[Any, Any]], sweeper: Sweeper) -> None:
    """Wait, for a bounded time, until the handlers have ended and their queued items are written."""
    if not await door.emptied(LEAVING):
        log.warning("requests_abandoned", requests=door.in_flight)
    try:
        async with asyncio.timeout(WRITING):
            await asyncio.gather(*(queue.close() for queue in queues))
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


def _bytes(message: Event | Callback | CrmEvent) -> int:
    """Return the bytes of memory that *message* takes while it waits."""
    return message.size


def _all_providers(settings: Settings) -> Mapping[str, Provider]:
    """Build every known provider: one that PROVIDERS no longer lists may still call back."""
    return build_providers(settings.model_copy(update={"providers": tuple(PROVIDERS)}))
