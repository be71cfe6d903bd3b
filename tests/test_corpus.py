"""Inputs that were found by `make fuzz`, or that are of a kind that was: none of them is a defect any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz.hunt import hunt, kept, replay
from tests.fuzz.inputs import read, written
from tests.fuzz.targets import TARGETS

PARSED = [(target, path) for target, path in kept() if target in TARGETS]


@pytest.mark.parametrize(("target", "path"), PARSED, ids=[f"{target}-{path.stem}" for target, path in PARSED])
def test_a_case_of_the_corpus_is_taken(target: str, path: Path) -> None:
    """Each kept case keeps its target's rule."""
    replay(target, path)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_takes_a_few_new_cases(target: str) -> None:
    """A short hunt finds nothing, with the same cases every time."""
    found = hunt(target, 1, cases=25)

    assert found is None, found


def test_a_case_is_kept_as_it_was() -> None:
    """Bytes, texts with lone surrogates, numbers and lists come back from a file unchanged."""
    case = [b"\xff\x00", "\ud800", 7, {"a": [b"", None]}]

    assert read(json.loads(json.dumps(written(case)))) == case
