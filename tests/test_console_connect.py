"""`ringback connect` and `ringback disconnect`, as processes, against a pretend HubSpot."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from console.crm_checks import find_fields
from console.crm_event import send_test_event
from console.crm_project import write_project
from enrichment.crms.base import Property
from enrichment.crms.hubspot_signatures import verify
from sandbox.hubspot.account import HubSpot
from sandbox.hubspot.calls import READ, SCHEMAS_WRITE, WRITE, Token
from sandbox.hubspot.definitions import Definition
from submitter.transport import open_session
from tests.commands import JobOutcome, ringback
from tests.crm_sweeping import TOKEN, playing

if TYPE_CHECKING:
    from tests.order import Pool


class Hub:
    """HubSpot, and the commands that are typed against it."""

    def __init__(self, hubspot: HubSpot, url: str, database_url: str, folder: Path) -> None:
        self.hubspot = hubspot
        self._settings = {
            "DATABASE_URL": database_url, "HUBSPOT_BASE_URL": url, "HUBSPOT_ACCESS_TOKEN": TOKEN,
            "LEADMAGIC_API_KEY": "key", "NYNE_API_KEY": "key", "NYNE_API_SECRET": "secret",
        }  # fmt: skip
        self._folder = folder

    async def type(self, *arguments: str, **settings: str) -> JobOutcome:
        """Run the command to its end."""
        return await ringback(*arguments, cwd=self._folder, **self._settings | settings)

    def scopes(self, *scopes: str) -> None:
        """Let the token have these scopes only."""
        self.hubspot.tokens[TOKEN] = Token("first", "54321", frozenset(scopes))


@pytest.fixture
async def hub(database_url: str, pool: Pool, tmp_path: Path) -> AsyncIterator[Hub]:
    """Provide HubSpot, and the commands on the test's own database."""
    async with playing() as (hubspot, url):
        yield Hub(hubspot, url, database_url, tmp_path)


async def test_connect_learns_and_remembers(hub: Hub, pool: Pool) -> None:
    """Account, field and own properties are in the row, a person in the audit; a month is rehearsed, nothing bought."""
    for number in range(3):
        hub.hubspot.portal.create({"email": f"jane{number}@acme.co"}, _human())
    hub.hubspot.portal.create({"email": "joe@acme.co", "mobilephone": "+15551234567"}, _human())

    told = await hub.type("connect", "hubspot")

    assert told.code == 0, told.err
    assert "account 62515" in told.out
    assert "Last 30 days: 4 contacts, 3 askable, at most 15 credits" in told.out
    row = await pool.fetchrow("SELECT account, learned FROM connections")
    assert row is not None
    assert row["account"] == "62515"
    assert json.loads(row["learned"]) == {"linkedin_field": "hs_linkedin_url", "own_properties": True}
    assert await pool.fetchval("SELECT action || ' ' || subject FROM audit") == "connect hubspot"
    assert await pool.fetchval("SELECT count(*) FROM readings") == 0


async def test_connect_again_changes_nothing(hub: Hub, pool: Pool) -> None:
    """It may be repeated at any time: the same row, and our properties are made once."""
    await hub.type("connect", "hubspot")
    before = await pool.fetchrow("SELECT * FROM connections")

    told = await hub.type("connect", "hubspot")

    assert told.code == 0, told.err
    assert await pool.fetchrow("SELECT * FROM connections") == before


async def test_a_dry_run_changes_nothing(hub: Hub, pool: Pool) -> None:
    """A dry run writes neither to PostgreSQL nor to HubSpot."""
    told = await hub.type("connect", "hubspot", "--dry-run", "--print")

    assert told.code == 0, told.err
    assert "HUBSPOT_LINKEDIN_FIELD=hs_linkedin_url" in told.out
    assert await pool.fetchval("SELECT count(*) FROM connections") == 0
    written = [one for one in hub.hubspot.journal.received if one.method != "GET" and "/search" not in one.target]
    assert written == []


@pytest.mark.parametrize(
    ("scopes", "named"),
    [((WRITE,), "crm.objects.contacts.read"), ((READ,), "crm.objects.contacts.write")],
)
async def test_a_scope_that_is_missing_is_named(hub: Hub, pool: Pool, scopes: tuple[str, ...], named: str) -> None:
    """Nothing is connected, and the person reads what to add."""
    hub.scopes(*scopes)

    told = await hub.type("connect", "hubspot")

    assert told.code == 1
    assert named in told.err
    assert await pool.fetchval("SELECT count(*) FROM connections") == 0


async def test_without_the_schema_scope_it_goes_on_without_own_properties(hub: Hub, pool: Pool) -> None:
    """Numbers are written back all the same; the scope is named."""
    hub.scopes(READ, WRITE)

    told = await hub.type("connect", "hubspot")

    assert told.code == 0, told.err
    assert SCHEMAS_WRITE in told.out
    assert json.loads(await pool.fetchval("SELECT learned FROM connections"))["own_properties"] is False


async def test_a_wrong_token_is_said(hub: Hub) -> None:
    """The message names the setting; it never shows the token."""
    told = await hub.type("connect", "hubspot", HUBSPOT_ACCESS_TOKEN="pat-of-somebody-else")

    assert told.code == 1
    assert "HUBSPOT_ACCESS_TOKEN" in told.err
    assert "pat-of-somebody-else" not in told.out + told.err


async def test_a_paused_hubspot_goes_on_once_it_is_connected(hub: Hub, pool: Pool) -> None:
    """The token was bad, and paused all calls; the new one is checked in spite of that, and ends the pause."""
    await pool.execute(
        """
        INSERT INTO providers (name, paused_reason, paused_at, check_at) VALUES ('hubspot', 'no scope', now(), now())
        """
    )

    told = await hub.type("connect", "hubspot")

    assert told.code == 0, told.err
    assert await pool.fetchval("SELECT paused_at FROM providers WHERE name = 'hubspot'") is None


async def test_the_token_of_another_account_is_refused(hub: Hub, pool: Pool) -> None:
    """The first account has to be disconnected before."""
    await pool.execute("INSERT INTO connections (crm, account) VALUES ('hubspot', '99999')")

    told = await hub.type("connect", "hubspot")

    assert told.code == 1
    assert "ringback disconnect hubspot" in told.err
    assert await pool.fetchval("SELECT account FROM connections") == "99999"


async def test_a_custom_field_is_chosen_by_name(hub: Hub, pool: Pool) -> None:
    """A field that does not exist is refused: HubSpot would leave it out in silence."""
    hub.hubspot.portal.definitions.all["li_profile"] = Definition("li_profile", "LinkedIn profile", native=False)

    wrong = await hub.type("connect", "hubspot", "--linkedin-field", "li_profil")
    told = await hub.type("connect", "hubspot", "--linkedin-field", "li_profile")

    assert (wrong.code, told.code) == (1, 0)
    assert "li_profil" in wrong.err
    assert json.loads(await pool.fetchval("SELECT learned FROM connections"))["linkedin_field"] == "li_profile"


async def test_disconnect_undoes_it(hub: Hub, pool: Pool) -> None:
    """It asks first; afterwards nothing that was learned is left, but the audit."""
    await hub.type("connect", "hubspot")

    asked = await hub.type("disconnect", "hubspot")
    assert asked.code == 1
    assert await pool.fetchval("SELECT count(*) FROM connections") == 1
    told = await hub.type("disconnect", "hubspot", "--yes")
    again = await hub.type("disconnect", "hubspot", "--yes")

    assert (told.code, again.code) == (0, 1)
    assert "HUBSPOT_ACCESS_TOKEN is still set" in told.out
    assert await pool.fetchval("SELECT count(*) FROM connections") == 0
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'disconnect'") == 1


async def test_without_a_token_it_says_where_to_get_one(hub: Hub) -> None:
    """The simplest way is a service key: on every plan, without an app."""
    told = await hub.type("connect", "hubspot", HUBSPOT_ACCESS_TOKEN="")

    assert told.code == 1
    assert "Service keys" in told.err


async def test_an_unknown_crm_is_told(hub: Hub) -> None:
    """The error names the known CRMs."""
    told = await hub.type("connect", "salesforce")

    assert told.code == 2
    assert "hubspot" in told.err


async def test_the_project_leads_to_our_receiver(hub: Hub, tmp_path: Path) -> None:
    """PUBLIC_URL is filled in, and the next commands are named; no token is needed for that."""
    told = await hub.type(
        "connect", "hubspot", "--project", "app", HUBSPOT_ACCESS_TOKEN="", PUBLIC_URL="https://ringback.test"
    )
    without = await hub.type("connect", "hubspot", "--project", "other", HUBSPOT_ACCESS_TOKEN="")

    assert (told.code, without.code) == (0, 1)
    assert "hs project upload" in told.out
    webhooks = json.loads((tmp_path / "app/src/app/webhooks/webhooks-hsmeta.json").read_text(encoding="utf-8"))
    assert webhooks["config"]["settings"]["targetUrl"] == "https://ringback.test/events/hubspot"
    assert "PUBLIC_URL" in without.err


def test_writing_the_project_again_changes_nothing(tmp_path: Path) -> None:
    """Another address changes the one file that names it."""
    assert len(write_project(tmp_path, "https://ringback.test", "hs_linkedin_url")) == 3
    assert write_project(tmp_path, "https://ringback.test", "hs_linkedin_url") == []

    (changed,) = write_project(tmp_path, "https://other.test", "hs_linkedin_url")

    assert changed.name == "webhooks-hsmeta.json"


@pytest.mark.parametrize(
    ("names", "wanted", "chosen", "unknown"),
    [
        (["hs_linkedin_url", "my_linkedin"], None, "hs_linkedin_url", ()),
        (["my_linkedin"], None, "my_linkedin", ()),
        (["my_linkedin", "linkedinbio"], None, None, ()),
        (["my_linkedin", "linkedinbio"], "linkedinbio", "linkedinbio", ()),
        (["email"], None, None, ()),
        (["email"], "my_linkedin", "my_linkedin", ("my_linkedin",)),
    ],
)
def test_the_linkedin_field_is_found(
    names: list[str], wanted: str | None, chosen: str | None, unknown: tuple[str, ...]
) -> None:
    """HubSpot's own field if it exists, else the only one with such a name; with several, a person decides."""
    properties = [Property(name, name.title(), "string") for name in names]
    properties.append(Property("hs_linkedinid", "LinkedIn id", "number"))

    fields = find_fields(properties, usual="hs_linkedin_url", wanted=wanted)

    assert (fields.linkedin, fields.unknown) == (chosen, unknown)


async def test_the_test_event_is_signed_as_hubspot_signs() -> None:
    """The receiver verifies what came, at the address that PUBLIC_URL names."""
    came: list[tuple[dict[str, str], bytes]] = []

    async def take(request: web.Request) -> web.Response:
        came.append((dict(request.headers), await request.read()))
        return web.json_response({"accepted": 0, "ignored": 0}, status=202)

    url, trouble = await _send(take)

    assert trouble is None
    headers, body = came[0]
    lowered = [(name.lower(), value) for name, value in headers.items()]
    now = int(dict(lowered)["x-hubspot-request-timestamp"]) / 1000
    assert body == b"[]"
    assert verify(secret="secret", method="POST", url=f"{url}/events/hubspot", headers=lowered, body=body, now=now)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "HUBSPOT_CLIENT_SECRET"), (404, "PUBLIC_URL"), (503, "database"), (502, "HTTP 502")]
)
async def test_what_came_back_is_said(monkeypatch: pytest.MonkeyPatch, status: int, words: str) -> None:
    """A wrong secret, another server and an unreachable database each have their own message."""
    monkeypatch.setattr("console.crm_event.PROCESSES_NOTICE", 0)

    async def take(_: web.Request) -> web.Response:
        return web.Response(status=status)

    _, trouble = await _send(take)

    assert trouble is not None
    assert words in trouble


async def _send(take: Any) -> tuple[str, str | None]:
    app = web.Application()
    app.router.add_post("/events/hubspot", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        async with open_session(limit=1, timeout=5) as session:
            return url, await send_test_event(session, url, "secret")
    finally:
        await runner.cleanup()


def _human() -> Any:
    from sandbox.hubspot.records import HUMAN

    return HUMAN
