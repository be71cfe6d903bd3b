"""`ringback backfill`: contacts from before the connection, after a preview, at a pace, and never twice."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console import crm_feed
from console.crm_doctor import check_crms
from console.crm_feed import Fed, Pace, feed
from console.crm_link import CrmLink, linked
from enrichment.settings import Settings
from rig.processes import environment
from sandbox.hubspot.account import HubSpot
from sandbox.hubspot.behaviours import row
from sandbox.hubspot.definitions import Definition
from sandbox.hubspot.records import HUMAN
from store.backfills import name_old, queued_backfill
from store.connections import connect
from store.sweeps import name
from submitter.transport import open_session
from tests.commands import RINGBACK, ringback, running
from tests.conftest import MakeSettings
from tests.crm_sweeping import TOKEN, playing

if TYPE_CHECKING:
    from tests.order import Pool

SINCE = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")


class Hub:
    """HubSpot with old contacts, and the commands run against it."""

    def __init__(self, hubspot: HubSpot, url: str, database_url: str, settings: Settings, folder: Path) -> None:
        self.hubspot = hubspot
        self.settings = settings
        self.environment = {
            "DATABASE_URL": database_url, "HUBSPOT_BASE_URL": url, "HUBSPOT_ACCESS_TOKEN": TOKEN,
            "LEADMAGIC_API_KEY": "key", "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret",
        }  # fmt: skip
        self.folder = folder

    def create(self, **values: str) -> str:
        """Let a person create a contact; return its id."""
        return str(self.hubspot.portal.create(values, HUMAN).id)

    async def type(self, *arguments: str, since: str = SINCE) -> tuple[int, str, str]:
        """Run `ringback backfill hubspot` to its end."""
        told = await ringback("backfill", "hubspot", "--since", since, *arguments, cwd=self.folder, **self.environment)
        return told.code, told.out, told.err


@pytest.fixture
async def hub(database_url: str, pool: Pool, make_settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Hub]:
    """Provide HubSpot, connected a moment ago."""
    await connect(pool, "hubspot", account="62515", learned={})
    async with playing() as (hubspot, url):
        settings = make_settings(database_url=database_url, hubspot_access_token=TOKEN, hubspot_base_url=url)
        yield Hub(hubspot, url, database_url, settings, tmp_path)


@pytest.fixture
async def link(hub: Hub) -> AsyncIterator[CrmLink]:
    """Provide what the command calls HubSpot with."""
    async with linked("hubspot", hub.settings) as opened:
        yield opened


async def named(pool: Pool) -> set[str]:
    """Return the contacts that a backfill named."""
    return {row["record_id"] for row in await pool.fetch("SELECT record_id FROM readings WHERE named_by = 'backfill'")}


async def test_a_preview_costs_nothing(hub: Hub, pool: Pool) -> None:
    """It prints how many and the most; a dry run names no contact, and writes no audit."""
    for number in range(3):
        hub.create(email=f"jane{number}@acme.co")
    hub.create(email="joe@acme.co", mobilephone="+15551234567")
    hub.create(firstname="Nobody")

    code, out, _ = await hub.type("--dry-run", "--json")

    plan = json.loads(out)
    assert code == 0
    assert (plan["contacts"], plan["askable"], plan["most_credits"], plan["named"]) == (5, 3, 15, None)
    assert await named(pool) == set()
    assert await pool.fetchval("SELECT count(*) FROM audit") == 0


async def test_it_asks_before_it_spends(hub: Hub, pool: Pool) -> None:
    """Without a terminal to answer on, it asks and changes nothing."""
    hub.create(email="jane@acme.co")

    code, out, _ = await hub.type()

    assert code == 1
    assert "Spend up to 5 credits?" in out
    assert await named(pool) == set()


async def test_contacts_are_named_once(hub: Hub, pool: Pool) -> None:
    """The same command again skips all contacts named before; the audit has its author, and no value."""
    wanted = {hub.create(email=f"jane{number}@acme.co", lifecyclestage="opportunity") for number in range(3)}
    hub.create(email="joe@acme.co", lifecyclestage="lead")
    where = ("--where", "lifecyclestage=opportunity", "--yes", "--json")

    code, out, _ = await hub.type(*where)
    again = json.loads((await hub.type(*where))[1])

    assert code == 0
    assert json.loads(out)["named"] == 3
    assert again["named"] == 0
    assert await named(pool) == wanted
    detail = json.loads(await pool.fetchval("SELECT detail FROM audit LIMIT 1"))
    assert detail["where"] == ["lifecyclestage"]


async def test_a_sample_is_no_more_than_that(hub: Hub, pool: Pool) -> None:
    """A first few, to see what comes of it; the next run takes the next few."""
    for number in range(5):
        hub.create(email=f"jane{number}@acme.co")

    _, out, _ = await hub.type("--sample", "2", "--yes", "--json")
    assert json.loads(out)["most_credits"] == 10
    assert len(await named(pool)) == 2

    await hub.type("--sample", "2", "--yes")
    assert len(await named(pool)) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--where", "stage=customer", "--yes"), "No field of contacts is called stage"),
        (("--where", "lifecyclestage", "--yes"), "property=value"),
        (("--json",), "--json needs --yes or --dry-run"),
    ],
)
async def test_what_cannot_be_meant_is_refused(hub: Hub, pool: Pool, arguments: tuple[str, ...], words: str) -> None:
    """A condition on a field that HubSpot does not have is refused: it would match no contact, silently."""
    code, _, err = await hub.type(*arguments)

    assert code == 2
    assert words in err


async def test_a_day_to_come_is_refused(hub: Hub) -> None:
    """There is nothing from tomorrow."""
    code, _, err = await hub.type("--yes", since="2099-01-01")

    assert code == 2
    assert "--since" in err


async def test_no_backfill_without_a_connection(hub: Hub, pool: Pool) -> None:
    """Without a connection, no process would read the contacts."""
    await pool.execute("DELETE FROM connections")

    code, _, err = await hub.type("--yes")

    assert code == 1
    assert "ringback connect hubspot" in err


async def test_no_more_wait_than_leave_room(
    hub: Hub, link: CrmLink, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the submitter is busy, the backfill waits, and goes on as readings end."""
    monkeypatch.setattr(crm_feed, "MOST_QUEUED", 60)
    monkeypatch.setattr(crm_feed, "LOOK_EVERY", 0.01)
    for number in range(130):
        hub.create(email=f"jane{number}@acme.co")
    waits = asyncio.Event()
    most = 0

    async def submit() -> None:
        nonlocal most
        await waits.wait()
        while await pool.fetchval("SELECT count(*) FROM readings") < 130:
            most = max(most, await queued_backfill(pool, "hubspot"))
            await pool.execute(
                "UPDATE readings SET state = 'skipped', ended_at = now(), reason = 'x' WHERE state = 'queued'"
            )

    submitting = asyncio.create_task(submit())
    fed = await fed_all(link, say=lambda _: waits.set())
    await submitting

    assert (fed.named, fed.stopped) == (130, False)
    assert 0 < most <= 60


async def test_a_stop_is_clean_and_the_next_run_goes_on(hub: Hub, link: CrmLink, pool: Pool) -> None:
    """Named contacts stay named; the same command names the rest, and none twice."""
    for number in range(130):
        hub.create(email=f"jane{number}@acme.co")
    stop = asyncio.Event()

    fed = await fed_all(link, Pace(stop, most=50))
    stop.set()
    stopped = await fed_all(link, Pace(stop))
    rest = await fed_all(link)

    assert (fed.named, stopped.named, stopped.stopped, rest.named) == (50, 0, True, 80)


async def test_ctrl_c_ends_it_with_1(hub: Hub, pool: Pool) -> None:
    """It says how to go on."""
    for number in range(60):
        hub.create(email=f"jane{number}@acme.co")
    command = (*RINGBACK, "backfill", "hubspot", "--since", SINCE, "--yes", "--per-minute", "1")
    async with running(command, environment(**hub.environment), cwd=hub.folder) as process:

        async def fifty() -> bool | None:
            return len(await named(pool)) == 50 or None

        await process.until(fifty)
        assert await process.ends(signal.SIGINT) == 1
        assert any("The same command again goes on" in line for line in process.lines)


async def test_a_contact_that_was_skipped_as_too_old_is_taken(pool: Pool) -> None:
    """A backfill takes a contact that an earlier reading skipped as older than the connection."""
    await name(pool, "hubspot", "sweep", {"1": None, "2": None, "3": None, "4": None})
    await pool.execute(
        """
        UPDATE readings
           SET state = (CASE record_id WHEN '2' THEN 'done' WHEN '1' THEN 'skipped' ELSE 'queued' END)::reading_state,
               ended_at = CASE WHEN record_id IN ('1', '2') THEN now() END,
               reason = CASE record_id WHEN '1' THEN 'older than the connection' END,
               lookup_id = CASE record_id WHEN '2' THEN gen_random_uuid() END,
               erases = record_id = '3'
        """
    )

    assert await name_old(pool, "hubspot", ["1", "2", "3", "4", "5"]) == 3

    assert await named(pool) == {"1", "4", "5"}


async def test_doctor_lists_the_linkedin_fields(hub: Hub) -> None:
    """When HubSpot has several LinkedIn fields, the one in use is named, and how to choose another."""
    hub.hubspot.portal.definitions.all["li_profile"] = Definition("li_profile", "LinkedIn profile", native=False)

    async with open_session(limit=2, timeout=5) as session:
        token, fields = await check_crms(session, hub.settings)

    assert (token.verdict, fields.verdict) == ("ok", "ok")
    assert "hs_linkedin_url" in fields.found
    assert "li_profile" in fields.found


async def test_doctor_names_what_the_token_may_not(hub: Hub) -> None:
    """As HubSpot says it."""
    hub.hubspot.tokens.clear()

    async with open_session(limit=2, timeout=5) as session:
        (finding,) = await check_crms(session, hub.settings)

    assert finding.verdict == "fail"
    assert "HUBSPOT_ACCESS_TOKEN" in finding.found


async def fed_all(link: CrmLink, pace: Pace | None = None, say: Callable[[str], None] = lambda _: None) -> Fed:
    """Feed every contact of the last day."""
    now = datetime.now(UTC)

    return await feed(
        link, link.caller(), pace or Pace(asyncio.Event()), since=now - timedelta(days=1),
        until=now + timedelta(minutes=1), say=say,
    )  # fmt: skip


async def test_a_contact_that_cannot_be_read_is_passed(hub: Hub, link: CrmLink, pool: Pool) -> None:
    """With it every batch is a 500: the others are named, it is told of, and the backfill comes to its end."""
    bad, *others = (hub.create(email=f"jane{number}@acme.co") for number in range(6))
    hub.hubspot.conduct.words[int(bad)] = (row("500"),)
    said: list[str] = []

    fed = await fed_all(link, say=said.append)

    assert (fed.named, fed.passed, fed.stopped) == (5, 1, False)
    assert await named(pool) == set(others)
    assert any(f"Of {bad}, HubSpot says: HTTP 500" in line for line in said)
