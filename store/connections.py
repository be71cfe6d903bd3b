"""The CRMs that Ringback is connected to: rows of `connections`, and this process's adapters built from them.

Each process keeps what it read for REFRESH seconds, and reads again only when it is asked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from enrichment.crms import CRMS, build_crm
from enrichment.crms.base import Crm
from enrichment.settings import Settings
from store.database import Db

REFRESH = 8.0  # seconds; a change of the row is noticed within 10, the reading included


@dataclass(frozen=True, slots=True)
class Connection:
    """A CRM that is connected. *learned* may hold secrets."""

    crm: str
    account: str | None
    connected_at: datetime
    learned: Mapping[str, Any] = field(default_factory=dict, repr=False)


async def read_connections(db: Db) -> dict[str, Connection]:
    """Return every connection by the CRM's name."""
    rows = await db.fetch("SELECT crm, account, connected_at, learned FROM connections ORDER BY crm")
    return {
        row["crm"]: Connection(row["crm"], row["account"], row["connected_at"], json.loads(row["learned"]))
        for row in rows
    }


async def connect(db: Db, crm: str, *, account: str | None, learned: Mapping[str, Any]) -> bool:
    """Store the connection, or what was learned anew of it. Return False if another account is connected.

    The moment of connecting and the watermark stay those of the first time.
    """
    row = await db.fetchrow(
        """
        INSERT INTO connections (crm, account, learned) VALUES ($1, $2, $3)
            ON CONFLICT (crm) DO UPDATE
           SET account = COALESCE(excluded.account, connections.account), learned = excluded.learned, error = NULL
         WHERE connections.account IS NULL OR excluded.account IS NULL OR connections.account = excluded.account
        RETURNING crm
        """,
        crm,
        account,
        json.dumps(learned),
    )
    return row is not None


async def connect_by_token(db: Db, settings: Settings) -> None:
    """Connect every CRM whose token is in the settings, from now on, unless it is connected already."""
    names = [name for name in CRMS if build_crm(name, settings, {}).can_call]
    if names:
        await db.execute(
            "INSERT INTO connections (crm) SELECT unnest($1::text[]) ON CONFLICT (crm) DO NOTHING", sorted(names)
        )


async def note_account(db: Db, crm: str, account: str) -> None:
    """Store whose token it is, unless that is known."""
    await db.execute("UPDATE connections SET account = $2 WHERE crm = $1 AND account IS NULL", crm, account)


async def note_error(db: Db, crm: str, error: str) -> bool:
    """Store what is wrong with the connection. Return False if that was known."""
    row = await db.fetchrow(
        "UPDATE connections SET error = $2 WHERE crm = $1 AND error IS DISTINCT FROM $2 RETURNING crm", crm, error
    )
    return row is not None


async def disconnect(db: Db, crm: str) -> bool:
    """Remove the connection. Return False if there was none."""
    return await db.fetchrow("DELETE FROM connections WHERE crm = $1 RETURNING crm", crm) is not None


class Connections:
    """The connected CRMs as this process knows them, at most 10 seconds old when they are asked for."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._read_at = float("-inf")
        self._has_begun = False
        self._reading = asyncio.Lock()
        self._rows: dict[str, Connection] = {}
        self._built: dict[str, tuple[Mapping[str, Any], Crm]] = {}

    async def crm(self, name: str) -> Crm | None:
        """Return the adapter of a connected CRM. Raise what PostgreSQL raises when the connections cannot be read."""
        connection = await self._connection(name)
        if connection is None or name not in CRMS:
            return None
        learned, crm = self._built.get(name, (None, None))
        if crm is None or learned != connection.learned:
            crm = build_crm(name, self._settings, connection.learned)
            self._built[name] = (connection.learned, crm)
        return crm

    async def account(self, name: str) -> str | None:
        """Return the connected account, None if it is not known."""
        connection = await self._connection(name)
        return connection.account if connection else None

    async def connected_at(self, name: str) -> datetime | None:
        """Return when the CRM was connected, None if it is not."""
        connection = await self._connection(name)
        return connection.connected_at if connection else None

    async def _connection(self, name: str) -> Connection | None:
        async with self._reading:  # those who ask meanwhile share the answer
            if time.monotonic() - self._read_at >= REFRESH:
                began = time.monotonic()
                if not self._has_begun:  # only then: a disconnected CRM stays so in the processes that run
                    await connect_by_token(self._pool, self._settings)
                    self._has_begun = True
                self._rows = await read_connections(self._pool)
                self._read_at = began
        return self._rows.get(name)
