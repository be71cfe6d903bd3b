"""The ways in which a person connects a CRM, as the page "First run" shows them: steps, and what to paste where."""

from __future__ import annotations

from dataclasses import dataclass

URL = "{url}"  # stands for the address that takes this CRM's events


@dataclass(frozen=True, slots=True)
class Paste:
    """A value to paste, and the CRM's name of the field that takes it; URL in the value is replaced."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; `code` in backticks."""

    text: str
    pastes: tuple[Paste, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """One way to connect: what it needs and gives, and its steps in order."""

    title: str
    about: str
    steps: tuple[Step, ...]
