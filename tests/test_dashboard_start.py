"""The page "First run" says what is still to do, and its test contact goes the way of every other."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.crms import CRMS
from enrichment.crms.ways import URL
from enrichment.providers.base import Limit
from receiver.dashboard.first_run import Facts, checks, later
from store import present
from store.database import connect
from store.providers import pause, register_provider
from submitter import __main__ as submitter
from submitter import reconciler
from tests.asgi import Client
from tests.at_work import AtWork, until
from tests.conftest import SANE, TOKEN, ClientWith, MakeSettings
from tests.seat import seated

if TYPE_CHECKING:
    from tests.wishes import Pool

SECRETS: dict[str, Any] = {
    "callback_keys": "secret-callback-key", "session_key": "secret-session-key",
    "metrics_token": "secret-metrics-token",
    "leadmagic_api_key": "secret-leadmagic-key", "nyne_api_key": "secret-nyne-key", "nyne_api_secret": "secret-nyne",
    "hubspot_access_token": "secret-hubspot-token", "hubspot_client_secret": "secret-client-secret",
    "events_signing_secret": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA==",
    "result_webhook_url": "https://hooks.test/secret-path?key=secret-query",
    "result_webhook_secret": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA==",
    "database_url": "postgresql://ringback:secret-database-password@db.test/ringback",
}  # fmt: skip


def text_of(page: str) -> str:
    """The page as a person reads it: without tags, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def facts(**given: Any) -> Facts:
    """Of an installation of which nothing runs."""
    return Facts(**{"came_by": "https://ringback.test", "providers": {}, "balances": {}, "processes": {}} | given)


def states(found: Any) -> dict[str, str]:
    """The state of each thing, in order."""
    return {check.about: check.state for check in found}


async def test_what_is_to_do_comes_in_the_order_in_which_one_needs_it(client_with: ClientWith) -> None:
    """An installation that was just started: address, processes, providers, budgets, contacts, test, results."""
    page = text_of(await (await seated(await client_with(public_url=None))).page("/start"))

    wanted = ["Public address to do", "Submitter to do", "Reconciler to do", "Provider leadmagic to do",
              "Provider nyne to do", "Budgets to do", "HubSpot optional", "Any other program optional",
              "Send a test contact", "Result webhook optional", "Metrics optional"]  # fmt: skip
    places = [page.find(one) for one in wanted]
    assert -1 not in places
    assert places == sorted(places)


async def test_no_secret_is_shown(client_with: ClientWith) -> None:
    """Whatever is set: the page names settings and tokens, and holds no value of a secret."""
    client = await client_with(**SECRETS, api_tokens=f"crm:events:{TOKEN},ann:read+operate:second-secret-token")
    page = await (await seated(client, "second-secret-token")).page("/start")

    assert "secret-" not in page
    assert "c2VjcmV0" not in page
    assert TOKEN not in page
    assert "<code>crm</code>" in page
    assert "hooks.test" in page


@pytest.mark.parametrize(
    ("url", "came_by", "state", "says"),
    [
        (None, "https://ringback.test", "to do", "not set"),
        ("http://ringback.test", "http://ringback.test", "to do", "not encrypted"),
        ("https://10.1.2.3", "https://10.1.2.3", "to do", "only this machine or network"),
        ("https://box.internal:8443", "https://ringback.test", "to do", "only this machine or network"),
        ("https://ringback.test", "https://ringback.test", "done", "this browser came by it"),
        ("https://ringback.test/under", "https://ringback.test", "done", "this browser came by it"),
        ("https://ringback.test", "http://10.1.2.3:8000", "done", "came by http://10.1.2.3:8000"),
    ],
)
def test_the_public_address_is_judged(
    make_settings: MakeSettings, url: str | None, came_by: str, state: str, says: str
) -> None:
    """It must be set, public and https; one that this browser did not use may be right as well."""
    check = next(checks(make_settings(public_url=url), facts(came_by=came_by)))

    assert check.state == state
    assert says in check.found
    assert (check.paste == (f"PUBLIC_URL={came_by}",)) is (state == "to do" and came_by == "https://ringback.test")


def test_what_is_set_is_done(make_settings: MakeSettings) -> None:
    """Nothing is to do in an installation that has all of it."""
    since = datetime.now(UTC)
    running = {"processes": 2, "since": since}
    settings = make_settings(
        budget_credits_per_day=100, metrics_token="m" * 32, result_webhook_url="https://hooks.test",
        result_webhook_secret=SECRETS["result_webhook_secret"],
    )  # fmt: skip
    providers = {name: {"paused_at": None} for name in ("leadmagic", "nyne")}
    told = {"leadmagic": {"balance": Decimal(1234), "at": since}}
    seen = facts(
        providers=providers, balances=told, processes={"submitter": running, "reconciler": running | {"since": None}}
    )

    found = [*checks(settings, seen), *later(settings)]

    assert set(states(found).values()) == {"done"}
    words = {check.about: check.found for check in found}
    assert "Its balance was 1,234" in words["Provider leadmagic"]
    assert "2 are connected to the database, since 2" in words["Submitter"]
    assert "2 are connected to the database. It" in words["Reconciler"]  # as another role is told


async def test_a_paused_provider_is_to_do(pool: Pool, client: Client, make_settings: MakeSettings) -> None:
    """The vendor's words say why, as text, and what comes next; one without credits is to do as well."""
    await register_provider(pool, "leadmagic", (Limit(10, 60),), {})
    await pause(pool, "leadmagic", "402: <b>no credits</b>", timedelta(minutes=1))
    empty = {"nyne": {"balance": Decimal(0), "at": datetime.now(UTC)}}
    page = await (await seated(client)).page("/start")

    assert "402: &lt;b&gt;no credits&lt;/b&gt;" in page
    assert "<code>ringback resume --provider leadmagic</code>" in page
    found = states(checks(make_settings(), facts(providers={"nyne": {"paused_at": None}}, balances=empty)))
    assert found["Provider nyne"] == "to do"


async def test_running_processes_are_seen_by_their_connections(world: AtWork) -> None:
    """The submitter and the reconciler, as they name their connections, and nobody else."""
    other = await connect(world.process.url, name="receiver notifier")
    stop = asyncio.Event()
    try:
        assert await present.processes(world.pool) == {}
        async with asyncio.TaskGroup() as group:
            group.create_task(submitter.work(world.process, stop))
            group.create_task(reconciler.work(world.process, stop))
            await until(lambda: _both(world.pool))
            stop.set()
    finally:
        await other.close()


@pytest.mark.parametrize("name", CRMS)
async def test_each_crm_brings_what_a_person_has_to_paste(client: Client, name: str) -> None:
    """The exact address of its events, in one of its ways, and every value of every way, with no placeholder left."""
    page = html.unescape(await (await seated(client)).page("/start"))
    pastes = [one for way in CRMS[name].ways for step in way.steps for one in step.pastes]

    assert URL in {one.value for one in pastes}
    assert f'value="{SANE["public_url"]}/events/{name}"' in page
    assert URL not in page
    for one in pastes:
        assert one.value.replace(URL, f"{SANE['public_url']}/events/{name}") in page


async def test_a_test_contact_goes_the_way_of_every_other(pool: Pool, client: Client) -> None:
    """The form begins a lookup of source api, once however often it is sent, and leads to its page."""
    seat = await seated(client)
    page = await seat.page("/start")
    ticket = re.findall(r'name="ticket" value="([^"]+)"', page)[0]
    form = {"work_email": " Jane@acme.co ", "profile_url": "", "ticket": ticket}

    answers = [await seat.form("/start", form) for _ in range(2)]

    (row,) = await pool.fetch("SELECT id, source FROM lookups")
    assert {answer.status for answer in answers} == {303}
    assert {answer.headers["location"] for answer in answers} == {f"/lookups/{row['id']}?said=test-sent"}
    assert row["source"] == "api"
    assert ticket.encode() in await pool.fetchval("SELECT body FROM events")


@pytest.mark.parametrize(
    "fields", [{}, {"work_email": "nobody"}, {"work_email": "jane@acme.co", "profile_url": "https://example.com/x"}]
)
async def test_a_test_contact_that_cannot_be_used_costs_nothing(
    pool: Pool, client: Client, fields: dict[str, str]
) -> None:
    """The page names the field, and nothing was stored."""
    answer = await (await seated(client)).form("/start", fields)

    assert answer.status == 422
    assert b"cannot be used" in answer.body
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 0


async def test_a_test_contact_needs_the_scope_operate(client_with: ClientWith, pool: Pool) -> None:
    """As POST /v1/lookups does: who may only read gets no form, and a 403."""
    seat = await seated(await client_with(api_tokens=f"eyes:read:{TOKEN}"))

    assert 'name="work_email"' not in await seat.page("/start")
    assert (await seat.form("/start", {"work_email": "jane@acme.co"})).status == 403
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 0


async def _both(pool: Pool) -> bool:
    """Whether one of each is connected."""
    return {name: row["processes"] for name, row in (await present.processes(pool)).items()} == {
        "submitter": 1, "reconciler": 1,
    }  # fmt: skip
