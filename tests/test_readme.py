"""The README tells the truth: what it says about the program is compared with the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.routing import Route

from console.__main__ import cli
from enrichment.settings import setting_fields
from receiver.app import create_app
from sandbox.behaviours import manual
from tests.conftest import MakeSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under one heading."""
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


def test_the_sections_are_in_the_order_in_which_one_needs_them() -> None:
    """Promise, processes, states; then run, try, configure; then what to do about it."""
    titles = re.findall(r"^## (.+)$", README, re.MULTILINE)

    assert titles == [
        "Processes",
        "States",
        "Run it",
        "Try it",
        "Configure",
        "HTTP",
        "When things go wrong",
        "Add a provider",
        "Deploy",
        "Tests",
        "Decisions",
    ]


def test_the_settings_are_the_settings() -> None:
    """Every setting is in the table, with its default and its description, and nothing else is."""
    expected = [[f"`{name.upper()}`", shown(f.default), f.description] for name, f in setting_fields().items()]

    assert rows(section("Configure")) == expected


def test_the_addresses_are_the_routes(make_settings: MakeSettings) -> None:
    """Every route of the receiver is in the table, and nothing else is."""
    app = create_app(make_settings(), cast("Any", None), "")
    routes = [route for route in app.routes if isinstance(route, Route)]
    expected = {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}

    assert {row[0].strip("`") for row in rows(section("HTTP"))} == expected


def test_the_processes_are_those_of_the_procfile() -> None:
    """Each line of the Procfile has a paragraph of its own, in the same order."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()

    assert re.findall(r"^\* `(.+?)`", section("Processes"), re.MULTILINE) == lines


def test_the_diagram_is_that_of_the_schema() -> None:
    """The states are drawn once: README and schema.sql have the same lines."""
    header = (ROOT / "schema.sql").read_text(encoding="utf-8").partition("-- step 1")[0]
    drawing = [line.removeprefix("--").rstrip() for line in header.splitlines() if line.startswith("--     ")]
    indented = [line.removeprefix("     ") for line in drawing]
    diagram = section("States").split("```")[1].strip("\n").split("\n")

    assert [line for line in diagram if line] == indented


def test_the_words_are_those_of_the_sandbox() -> None:
    """Every word of the table is one that the pretend vendors know."""
    known = manual("leadmagic") | manual("nyne")

    assert {row[0].strip("`") for row in rows(section("Try it"))} <= known.keys()


@pytest.mark.parametrize("word", sorted(set(re.findall(r"\bringback ([a-z]+)\b", README))))
def test_a_command_that_is_named_exists(word: str) -> None:
    """Whoever types what the README says gets no usage error."""
    commands = {command.callback.__name__ for command in cli.registered_commands if command.callback}

    assert word in commands


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README))))
def test_a_make_target_that_is_named_exists(target: str) -> None:
    """The same for make."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", README))))
def test_a_file_that_is_named_exists(path: str) -> None:
    """The way through the code, and every other path, leads somewhere."""
    assert "acme" in path or (ROOT / path).exists()


def test_nothing_of_the_machine_it_was_written_on() -> None:
    """No absolute path, and no address of a package registry."""
    assert not re.search(r"(?<![\w$}])/(work|root|home|opt|usr)/", README)
    assert not re.search(r"pypi|simple/|index-url", README, re.IGNORECASE)
