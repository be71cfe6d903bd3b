"""README and docs/ tell the truth: what they say about the program is compared with the program."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.routing import Route

from bench.page import figures
from console.__main__ import cli
from enrichment.settings import setting_fields
from receiver.app import create_app
from receiver.dashboard.routes import PageRoute
from sandbox.behaviours import manual
from sandbox.hubspot.behaviours import manual as hubspot_manual
from tests.conftest import MakeSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
EVERYTHING = "\n".join((README, *DOCS.values()))
MOST_WORDS = 1200  # of the README; the rest is for docs/


def section(title: str) -> str:
    """The text under one heading of the README."""
    _, _, after = README.partition(f"\n## {title}\n")
    assert after, f"the README has no section called {title}"
    return after.partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in *text*, without their headings."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]


def shown(default: Any) -> str:
    """A default as the table has it."""
    text = ",".join(default) if isinstance(default, tuple | dict) else str(default)
    return "" if default is None or not text else f"`{text}`"


def test_the_readme_is_short_and_in_the_order_in_which_one_needs_it() -> None:
    """Purpose first, then run and try it, then trouble, then where the rest is."""
    assert len(README.split()) <= MOST_WORDS
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == [
        "Processes", "States", "Run it", "See it, feed it", "Try it", "Connect", "When things go wrong",
        "Where the rest is",
    ]  # fmt: skip


def test_the_settings_are_the_settings() -> None:
    """Every setting is in its table, with its default and its description, and nothing else is."""
    expected = [[f"`{name.upper()}`", shown(f.default), f.description] for name, f in setting_fields().items()]

    assert rows(DOCS["settings.md"]) == expected


def test_the_addresses_are_the_routes(make_settings: MakeSettings) -> None:
    """Every route of the receiver is in its table, and nothing else is."""
    app = create_app(make_settings(), cast("Any", None), "")
    routes = [route for route in app.routes if isinstance(route, Route) and not isinstance(route, PageRoute)]
    expected = {
        f"{method} {route.path}"
        for route in routes
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
        if not route.path.startswith("/docs/")
    }

    assert {row[0].strip("`") for row in rows(DOCS["http.md"])} == expected


def test_the_processes_are_those_of_the_procfile() -> None:
    """Each line of the Procfile has a paragraph of its own, in the same order."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()

    assert re.findall(r"^\* `(.+?)`", section("Processes"), re.MULTILINE)[: len(lines)] == lines


def test_the_diagram_is_that_of_the_schema() -> None:
    """The states are drawn once: every line of the README's drawing stands in schema.sql."""
    header = (ROOT / "schema.sql").read_text(encoding="utf-8").partition("-- step 1")[0]
    drawn = {line.removeprefix("--").strip() for line in header.splitlines()}
    diagram = section("States").split("```")[1].strip("\n").split("\n")

    assert {line.strip() for line in diagram if line} <= drawn


def test_the_words_are_those_of_the_sandbox() -> None:
    """Every word of the table is one that the pretend vendors know."""
    known = manual("leadmagic") | manual("nyne") | hubspot_manual()

    assert {row[0].strip("`") for row in rows(section("Try it"))} <= known.keys()


@pytest.mark.parametrize("word", sorted(set(re.findall(r"`ringback ([a-z]+)\b", EVERYTHING))))
def test_a_command_that_is_named_exists(word: str) -> None:
    """A person who types what the docs say gets no usage error."""
    commands = {command.callback.__name__ for command in cli.registered_commands if command.callback}

    assert word in commands


@pytest.mark.parametrize(
    "target",
    sorted(
        set(re.findall(r"\bmake ([a-z]+)\b", EVERYTHING))
        & {"demo", "test", "check", "chaos", "soak", "bench", "model", "up"}
    ),
)
def test_a_make_target_that_is_named_exists(target: str) -> None:
    """The same for make."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.[a-z]+)?)`", EVERYTHING))))
def test_a_file_that_is_named_exists(path: str) -> None:
    """The way through the code, and every other path, leads somewhere."""
    assert "acme" in path or path.startswith("build/") or (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+\.(?:md|sql|yml|json))\)", EVERYTHING))))
def test_a_link_leads_somewhere(target: str) -> None:
    """From the root or from docs/."""
    assert (ROOT / target).exists() or (ROOT / "docs" / target).exists()


def test_nothing_of_the_machine_it_was_written_on() -> None:
    """No absolute path, and no address of a package registry."""
    assert not re.search(r"(?<![\w$}])/(work|root|home|opt|usr)/", EVERYTHING)
    assert not re.search(r"pypi|simple/|index-url", EVERYTHING, re.IGNORECASE)


def test_the_figures_are_those_that_were_measured() -> None:
    """docs/performance.md shows bench/results.json."""
    assert figures(json.loads((ROOT / "bench" / "results.json").read_text(encoding="utf-8"))) in DOCS["performance.md"]
