"""The description is true: every route is in it, and the running receiver behaves as it says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from enrichment.settings import without_settings
from receiver.dashboard.routes import PageRoute
from receiver.openapi import document
from tests.asgi import Client
from tests.conftest import TOKEN
from tests.databases import Databases
from tests.wishes import IDENTITY_KEY

ROOT = Path(__file__).parent.parent
ALL = "events+read+operate+admin"
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))  # of each operation, drawn; `make fuzz` takes more
PATIENCE = 120.0 + 20.0 * EXAMPLES  # seconds; five take about ten


@pytest.fixture(scope="module")
def base_url(databases: Databases) -> Iterator[str]:
    """A receiver as a process of its own, on a database of its own, for all examples."""
    kept = without_settings(os.environ)
    command = [sys.executable, "-m", "receiver"]
    with databases.for_a_module() as url:
        environment = kept | {
            "DATABASE_URL": url, "API_TOKENS": f"tests:{ALL}:{TOKEN}", "IDENTITY_KEY": IDENTITY_KEY,
            "HOST": "127.0.0.1", "PORT": "0",
        }  # fmt: skip
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            yield f"http://127.0.0.1:{json.loads(process.stderr.readline())['port']}"
            process.send_signal(signal.SIGINT)
            process.communicate()
    assert process.returncode == 0


def test_the_receiver_keeps_to_its_description(base_url: str, request: pytest.FixtureRequest) -> None:
    """Every request to an operation, valid or not, gets an answer that the description names."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "-p",
        "schemathesis.pytest.plugin",
    ]
    seed = request.config.getoption("--hypothesis-seed")

    played = subprocess.run(
        [*command, *([f"--hypothesis-seed={seed}"] if seed is not None else []), "tests/described.py"],
        cwd=ROOT, env=os.environ | {"RECEIVER_URL": base_url, "RECEIVER_TOKEN": TOKEN, "EXAMPLES": str(EXAMPLES)},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert played.returncode == 0, f"{played.stdout}\n{played.stderr}"
    assert re.search(rf"\b{len(described())} passed", played.stdout)


def described() -> set[tuple[str, str]]:
    """(method, path) of every operation in the document."""
    return {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}


async def test_every_route_is_described_and_every_description_is_a_route(app: Starlette) -> None:
    """Routes and descriptions are the same set."""
    routed = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route) and not isinstance(route, PageRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }

    assert routed == described()


def test_every_operation_has_a_name_of_its_own() -> None:
    """Generated clients call it by that name: letters and digits only."""
    names = [operation["operationId"] for methods in document()["paths"].values() for operation in methods.values()]

    assert len(set(names)) == len(names)
    assert all(name.isalnum() for name in names)


async def test_the_document_is_what_is_served(client: Client) -> None:
    """GET /openapi.json is the document."""
    answer = await client.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document()
    assert answer.json()["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere() -> None:
    """No $ref dangles, and no model is described for nothing."""
    text = json.dumps(document())
    used = set(re.findall(r'"#/components/schemas/(\w+)"', text))

    assert used == set(document()["components"]["schemas"])


def test_every_field_has_its_place_in_the_answers() -> None:
    """Every operation describes its success, and its errors as problems."""
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            statuses = operation["responses"]
            assert next(iter(statuses)).startswith("2"), path
            for status, response in statuses.items():
                if not status.startswith("2") and "content" in response:
                    assert set(response["content"]) == {"application/problem+json"}, (path, status)


async def test_the_example_in_the_description_works(client: Client) -> None:
    """The body that /docs shows is taken as it stands."""
    example = document()["components"]["schemas"]["EventBody"]["example"]

    answer = await client.post("/events/generic", example)

    assert answer.status == 202
