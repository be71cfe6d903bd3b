"""The Grafana dashboard shows what /metrics has, and each panel says what it answers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enrichment.providers.base import Limit
from store.connections import connect
from store.counters import Count, add_counts
from store.providers import register_provider
from tests.called_back import call_back, found
from tests.crm_posts import SECRET, event, post
from tests.factories import delivery, job

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.conftest import ClientWith
    from tests.wishes import Pool

DASHBOARD = json.loads((Path(__file__).parent.parent / "ops" / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"instance", "job"}  # it adds these labels to every sample that it scrapes
COUNTED = ("questions", "polls", "crm_calls", "readings", "deliveries", "limiter_wait_seconds", "lease_takeovers")

SELECTOR = re.compile(r"\b((?:ringback|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")

Sample = tuple[str, dict[str, str]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression with its legend."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


def agrees(labels: dict[str, str], name: str, operator: str, value: str) -> bool:
    """Tell whether a sample with these labels passes the matcher, as Prometheus does it."""
    match operator:
        case "=":
            return labels.get(name, "") == value
        case "!=":
            return labels.get(name, "") != value
        case _:
            return re.fullmatch(value, labels.get(name, "")) is not None


@pytest.fixture
async def client(client_with: ClientWith) -> Client:
    """A receiver with a HubSpot, a budget, and tokens that may ask for little."""
    return await client_with(hubspot_client_secret=SECRET, nyne_budget_credits_per_day=100, token_requests_per_minute=2)


async def live(client: Client, pool: Pool) -> None:
    """Leave something for every kind of panel to show."""
    await register_provider(pool, "nyne", (Limit(100, 60),), {})
    await connect(pool, "hubspot", account="62515", learned={})
    await add_counts(pool, {Count(name, "nyne", "found"): 1 for name in COUNTED})
    await delivery(pool)
    await job(pool)
    row = await job(pool, "awaiting")
    await call_back(client, row, found(row["request_id"]))
    await post(client, event())
    limited = [(await client.get("/v1/usage")).status for _ in range(3)]
    assert limited[-1] == 429


async def test_every_panel_asks_for_numbers_that_there_are(client: Client, pool: Pool) -> None:
    """Each metric, each value of a label, and each label that it groups by or writes is in the text of a receiver."""
    await live(client, pool)
    text = (await client.get("/metrics")).body.decode()
    samples: list[Sample] = [
        (sample.name, sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    ]

    wrong = [problem for expression, legend in expressions() for problem in problems(expression, legend, samples)]

    assert wrong == []


def problems(expression: str, legend: str, samples: list[Sample]) -> Iterator[str]:
    """Yield what the expression or its legend names and no sample has."""
    known = set(OF_PROMETHEUS)
    for name, matchers in SELECTOR.findall(expression):
        named = [labels for sample, labels in samples if sample == name]
        known |= {label for labels in named for label in labels}
        if not any(all(agrees(labels, *one) for one in MATCHER.findall(matchers)) for labels in named):
            yield f"nothing is {name}{{{matchers}}}"
        yield from (f"{name} has no {label}" for label, _, _ in MATCHER.findall(matchers) if label not in known)
    grouped = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    yield from (f"{expression} groups by {label}" for label in grouped - known)
    yield from (f"{legend} is not grouped by" for label in re.findall(r"{{(\w+)}}", legend) if label not in grouped)


@pytest.mark.parametrize(
    ("expression", "legend"),
    [
        ("sum by (provider) (ringback_jops)", "{{provider}}"),
        ("sum by (provider) (ringback_jobs)", "{{state}}"),
        ("sum by (colour) (ringback_jobs)", ""),
        ('sum(ringback_jobs{state="waiting"})', ""),
        ('sum(ringback_jobs{colour!="red"})', ""),
    ],
)
def test_a_misspelt_name_is_noticed(expression: str, legend: str) -> None:
    """A metric, a legend's label, a group's label, a label's value, or a label."""
    samples: list[Sample] = [("ringback_jobs", {"provider": "nyne", "state": "queued"})]

    assert list(problems(expression, legend, samples))


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_answers_a_question(panel: dict[str, Any]) -> None:
    """Its title asks it; its description says what to make of the answer; its numbers have a unit."""
    assert panel["title"].endswith("?")
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert {target["datasource"]["uid"] for target in (panel, *panel["targets"])} == {"${datasource}"}


def test_what_every_receiver_shows_alike_is_not_added_up() -> None:
    """The metrics of the installation are in each receiver's text: a sum would count them once per receiver."""
    own = r"ringback_(http_|callbacks|crm_events|requests_limited|body_bytes|build_info)|process_"
    shared = [
        expression
        for expression, _ in expressions()
        for outer, name in re.findall(r"(\w+)(?: by \([^)]*\))? ?\((?:\w+\()?((?:ringback|process)_\w+)", expression)
        if not re.match(own, name) and outer in ("sum", "avg", "count")
    ]

    assert shared == []


def test_other_programs_are_left_out() -> None:
    """Prometheus has the memory of everything that it scrapes, under the same name."""
    common = [expression for expression, _ in expressions() if "process_" in expression]

    assert common
    assert all("and on (instance, job) ringback_build_info" in expression for expression in common)


def test_the_panels_lie_beside_each_other() -> None:
    """No two of them overlap, and none has the id of another."""
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    overlapping = [
        (one, other)
        for one, other in itertools.combinations(boxes, 2)
        if one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    ]  # fmt: skip

    assert overlapping == []
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(boxes)
    assert all(box["x"] + box["w"] <= 24 for box in boxes)


def test_the_data_source_is_chosen_at_the_import() -> None:
    """The file names none, and has no id of a database of Grafana's."""
    (variable,) = DASHBOARD["templating"]["list"]

    assert (variable["type"], variable["query"], variable["name"]) == ("datasource", "prometheus", "datasource")
    assert "id" not in DASHBOARD
