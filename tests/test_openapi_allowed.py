"""What the description allows is not refused, except for what no schema can say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from receiver.openapi import document
from tests.conftest import TOKEN
from tests.test_openapi import base_url  # noqa: F401  fixture

EXAMPLES = 8
# By operation, the fields whose values a schema cannot tell apart: an address from a text that looks like one.
BEYOND_A_SCHEMA = {
    ("delete", "/v1/people"): {"", "email", "profile", "number"},
    ("get", "/v1/lookups"): {"q"},
    ("post", "/v1/suppressions"): {"email", "profile", "domain", "number", "note"},
}
# Nothing in the event names a person: fields of many names would do.
NOBODY = {("post", "/events/{source}"), ("post", "/v1/lookups"), ("post", "/events/hubspot")}
# Two fields that do not fit each other.
TOGETHER = {("post", "/v1/selections"): "until must be later than since"}
SCHEMA: Any = schemathesis.openapi.from_dict(document())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


def is_excused(operation: tuple[str, str], answer: requests.Response) -> bool:
    """Tell whether a 422 is for a value that no schema can describe."""
    errors = answer.json().get("errors", [])
    if operation in TOGETHER:
        return [error["message"] for error in errors] == [TOGETHER[operation]]
    allowed = BEYOND_A_SCHEMA.get(operation, set())
    return operation in NOBODY or {error["path"] for error in errors} <= allowed


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_what_the_description_allows_is_not_refused(operation: Any, base_url: str) -> None:  # noqa: F811  a fixture
    """No 4xx for a form that the schema has, and no status that the description lacks."""
    described = set(operation.definition.raw["responses"])
    name = (operation.method, operation.path)
    wrong: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def call(case: Any) -> None:
        answer = case.call(base_url=base_url, headers={"Authorization": f"Bearer {TOKEN}"})
        refused = answer.status_code in (400, 413, 415) or (answer.status_code == 422 and not is_excused(name, answer))
        if refused or str(answer.status_code) not in described:
            wrong[f"{answer.status_code}: {answer.text[:300]}: {case.query} {case.body!r}"] += 1

    call()

    assert wrong == Counter()
