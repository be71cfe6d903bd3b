"""Two throw-away PostgreSQL servers: a primary and its synchronous standby, which may change places."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from rig.postgres import STANDBY, Postgres
from rig.processes import NotRunning

FOLLOWS_WITHIN = 30.0  # seconds
LOOK_EVERY = 0.02  # seconds


class Pair:
    """A primary and its standby. Everything that a Postgres can do is done to the present primary."""

    def __init__(self, configuration: Mapping[str, str], *, ports: tuple[int, int], logs: tuple[Path, Path]) -> None:
        """Choose the places; nothing runs yet."""
        self.servers = tuple(Postgres(configuration, port=port, log=log) for port, log in zip(ports, logs, strict=True))
        self.ports = ports
        self._first = 0  # the primary

    @property
    def primary(self) -> Postgres:
        """Return the server that takes writes."""
        return self.servers[self._first]

    @property
    def standby(self) -> Postgres:
        """Return the other one, whether it runs or not."""
        return self.servers[1 - self._first]

    @property
    def at(self) -> int:
        """Return the number of the primary: 0 or 1."""
        return self._first

    @property
    def url(self) -> str:
        """Return the URL of the primary's database `postgres`, on its socket."""
        return self.primary.url

    def create(self) -> str:
        """Make the first server's files, and start it alone. Raises NotRunning."""
        return self.primary.create()

    def start(self) -> None:
        """Start the primary, which recovers if it crashed. Raises NotRunning."""
        self.primary.start()

    def crash(self) -> None:
        """End the primary without a checkpoint."""
        self.primary.crash()

    def remove(self) -> None:
        """End both servers and delete their files."""
        for server in self.servers:
            server.remove()

    async def connect(self, database: str = "postgres", *, user: str = "postgres") -> asyncpg.Connection[Any]:
        """Open a session on the primary, past every proxy."""
        return await self.primary.connect(database, user=user)

    async def replicate(self) -> None:
        """Copy the primary into the other server, and let commits wait for it from now on. Raises NotRunning."""
        await asyncio.to_thread(self.standby.follow, self.primary)
        await self.wait_for(STANDBY)

    async def promote(self) -> None:
        """Make the standby the primary, whose commits wait for no standby: what a failover manager does."""
        promoted = await self.standby.connect()
        try:
            await promoted.execute("SELECT pg_promote(false)")
            await _until(promoted, "SELECT NOT pg_is_in_recovery()")
        finally:
            await promoted.close()
        self._first = 1 - self._first
        await self.wait_for("")

    async def wait_for(self, standby: str) -> None:
        """Let commits wait for *standby* from now on; for none if it is empty."""
        session = await self.connect()
        try:
            await session.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
            await session.execute("SELECT pg_reload_conf()")
            await _until(session, "SELECT current_setting('synchronous_standby_names') = $1", standby)
        finally:
            await session.close()
        if standby:
            await self.until_synchronous()

    async def until_synchronous(self) -> None:
        """Wait until the standby has everything, and commits wait for it. Raises NotRunning."""
        session = await self.connect()
        try:
            await _until(session, "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'")
        finally:
            await session.close()

    async def cut_short(self) -> int:
        """Cancel all waits for the standby, as an impatient administrator does; return how many waited."""
        session = await self.connect()
        try:
            rows = await session.fetch(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
        finally:
            await session.close()
        return len(rows)


async def _until(session: asyncpg.Connection[Any], question: str, *about: str) -> None:
    """Ask until the answer is yes. Raises NotRunning."""
    until = time.monotonic() + FOLLOWS_WITHIN
    while not await session.fetchval(question, *about):
        if time.monotonic() > until:
            raise NotRunning(f"PostgreSQL still says no: {question}")
        await asyncio.sleep(LOOK_EVERY)
