"""The work that a large event takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.test_contact import steps
from tests.test_event_fields import read


@pytest.mark.parametrize(
    "make",
    [
        lambda size: {"email": "jane@acme.co", "note": "a@b. " * (size // 5)},
        lambda size: {f"email {number}": "jane@acme.co" for number in range(size // 20)},
        lambda size: {"email": ["jane@acme.co"] * (size // 20)},
        lambda size: {"x": [{"y": "z"}] * (size // 20)},
        lambda size: {"email": "{" * size, "name": "(" * size},
    ],
    ids=["a long note", "many fields", "a long list", "many parts", "long texts"],
)
def test_a_large_body_takes_few_steps(make: Any) -> None:
    """Eight times the body takes at most eight times the steps: nothing is looked at for each of something else."""
    small, large = (json.dumps(make(size)) for size in (60_000, 500_000))
    read(small)  # names of fields are remembered

    assert steps(lambda: read(large)) <= 9 * steps(lambda: read(small)) + 1000
