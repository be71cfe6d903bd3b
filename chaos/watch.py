"""Observation during the run, past every proxy: the lookups' progress, and the takeover of killed submitters' jobs.

It judges only the takeover, because only the table shows it; the other verdicts come from outside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from chaos.database import session
from chaos.faults import GONE
from chaos.pair import Pair
from rig.postgres import Postgres

LOOK_EVERY = 0.25  # seconds
COUNT_EVERY = 1.0  # seconds
GIVE_UP = 60.0  # seconds; a job that has not been taken over by then is late anyway


@dataclass(frozen=True, slots=True)
class Sample:
    """The lookups' progress at one moment."""

    at: float
    by_status: Mapping[str, int]

    @property
    def final(self) -> int:
        """Count the lookups that had ended."""
        return sum(count for status, count in self.by_status.items() if status != "open")


@dataclass(slots=True)
class Takeover:
    """The jobs that were `submitting` when a submitter was killed, and when another process took each over."""

    at: float
    process: str
    jobs: int = 0
    seconds: list[float] = field(default_factory=list)
    left: int = 0  # not within GIVE_UP
    away: float = 0.0  # seconds of it in which there was no database


class Watch:
    """An observer that looks at the database every quarter of a second, on a session of its own."""

    def __init__(self, postgres: Postgres | Pair) -> None:
        """Start without samples."""
        self.samples: list[Sample] = []
        self.submitting: list[tuple[float, int]] = []  # (time, questions that were out)
        self.takeovers: list[Takeover] = []
        self.owed = (0.0, 0)  # (time, contacts to be read and results to be delivered)
        self.swept_to = 0.0  # the changes of HubSpot's contacts before this time have been swept
        self._postgres = postgres
        self._connection: asyncpg.Connection[Any] | None = None
        self._following: list[_Following] = []

    async def run(self) -> None:
        """Look at the database until cancelled."""
        counted = 0.0
        try:
            while True:
                begun = time.time()
                try:
                    await self._look(count=begun - counted >= COUNT_EVERY)
                    counted = begun if begun - counted >= COUNT_EVERY else counted
                except GONE:
                    self._leave()
                    for one in self._following:
                        one.takeover.away += LOOK_EVERY
                await asyncio.sleep(LOOK_EVERY)
        finally:
            self._leave()

    def killed(self, process: str, at: float) -> None:
        """Follow the jobs of a killed submitter until other processes have taken them over."""
        takeover = Takeover(at, process)
        self.takeovers.append(takeover)
        self._following.append(_Following(takeover))

    @property
    def following(self) -> bool:
        """Tell whether some takeover is not over yet."""
        return bool(self._following)

    def most_submitting(self, begun: float, ended: float) -> int:
        """Return the most questions in flight at one time in between."""
        before = [count for at, count in self.submitting if at <= begun][-1:]
        return max([*before, *(count for at, count in self.submitting if begun <= at <= ended)], default=0)

    async def _look(self, *, count: bool) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await session(self._postgres)
        rows = await self._connection.fetch("SELECT id, attempt FROM jobs WHERE state = 'submitting'", timeout=5)
        now, out = time.time(), {(row["id"], row["attempt"]) for row in rows}
        self.submitting.append((now, len(out)))
        for one in list(self._following):
            if one.look(out, now):
                self._following.remove(one)
        if count:
            rows = await self._connection.fetch(
                "SELECT COALESCE(final_status::text, 'open') AS status, count(*) FROM lookups GROUP BY 1", timeout=5
            )
            self.samples.append(Sample(now, {row["status"]: row["count"] for row in rows}))
            row = await self._connection.fetchrow(_CRM, timeout=5)
            assert row is not None
            self.owed, self.swept_to = (now, row["owed"]), row["swept_to"] or 0.0

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


_CRM = """
    SELECT (SELECT count(*) FROM readings WHERE state IN ('queued', 'reading'))
         + (SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')) AS owed,
           (SELECT EXTRACT(epoch FROM swept_to)::float8 FROM connections) AS swept_to
"""


class _Following:
    """One takeover, while it is watched."""

    def __init__(self, takeover: Takeover) -> None:
        self.takeover = takeover
        self._left: set[tuple[UUID, int]] | None = None

    def look(self, out: set[tuple[UUID, int]], now: float) -> bool:
        """Compare the jobs out now with those at the kill; return True when none is left, or it took too long."""
        takeover = self.takeover
        if self._left is None:
            self._left = set(out)
            takeover.jobs = len(out)
        gone = self._left - out
        self._left -= gone
        takeover.seconds += [now - takeover.at] * len(gone)
        takeover.left = len(self._left)
        return not self._left or now - takeover.at > GIVE_UP
