"""What is seen while it runs, past every proxy: how far the lookups are, and who takes over from the killed.

None of this decides anything but the takeover, which only the table can show; the other verdicts come from outside.
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
from rig.postgres import Postgres

LOOK_EVERY = 0.25  # seconds
COUNT_EVERY = 1.0  # seconds
GIVE_UP = 60.0  # seconds; whatever has not been taken over by then is late anyway


@dataclass(frozen=True, slots=True)
class Sample:
    """How far the lookups were at one moment."""

    at: float
    by_status: Mapping[str, int]

    @property
    def final(self) -> int:
        """How many had ended."""
        return sum(count for status, count in self.by_status.items() if status != "open")


@dataclass(slots=True)
class Takeover:
    """The jobs that were `submitting` when a submitter was killed: after how long each was somebody else's."""

    at: float
    process: str
    jobs: int = 0
    seconds: list[float] = field(default_factory=list)
    left: int = 0  # not within GIVE_UP
    away: float = 0.0  # seconds of it in which there was no database


class Watch:
    """Looks at the database every quarter of a second, on a session of its own."""

    def __init__(self, postgres: Postgres) -> None:
        """Nothing was seen yet."""
        self.samples: list[Sample] = []
        self.submitting: list[tuple[float, int]] = []  # how many questions were out, at which time
        self.takeovers: list[Takeover] = []
        self._postgres = postgres
        self._connection: asyncpg.Connection[Any] | None = None
        self._following: list[_Following] = []

    async def run(self) -> None:
        """Until it is cancelled, it looks."""
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
        """A submitter was killed: what it had is followed until somebody else has it."""
        takeover = Takeover(at, process)
        self.takeovers.append(takeover)
        self._following.append(_Following(takeover))

    @property
    def following(self) -> bool:
        """Whether some takeover is not over yet."""
        return bool(self._following)

    def most_submitting(self, begun: float, ended: float) -> int:
        """The most questions that were out at one time in between."""
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

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class _Following:
    """One takeover, while it is watched."""

    def __init__(self, takeover: Takeover) -> None:
        self.takeover = takeover
        self._left: set[tuple[UUID, int]] | None = None

    def look(self, out: set[tuple[UUID, int]], now: float) -> bool:
        """What is out now is compared with what was out; True when nothing of that is left, or it took too long."""
        takeover = self.takeover
        if self._left is None:
            self._left = set(out)
            takeover.jobs = len(out)
        gone = self._left - out
        self._left -= gone
        takeover.seconds += [now - takeover.at] * len(gone)
        takeover.left = len(self._left)
        return not self._left or now - takeover.at > GIVE_UP
