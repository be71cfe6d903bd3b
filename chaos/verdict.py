"""What a check found: so many of these and those, and whatever should not be."""

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
        """Whether nothing speaks against it."""
        return not self.offences

    def count(self, what: str, times: int = 1) -> None:
        """So many more of *what* were looked at; zero shows as zero."""
        self.counts[what] += times

    def demand(self, so: bool, offence: str) -> None:
        """It is an offence if this is not so."""
        if not so:
            self.offences.append(offence)
