"""The result of a check: counts, and offences against a promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 12  # offences in the report; the JSON has them all


@dataclass(slots=True)
class Verdict:
    """One check: *promise* holds unless there are offences."""

    number: int
    promise: str
    counts: Counter[str] = field(default_factory=Counter)
    offences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Tell whether there are no offences."""
        return not self.offences

    def count(self, what: str, times: int = 1) -> None:
        """Add *times* to the count of *what*; a zero is shown too."""
        self.counts[what] += times

    def demand(self, so: bool, offence: str) -> None:
        """Note the offence if this is not so."""
        if not so:
            self.offences.append(offence)
