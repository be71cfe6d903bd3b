"""People, in a run of the model: they decide about lookups that have no answer."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.promises import Wanted
from tests.model.run import PICK, Run, chosen


class People(Run):
    """What people decide."""

    @precondition(lambda self: self._undecided() and self._now_and_then(2))
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        """A person wants a lookup to be tried again."""
        wanted = chosen(self._undecided(), pick)
        row = self.now.lookups[wanted.id]
        held = any(job["held"] and job["lookup_id"] == wanted.id for job in self.now.jobs.values())
        answer = self._do(self.world.post(f"/v1/lookups/{wanted.id}/retry"))
        allowed = row["final_status"] in ("failed", "unresolved") or (row["final_status"] is None and held)
        assert answer.status == (202 if allowed else 409), answer.body
        if row["final_status"] is not None and allowed:
            wanted.retried_at = self.step

    @precondition(lambda self: self._undecided() and self._now_and_then(6))
    @rule(pick=PICK, dies=st.booleans())
    def cancel(self, pick: int, dies: bool) -> None:
        """A person wants no more of a lookup."""
        wanted = chosen(self._undecided(), pick)
        row = self.now.lookups[wanted.id]
        asked_now = any(job["lookup_id"] == wanted.id for job in self.now.jobs_in("submitting", "awaiting"))
        answer = self._do(self.world.post(f"/v1/lookups/{wanted.id}/cancel", dies=dies))
        allowed = row["final_status"] in ("failed", "unresolved") or (row["final_status"] is None and not asked_now)
        assert answer.status == (200 if allowed else 409), answer.body
        wanted.cancelled = wanted.cancelled or allowed

    def _undecided(self) -> list[Wanted]:
        ended = ("found", "not_found", "cancelled")
        return [one for id, one in self.wanted.items() if self.now.lookups[id]["final_status"] not in ended]
