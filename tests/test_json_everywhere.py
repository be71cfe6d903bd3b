"""Every command that a program would read has --json, with nothing else on stdout."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.main import get_command

from console.__main__ import cli
from store.steps import read_steps
from tests.commands import empty_database, ringback
from tests.test_console_connect import Hub, hub  # noqa: F401  a fixture

WITHOUT = {
    "up": "it ends when it is stopped, and what it prints are the logs of its processes",
    "demo": "it plays for people; its exit code is what a program needs",
}


def test_every_command_has_json_or_a_reason() -> None:
    """A new command either speaks to programs as well, or says here why not."""
    commands = getattr(get_command(cli), "commands")  # noqa: B009  of a group, which the type does not say

    without = {name for name, one in commands.items() if not any("--json" in option.opts for option in one.params)}

    assert without == WITHOUT.keys()


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


async def test_migrate_plans_and_applies_for_programs(empty_database_url: str, tmp_path: Path) -> None:
    """Without --yes it changes nothing, as elsewhere."""
    planned, applied, again = [
        json.loads((await ringback("migrate", "--json", *yes, cwd=tmp_path, DATABASE_URL=empty_database_url)).out)
        for yes in ([], ["--yes"], ["--yes"])
    ]

    steps = [{"step": step.number, "title": step.title} for step in read_steps()]
    assert [one["step"] for one in planned["missing"]] == [one["step"] for one in steps]
    assert (applied, again) == ({"applied": steps}, {"applied": []})


async def test_connect_tells_programs_what_it_found(hub: Hub) -> None:  # noqa: F811
    """The same as people read, who read it on stderr then."""
    told = await hub.type("connect", "hubspot", "--json")

    assert json.loads(told.out) == {
        "crm": "hubspot", "project": None, "account": "62515", "linkedin_field": "hs_linkedin_url",
        "own_properties": True, "connected": True, "test_event": False,
        "last_month": {"contacts": 0, "askable": 0, "most_credits": 0, "is_estimate": False},
    }  # fmt: skip
    assert "HubSpot is connected" in told.err


async def test_an_error_is_on_stderr(hub: Hub) -> None:  # noqa: F811
    """And the exit code is the same as without --json."""
    told = await hub.type("connect", "hubspot", "--json", HUBSPOT_ACCESS_TOKEN="")

    assert (told.code, told.out) == (1, "")
    assert "Service keys" in told.err


async def test_disconnect_needs_a_yes_from_programs(hub: Hub) -> None:  # noqa: F811
    """Exit code 2 without it; 1 where there was nothing to disconnect."""
    await hub.type("connect", "hubspot")

    asked, gone, again = [await hub.type("disconnect", "hubspot", "--json", *yes) for yes in ([], ["--yes"], ["--yes"])]

    assert (asked.code, asked.out) == (2, "")
    assert (gone.code, json.loads(gone.out)) == (0, {"crm": "hubspot", "disconnected": True})
    assert (again.code, json.loads(again.out)) == (1, {"crm": "hubspot", "disconnected": False})
    assert "HUBSPOT_ACCESS_TOKEN is still set" in gone.err
