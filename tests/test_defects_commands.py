"""Defects that a new user's commands found, wrong ones among them; each a rule now."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console.crm_project import write_project
from enrichment.setting_types import Condition
from sandbox.hubspot.records import HUMAN
from store import providers
from tests.commands import JobOutcome, ringback
from tests.crm_sweeping import TOKEN, playing
from tests.factories import lookup
from tests.wishes import status

if TYPE_CHECKING:
    from tests.order import Pool

Type = Callable[..., Awaitable[JobOutcome]]
NO_TEXT = b"\xff".decode("utf-8", "surrogateescape")  # as Python has an argument that is no UTF-8
MARKUP = "HTTP 400: [/b] is not [bold"  # of a vendor: a table would take it for its own


@pytest.fixture
def type_(database_url: str, pool: Pool, tmp_path: Path) -> Type:
    """Provide a way to type commands on the test's database."""

    async def type_it(*arguments: str, **settings: str) -> JobOutcome:
        return await ringback(*arguments, cwd=tmp_path, **{"DATABASE_URL": database_url} | settings)

    return type_it


@pytest.fixture
async def hubspot() -> AsyncIterator[dict[str, str]]:
    """Provide the settings of a pretend HubSpot."""
    async with playing() as (_, url):
        yield {
            "HUBSPOT_BASE_URL": url, "HUBSPOT_ACCESS_TOKEN": TOKEN,
            "LEADMAGIC_API_KEY": "key", "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret",
        }  # fmt: skip


@pytest.mark.parametrize("arguments", [("connect", "hubspot"), ("backfill", "hubspot", "--since", "2026-01-01")])
async def test_the_token_is_what_is_asked_for_first(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """On a new machine: how to get one, and no database is made before."""
    home = tmp_path / "home"

    told = await ringback(*arguments, cwd=tmp_path, RINGBACK_HOME=str(home))

    assert told.code == 1
    assert "Service keys > Create" in told.err
    assert not home.exists()


@pytest.mark.parametrize("arguments", [("disconnect", "hubspot"), ("cancel",)])
async def test_without_a_terminal_the_remedy_is_named(pool: Pool, type_: Type, arguments: tuple[str, ...]) -> None:
    """Nothing is changed, and --yes is what a script needs."""
    await pool.execute("INSERT INTO connections (crm) VALUES ('hubspot')")
    row = await lookup(pool, final_status="failed")

    told = await type_(*arguments)

    assert told.code == 1
    assert "Remedy: --yes" in told.err
    assert await pool.fetchval("SELECT count(*) FROM connections") == 1
    assert await status(pool, row["id"]) == "failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("retry", "--source", "hubpsot"), "one of: generic, api, hubspot"),
        (("release", "--provider", "nine"), "one of: leadmagic, nyne"),
        (("replay", "--channel", "webhok"), "one of: webhook, hubspot"),
        (("cancel", "--status", "found"), "cancel is for lookups that are"),
        (("retry", "--since", "2026-02-01", "--until", "2026-01-01"), "until must be later than since"),
        (("pause", "--reason", NO_TEXT), "whole Unicode characters"),
        (("suppress", "--email", "jane@acme.co", "--note", NO_TEXT), "whole Unicode"),
        (("suppress", "--file", "heading.csv"), "no values below its first line"),
        (("suppress", "--file", "nowhere.csv"), "No such file or directory"),
        (("connect", "hubspot", "--linkedin-field", "my field"), "internal name"),
    ],
)  # fmt: skip
async def test_what_nobody_can_mean_is_refused(
    pool: Pool, type_: Type, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """An impossible option exits with 2, our own words and the remedy; a misspelt name never silently finds nothing."""
    (tmp_path / "heading.csv").write_text("email,note\n")

    told = await type_(*arguments)

    assert told.code == 2
    assert words in told.err
    assert "Value error" not in told.err
    assert "DATABASE_URL" not in told.err
    assert await pool.fetchval("SELECT count(*) FROM audit") == 0


async def test_a_user_of_any_name_may_pause(pool: Pool, type_: Type) -> None:
    """The audit shows what can be shown of it."""
    told = await type_("pause", "--reason", "two\nlines", LOGNAME=f"ann{NO_TEXT}")

    assert told.code == 0
    row = await pool.fetchrow("SELECT who, reason FROM pauses")
    assert row is not None
    assert tuple(row) == ("ann?", "two lines")


async def test_all_are_spoken_of_as_many(type_: Type) -> None:
    """A sentence that is one."""
    await type_("pause", "--reason", "a wrong list")

    told = await type_("resume", "--all")

    assert told.out.startswith("All providers are asked again. They were paused: a wrong list (")


async def test_brackets_of_a_vendor_are_shown_as_they_are(db: Pool, type_: Type) -> None:
    """In the preview of a selection, and in `status`."""
    await lookup(db, final_status="failed", reason=MARKUP)
    await providers.pause(db, "nyne", MARKUP, timedelta(hours=1))

    preview, shown = await type_("retry", "--dry-run"), await type_("status")

    assert (preview.code, shown.code) == (0, 0), preview.err + shown.err
    assert "[/b]" in preview.out
    assert "[/b]" in shown.out


async def test_a_server_that_is_not_there_is_no_fault_of_the_token(type_: Type, hubspot: dict[str, str]) -> None:
    """The message says to check the address."""
    told = await type_("connect", "hubspot", **hubspot | {"HUBSPOT_BASE_URL": "http://127.0.0.1:1"})

    assert told.code == 1
    assert "check HUBSPOT_BASE_URL" in told.err
    assert "token" not in told.err


async def test_a_project_is_written_where_it_can_be(type_: Type, tmp_path: Path) -> None:
    """A folder that cannot be written is named, and one with a space can be typed."""
    (tmp_path / "taken").write_text("a file")
    url = {"PUBLIC_URL": "https://ringback.test"}

    refused = await type_("connect", "hubspot", "--project", "taken", **url)
    written = await type_("connect", "hubspot", "--project", "my app", **url)

    assert (refused.code, written.code) == (1, 0)
    assert "cannot be written to taken" in refused.err
    assert "Traceback" not in refused.err
    assert "cd 'my app' && hs project upload" in written.out


def test_the_project_subscribes_to_what_makes_a_contact_worth_asking(tmp_path: Path) -> None:
    """A stage that HUBSPOT_ONLY_IF names comes within seconds, as an e-mail does."""
    write_project(tmp_path, "https://ringback.test", "li", (Condition("lifecyclestage", frozenset({"lead"})),))

    written = json.loads((tmp_path / "src/app/webhooks/webhooks-hsmeta.json").read_text())
    subscribed = written["config"]["subscriptions"]["crmObjects"]
    changes = [one["propertyName"] for one in subscribed if one["subscriptionType"] == "object.propertyChange"]
    assert changes == ["email", "li", "lifecyclestage"]


async def test_a_rehearsal_that_cannot_be_held_is_no_reason_not_to_connect(
    pool: Pool, type_: Type, hubspot: dict[str, str]
) -> None:
    """A contact that cannot be read, or a used-up limit, is reported, and the command goes on."""
    await type_("connect", "hubspot", **hubspot)
    await pool.execute("UPDATE providers SET rest_until = now() + interval '1 hour' WHERE name = 'hubspot'")
    await pool.execute("DELETE FROM connections")

    told = await type_("connect", "hubspot", **hubspot)

    assert told.code == 0, told.err
    assert "The last 30 days could not be rehearsed: HubSpot cannot be read" in told.err
    assert await pool.fetchval("SELECT account FROM connections") == "62515"


async def test_a_sample_does_not_pass_those_it_leaves_for_later(type_: Type, hubspot: dict[str, str]) -> None:
    """`passed` counts contacts that were named before, or are not worth asking about."""
    async with playing() as (crm, url):
        for number in range(4):
            crm.portal.create({"email": f"jane{number}@acme.co"}, HUMAN)
        given = hubspot | {"HUBSPOT_BASE_URL": url}
        assert (await type_("connect", "hubspot", **given)).code == 0

        told = await type_("backfill", "hubspot", "--since", "2026-01-01", "--sample", "1", "--yes", **given)
        again = await type_("backfill", "hubspot", "--since", "2026-01-01", "--yes", "--json", **given)

    assert "1 contacts looked at, 1 handed to the submitter, 0 passed" in told.out
    assert json.loads(again.out)["named"] == 3
