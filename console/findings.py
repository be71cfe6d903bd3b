"""What a check of `ringback doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, and its remedy."""

    about: str
    verdict: Verdict
    found: str
    remedy: str | None = None
