"""python -m receiver: takes events and callbacks in, and answers the API."""

from __future__ import annotations

import logging
import socket
import sys

import structlog
import uvloop

from enrichment import logs
from enrichment.garbage import collect_rarely
from enrichment.settings import Settings, SettingsError
from receiver.app import create_app
from receiver.gate import Door
from receiver.server import Server, listen
from store.database import UNREACHABLE, DatabaseDown, close_pool, connect, database_url, open_pool
from store.installation import IdentityKeyError, read_hasher
from store.migrations import SchemaError, require_current

log = structlog.get_logger()

CANNOT_START = 2


class CannotStart(Exception):
    """Everything that is in the way, one line each, with its remedy."""


def main() -> None:
    """The receiver serves until SIGTERM; what cannot start says why in one message, and exits with 2."""
    try:
        settings = Settings.load("receiver")
        logs.configure(settings.log_level, "receiver")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it narrates
        uvloop.run(_run(settings))
    except (SettingsError, DatabaseDown, CannotStart) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(CANNOT_START)


async def _run(settings: Settings) -> None:
    listener, url = await _prepare(settings)
    pool = await open_pool(url, name="receiver", size=settings.database_pool)
    try:
        door = Door()
        app = create_app(settings, pool, url, door)
        collect_rarely()
        log.info("listening", host=settings.host, port=listener.getsockname()[1])
        await Server(app, door).serve(sockets=[listener])
    finally:
        await close_pool(pool)
    log.info("stopped")


async def _prepare(settings: Settings) -> tuple[socket.socket, str]:
    """A listening socket and the URL of a database that is ready.  Raises CannotStart naming all that is wrong."""
    problems: list[str] = []
    listener: socket.socket | None = None
    url = ""
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        problems.append(
            f"Port {settings.port} on {settings.host} cannot be used: {error.strerror or error}. "
            "Remedy: stop what listens there, or set PORT (or HOST) to another."
        )
    try:
        url = database_url(settings)
        await _require_database(url, settings)
    except (DatabaseDown, SchemaError, IdentityKeyError) as error:
        problems.append(str(error))
    if listener is None or problems:
        if listener is not None:
            listener.close()
        raise CannotStart("The receiver cannot start:\n" + "\n".join(f"  {problem}" for problem in problems))
    return listener, url


async def _require_database(url: str, settings: Settings) -> None:
    connection = await connect(url, name="receiver")
    try:
        await require_current(connection)
        await read_hasher(connection, settings)
    except UNREACHABLE as error:
        raise DatabaseDown(f"PostgreSQL went away: {type(error).__name__}. Remedy: start it again.") from error
    finally:
        connection.terminate()


if __name__ == "__main__":
    main()
