"""The PostgreSQL that the chaos breaks: a superuser's socket for the chaos, TCP for our processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from chaos.pair import Pair
from rig.ports import HOST
from rig.postgres import Postgres, execute
from store.migrations import migrate

USER, DATABASE = "ringback", "ringback"
# Few enough for one outside session to use up: our processes take 42 at most, and leave some behind when they die.
MAX_CONNECTIONS, RESERVED = 80, 8
PATIENCE = 10.0  # seconds
CONFIGURATION = {
    "max_connections": str(MAX_CONNECTIONS),
    "superuser_reserved_connections": str(RESERVED),
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_line_prefix": "%m [%p] %q%a ",
}


def breakable(port: int, log: Path) -> Postgres:
    """Return the server; create_in() starts it."""
    return Postgres(CONFIGURATION, port=port, log=log)


def breakable_pair(ports: tuple[int, int], folder: Path) -> Pair:
    """Return such a server and one that can become its standby; create_in() starts the first.

    Servers die here, and no machine: what a server has written, the kernel keeps.
    """
    impatient = {"fsync": "off", "wal_retrieve_retry_interval": "200ms"}
    return Pair(CONFIGURATION | impatient, ports=ports, logs=(folder / "postgres-0.log", folder / "postgres-1.log"))


async def create_in(postgres: Postgres | Pair) -> None:
    """Start the server, with an empty database at the newest step of the schema, owned by USER."""
    await asyncio.to_thread(postgres.create)
    await execute(postgres.url, f"CREATE ROLE {USER} LOGIN", f"CREATE DATABASE {DATABASE} OWNER {USER}")
    owner = await postgres.connect(DATABASE, user=USER)
    try:
        await migrate(owner)
    finally:
        await owner.close(timeout=PATIENCE)


async def session(postgres: Postgres | Pair, user: str = "postgres") -> asyncpg.Connection[asyncpg.Record]:
    """Open a session on the database of our processes, past every proxy."""
    return await postgres.connect(DATABASE, user=user)


async def let_minutes_pass(postgres: Postgres | Pair) -> None:
    """Make all results and readings due: after a fault, the next try may be minutes or hours away."""
    connection = await session(postgres)
    try:
        await connection.execute("UPDATE deliveries SET due_at = now() WHERE state = 'queued' AND due_at > now()")
        await connection.execute("UPDATE readings SET due_at = now() WHERE state = 'queued' AND due_at > now()")
    finally:
        await connection.close(timeout=PATIENCE)


async def let_night_fall(postgres: Postgres | Pair) -> None:
    """Let the walk over HubSpot's contacts be due, unless one is under way."""
    connection = await session(postgres)
    try:
        await connection.execute("UPDATE connections SET walk_due_at = now() WHERE walk_began IS NULL")
    finally:
        await connection.close(timeout=PATIENCE)


def url(*ports: int) -> str:
    """Return the URL of that database for clients that connect to one of *ports*."""
    return f"postgresql://{USER}@{','.join(f'{HOST}:{port}' for port in ports)}/{DATABASE}?sslmode=disable"
