"""The process frame of the submitter and the reconciler: start, stop, and shared resources."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import structlog
import uvloop

from enrichment import logs
from enrichment.garbage import collect_rarely
from enrichment.process import draining_signals, open_closed_files
from enrichment.providers import build_providers
from enrichment.providers.base import Provider
from enrichment.providers.limits import own_limits
from enrichment.settings import Settings, SettingsError
from enrichment.wish import Policy
from store.connections import connect_by_token
from store.database import (
    UNREACHABLE,
    DatabaseDown,
    close_pool,
    database_url,
    direct_url,
    ignored_parameters,
    open_pool,
)
from store.installation import IdentityKeyError, Installation
from store.migrations import SHORTEST_PAUSE, wait_until_current
from store.providers import register_provider
from store.steps import SchemaError
from submitter.counting import add_up, keep_adding
from submitter.transport import open_session

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Process:
    """The resources of a process; all of them are closed when it stops."""

    settings: Settings
    url: str  # of PostgreSQL, bypassing any pooler
    pool: asyncpg.Pool[Any]
    providers: dict[str, Provider]
    sessions: dict[str, aiohttp.ClientSession]
    installation: Installation
    policy: Policy


def main(name: str, work: Callable[[Process, asyncio.Event], Awaitable[None]]) -> None:
    """Run *work* until a signal; when it cannot start, say why in one message and exit with 2."""
    open_closed_files()
    try:
        settings = Settings.load("submitter")
        logs.configure(settings.log_level, name)
        uvloop.run(_run(name, settings, database_url(settings), work))
    except (SettingsError, DatabaseDown, SchemaError, IdentityKeyError) as error:
        logs.last_words(str(error))
        sys.exit(2)


async def _run(
    name: str, settings: Settings, url: str, work: Callable[[Process, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    for number in draining_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if ignored := ignored_parameters(settings):
        log.info("database_url_parameters_ignored", names=ignored)
    async with AsyncExitStack() as stack:
        process = await _open(stack, name, settings, url, stop)
        if process is None:
            return
        counting = asyncio.create_task(keep_adding(process.pool))
        collect_rarely()
        log.info("started", providers=list(process.providers))
        await work(process, stop)
        counting.cancel()
        await add_up(process.pool)
        log.info("stopped")


async def _open(stack: AsyncExitStack, name: str, settings: Settings, url: str, stop: asyncio.Event) -> Process | None:
    """Open the process once the database is usable and current; return None if *stop* is set first."""
    while await wait_until_current(url, name=name, stop=stop):
        try:
            return await stack.enter_async_context(open_process(name, settings, url))
        except UNREACHABLE as error:
            log.warning("database_away", error=type(error).__name__)
            await asyncio.sleep(SHORTEST_PAUSE)
    return None


@asynccontextmanager
async def open_process(name: str, settings: Settings, url: str) -> AsyncIterator[Process]:
    """Hold the process's resources inside the block, with the providers and their limits registered."""
    async with AsyncExitStack() as stack:
        pool = await open_pool(url, name=name, size=settings.database_pool)
        stack.push_async_callback(close_pool, pool)
        providers = build_providers(settings)
        sessions = {}
        for provider in providers.values():
            await register_provider(pool, provider.name, provider.limits, own_limits(settings, provider.name))
            session = open_session(limit=settings.provider_concurrency, timeout=settings.provider_timeout_seconds)
            sessions[provider.name] = await stack.enter_async_context(session)
        await connect_by_token(pool, settings)
        installation = Installation(pool, settings)
        policy = await installation.policy()
        yield Process(settings, direct_url(settings, url), pool, providers, sessions, installation, policy)
