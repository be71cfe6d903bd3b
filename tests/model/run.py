"""A run of the model: what is known of it so far, and how it acts and looks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.model import promises
from tests.model.promises import Wanted, read_snapshot
from tests.model.world import Worker, World

Thing = TypeVar("Thing")

PICK = st.integers(0, 15)  # which of the things at hand


class Run(RuleBasedStateMachine):
    """*world* is what it acts upon; whoever takes part in it is a class of its own, with rules of its own."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]]  # what the runs came across, so that a test can say that they saw everything

    def __init__(self) -> None:
        """Nothing has happened yet."""
        super().__init__()
        self.step = 0
        self.numbers = itertools.count(1)
        self.wanted: dict[UUID, Wanted] = {}
        self.events: list[tuple[dict[str, Any], list[UUID]]] = []
        self.acknowledged: set[tuple[UUID, bytes]] = set()
        self.workers: dict[str, Worker] = {}
        self.now = promises.NOTHING
        self.the_end = "answers"
        self.settings: dict[str, Any] = {}

    def _now_and_then(self, steps: int) -> bool:
        """What changes little, or ends much, may happen at one step in so many."""
        return self.step % steps == 0

    def _look(self) -> None:
        before = self.now.lookups
        self.now = self._do(read_snapshot(self.world.pool, self.now))
        for id, row in self.now.lookups.items():
            wanted, old = self.wanted[id], before.get(id)
            status = row["final_status"] or "open"
            if not wanted.statuses or wanted.statuses[-1][1] != status:
                wanted.statuses.append((self.step, status))
            began = old is None or old["reused_from"] is not None or (old["final_status"] and status == "open")
            if began and row["reused_from"] is None:
                wanted.leads_since = self.step
        self.seen.update({f"held for {row['held']}" for row in self.now.jobs.values() if row["held"]})
        self.seen["step"] += 1

    async def _execute(self, statement: str, *arguments: Any) -> None:
        await self.world.pool.execute(statement, *arguments)

    def _do(self, *work: Any) -> Any:
        result = None
        for one in work:
            result = self.world.run(one)
        return result


def chosen(things: Sequence[Thing], number: int) -> Thing:
    """The one of *things* that *number* stands for."""
    return things[number % len(things)]
