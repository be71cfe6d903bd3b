"""python -m receiver: accept events and callbacks, and serve the API."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import suppress

import structlog
import uvloop

from enrichment import logs
from enrichment.garbage import collect_rarely
from enrichment.process import open_closed_files
from enrichment.settings import Settings, SettingsError
from receiver.app import create_app
from receiver.clients import Clients
from receiver.gate import Door
from receiver.hang_ups import expect_hang_ups
from receiver.server import Server, listen
from store.database import (
    UNREACHABLE,
    DatabaseDown,
    PatientPool,
    close_pool,
    database_url,
    ignored_parameters,
    open_pool,
)
from store.installation import IdentityKeyError, read_hasher
from store.migrations import wait_until_current
from store.steps import SchemaError

log = structlog.get_logger()

CANNOT_START = 2


class CannotStart(Exception):
    """The receiver cannot start; the message says why and what to do."""


def main() -> None:
    """Serve until a signal; if the receiver cannot start, say why in one message and exit with 2."""
    open_closed_files()
    try:
        settings = Settings.load("receiver")
        logs.configure(settings.log_level, "receiver", once_a_second=True)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it logs every step
        expect_hang_ups()
        uvloop.run(_run(settings))
    except (SettingsError, DatabaseDown, SchemaError, IdentityKeyError, CannotStart) as error:
        logs.last_words(str(error))
        sys.exit(CANNOT_START)


async def _run(settings: Settings) -> None:
    listener = _listen(settings)
    if ignored := ignored_parameters(settings):
        log.info("database_url_parameters_ignored", names=ignored)
    url = database_url(settings)
    pool = await open_pool(url, name="receiver", size=settings.database_pool)
    pool.usable = False
    door = Door()
    clients = Clients(settings)
    server = Server(create_app(settings, pool, url, door, clients), door, clients)
    waiting = asyncio.create_task(_wait_for_database(pool, url, server, settings))
    try:
        collect_rarely()
        log.info("listening", host=settings.host, port=listener.getsockname()[1], most_connections=clients.most)
        await server.serve(sockets=[listener])
    finally:
        waiting.cancel()
        await close_pool(pool)
    if waiting.done() and not waiting.cancelled():
        waiting.result()  # raises the errors that waiting does not mend
    log.info("stopped")


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except (OSError, TypeError, ValueError) as error:  # ValueError: no name of a host, and also UnicodeError
        why = getattr(error, "strerror", None) or "HOST is no address"
        raise CannotStart(
            f"The receiver cannot start: port {settings.port} on {settings.host} cannot be used: "
            f"{why}. Remedy: stop what listens there, or set PORT (or HOST) to another."
        ) from error


async def _wait_for_database(pool: PatientPool, url: str, server: Server, settings: Settings) -> None:
    """Mark the pool as usable once the database is usable and current; stop the server if that cannot happen."""
    try:
        await wait_until_current(url, name="receiver")
        pool.usable = True
        with suppress(*UNREACHABLE):  # then the first event finds out
            await read_hasher(pool, settings)
    except (DatabaseDown, SchemaError, IdentityKeyError):
        server.stop()
        raise


if __name__ == "__main__":
    main()
