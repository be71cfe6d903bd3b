"""Gather the evidence from outside: our API, the vendors' books, and the requests that the proxies overheard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from chaos.crm import Crm
from chaos.database import session
from chaos.evidence import Evidence
from chaos.journal import Happened
from chaos.overheard import Overheard
from chaos.pair import Pair
from chaos.truth import Truth
from chaos.vendors import Json, Vendor
from chaos.watch import Watch
from rig.postgres import Postgres
from rig.settings import TOKEN

PAGE = 200  # lookups; the most that a page has
PATIENCE = aiohttp.ClientTimeout(total=30)
TRIES = 10
SWEPT_WITHIN = 30.0  # seconds after the last lookup has ended


async def gather(
    url: str,
    postgres: Postgres | Pair,
    vendors: Mapping[str, Vendor],
    overheard: Mapping[str, Overheard],
    crm: Crm,
    watch: Watch,
    happened: Sequence[Happened],
) -> Evidence:
    """Return what our API at *url*, the vendors, the proxies and the tables show. Raise Silent."""
    api, truth = Api(url, TOKEN), Truth(vendors)
    try:
        lookups, usage = await api.lookups(), await api.usage()
    finally:
        await api.close()
    inside = await _look_inside(postgres)
    return Evidence(
        sent=list(crm.log.values()),
        lookups=lookups,
        usage=usage,
        books={name: await vendor.books() for name, vendor in vendors.items()},
        overheard={name: book.exchanges for name, book in overheard.items()},
        stored=inside.stored,
        unfinished=inside.unfinished,
        delivered=inside.delivered,
        takeovers=watch.takeovers,
        happened=list(happened),
        truth=truth.of,
        lies=await truth.lies(lookup["person"] for lookup in lookups.values()),
        most_submitting=watch.most_submitting,
    )


async def nothing_is_open(api: Api, nyne: Vendor) -> bool:
    """Tell whether no lookup is open, no credit reserved, and Nyne owes no answer. False while a process starts."""
    try:
        stats = await nyne.stats()
        if stats["jobs_unfinished"] or stats["callbacks_pending"] or await api.open_lookups():
            return False
        return all(sums["reserved"] == 0 for sums in (await api.usage()).values())
    except (aiohttp.ClientError, OSError, Silent):
        return False


class Silent(Exception):
    """Our API does not answer, although the faults are over."""


class Api:
    """A client of our API, as a user has one."""

    def __init__(self, url: str, token: str) -> None:
        """Open a session."""
        self._url = url
        headers = {"Authorization": f"Bearer {token}"}
        self._session = aiohttp.ClientSession(timeout=PATIENCE, headers=headers)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def open_lookups(self) -> int:
        """Count the lookups that have not ended, up to a page for each status."""
        pages = [await self._get("lookups", status=status, limit="200") for status in ("queued", "running", "held")]
        return sum(len(page["lookups"]) for page in pages)

    async def lookups(self) -> dict[str, Json]:
        """Return every lookup, by its id."""
        found: dict[str, Json] = {}
        query = {"limit": str(PAGE)}
        while True:
            page = await self._get("lookups", **query)
            found |= {lookup["id"]: lookup for lookup in page["lookups"]}
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    async def usage(self) -> dict[str, Json]:
        """Return the credits by provider, all days together."""
        total: dict[str, Json] = {}
        for day in (await self._get("usage"))["days"]:
            sums = total.setdefault(day["provider"], {"reserved": 0, "charged": 0, "possibly_charged": 0})
            for name in sums:
                sums[name] += day[name]
        return total

    async def _get(self, path: str, **query: str) -> Json:
        url = f"{self._url}/v1/{path}"
        for _ in range(TRIES):
            try:
                async with self._session.get(url, params=query) as response:
                    if response.status == 200:
                        answer: Json = await response.json()
                        return answer
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(1)
        raise Silent(f"{url} does not answer")


@dataclass(frozen=True, slots=True)
class _Inside:
    """The rows that the API does not show, read with SQL."""

    stored: dict[tuple[str, bytes], str]  # callbacks: (job, hash of the body) -> our verdict
    unfinished: dict[str, int]  # rows left when every lookup is final, by kind: there should be none
    delivered: dict[str, float]  # deliveries: when the end was stored


async def _look_inside(postgres: Postgres | Pair) -> _Inside:
    """Read the callbacks, and what is unfinished after the processes have had SWEPT_WITHIN seconds for it."""
    connection = await session(postgres)
    try:
        rows = await connection.fetch("SELECT job_id, body_hash, verdict FROM callbacks", timeout=60)
        delivered = await connection.fetch("SELECT id, ended_at FROM deliveries WHERE state = 'delivered'", timeout=60)
        until = time.monotonic() + SWEPT_WITHIN
        while any((unfinished := await _unfinished(connection)).values()) and time.monotonic() < until:
            await asyncio.sleep(1)
    finally:
        await connection.close(timeout=10)
    return _Inside(
        {(str(row["job_id"]), row["body_hash"]): row["verdict"] for row in rows},
        unfinished,
        {str(row["id"]): row["ended_at"].timestamp() for row in delivered},
    )


async def _unfinished(connection: asyncpg.Connection[Any]) -> dict[str, int]:
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM jobs) AS "open jobs",
               (SELECT count(*) FROM searches WHERE ended_at IS NULL) AS "open searches",
               (SELECT count(*)
                  FROM searches
                 WHERE unswept) AS "searches that are not swept",
               (SELECT count(*)
                  FROM keys
                 WHERE NOT shared
                   AND NOT EXISTS (SELECT FROM searches WHERE searches.id = ANY (keys.searches)))
                   AS "keys that lead nowhere",
               (SELECT count(*) FROM readings WHERE ended_at IS NULL) AS "contacts that are still to be read",
               (SELECT count(*) FROM deliveries WHERE ended_at IS NULL) AS "results that are still to be delivered"
        """,
        timeout=60,
    )
    return dict(row or {})
