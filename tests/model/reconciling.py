"""The reconciler, in a run of the model: each of its duties, when there is something to do."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.run import PICK, Run, chosen

PROVIDERS = st.sampled_from(["leadmagic", "nyne"])


class Reconciling(Run):
    """What the reconciler does, and what it waits for."""

    @precondition(lambda self: any(row["is_expired"] for row in self.now.jobs.values()))
    @rule()
    def rescue(self) -> None:
        """Expired leases are taken over."""
        self._do(self.world.reconciler.rescue())

    @precondition(lambda self: any(row["request_id"] for row in self.now.jobs.values()))
    @rule()
    def poll(self) -> None:
        """Whatever awaits an answer is polled."""
        due = "UPDATE jobs SET due_at = now() WHERE state = 'awaiting' AND request_id IS NOT NULL"
        self._do(self._execute(due), self.world.poller.poll_once())

    @precondition(lambda self: self.now.jobs_in("awaiting") and self._now_and_then(2))
    @rule(pick=PICK)
    def deadline(self, pick: int) -> None:
        """A job has awaited its answer for too long."""
        id = chosen(self.now.jobs_in("awaiting"), pick)["id"]
        past = "UPDATE jobs SET due_at = now(), submitted_at = now() - interval '25 hours' WHERE id = $1"
        self._do(self._execute(past, id), self.world.reconciler.give_up())

    @precondition(lambda self: self.now.left_behind)
    @rule()
    def settle_followers(self) -> None:
        """Followers that somebody left behind are looked after."""
        self._do(self.world.reconciler.settle_followers())

    @precondition(lambda self: self.now.paused or any(row["held"] for row in self.now.jobs.values()))
    @rule(topped_up=st.sets(PROVIDERS))
    def look_after_providers(self, topped_up: set[str]) -> None:
        """Some accounts have credits again; paused providers are asked how they are."""
        self.world.vendors.dry -= topped_up
        self._do(self._look_after_providers())

    async def _look_after_providers(self) -> None:
        await self._execute("UPDATE providers SET check_at = now() WHERE paused_at IS NOT NULL")
        await self.world.reconciler.look_after_providers()
