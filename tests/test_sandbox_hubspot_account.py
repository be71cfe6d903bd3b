"""The account of the pretend HubSpot: tokens and scopes, limits, its log, and how it is started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from rig.settings import sandboxed
from sandbox.__main__ import cli
from sandbox.hubspot import admin
from sandbox.hubspot.account import OBJECTS, PROPERTIES, HubSpotSettings
from sandbox.hubspot.behaviours import TABLE, manual
from sandbox.hubspot.faults import Faults
from sandbox.hubspot.limits import Day
from tests.hubspot_account import BEARER, UNLIMITED, Client, account
from tests.sandbox_server import playing, visiting

DETAILS = ("/account-info/v3/details", "/account-info/2026-09/details")
RATE_HEADERS = ("max", "remaining", "interval-milliseconds", "daily", "daily-remaining")


@pytest.fixture
async def hubspot() -> AsyncIterator[Client]:
    """An account without limits."""
    async with account() as client:
        yield client


async def test_the_account_says_whose_it_is(hubspot: Client) -> None:
    """Portal and zone, at the address of today and at the older one."""
    for path in DETAILS:
        status, details = await hubspot.ask("GET", path)

        assert (status, details["portalId"], details["timeZone"]) == (200, 62515, "UTC")


async def test_whether_the_details_need_a_scope_is_a_switch(hubspot: Client) -> None:
    """Whether it needs one is not confirmed: none by default, `oauth` by a fault."""
    await hubspot.post("faults", {"details_need_oauth": True})

    without = await hubspot.ask("GET", DETAILS[1])
    await hubspot.post("tokens", {"token": "hs_sandbox", "scopes": ["oauth"]})
    granted = await hubspot.ask("GET", DETAILS[1])

    assert (without[0], granted[0]) == (403, 200)
    assert without[1]["errors"][0]["context"]["requiredGranularScopes"] == ["oauth"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic hs_sandbox"}])
async def test_a_token_is_asked_for(hubspot: Client, headers: dict[str, str]) -> None:
    """401 INVALID_AUTHENTICATION, everywhere."""
    for method, path in (("GET", OBJECTS), ("POST", f"{OBJECTS}/search"), ("GET", DETAILS[0]), ("GET", PROPERTIES)):
        status, answer = await hubspot.ask(method, path, headers=headers)

        assert (status, answer["category"]) == (401, "INVALID_AUTHENTICATION")


async def test_a_token_can_be_revoked_and_granted(hubspot: Client) -> None:
    """As when a key is rotated: the old one and a new one, then the new one alone."""
    await hubspot.post("tokens", {"token": "second", "name": "rotated"})
    new = {"Authorization": "Bearer second"}

    both = [(await hubspot.ask("GET", OBJECTS, headers=one))[0] for one in (BEARER, new)]
    await hubspot.post("tokens", {"token": "hs_sandbox", "revoked": True})
    after = [(await hubspot.ask("GET", OBJECTS, headers=one))[0] for one in (BEARER, new)]
    tokens = (await hubspot.get("tokens"))["tokens"]

    assert (both, after) == ([200, 200], [401, 200])
    assert [(one["name"], one["revoked"]) for one in tokens] == [("first", True), ("rotated", False)]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", OBJECTS, "crm.objects.contacts.read"),
        ("POST", f"{OBJECTS}/search", "crm.objects.contacts.read"),
        ("POST", f"{OBJECTS}/batch/read", "crm.objects.contacts.read"),
        ("PATCH", f"{OBJECTS}/1", "crm.objects.contacts.write"),
        ("POST", f"{OBJECTS}/batch/update", "crm.objects.contacts.write"),
        ("POST", PROPERTIES, "crm.schemas.contacts.write"),
        ("POST", f"{PROPERTIES}/groups", "crm.schemas.contacts.write"),
    ],
)
async def test_a_missing_scope_is_named(hubspot: Client, method: str, path: str, scope: str) -> None:
    """403 MISSING_SCOPES with requiredGranularScopes; the details of the account need none."""
    scopes = sorted({"crm.objects.contacts.read", "crm.objects.contacts.write", "crm.schemas.contacts.write"} - {scope})
    await hubspot.post("tokens", {"token": "hs_sandbox", "scopes": scopes})

    status, answer = await hubspot.ask(method, path, {})

    assert (status, answer["category"]) == (403, "MISSING_SCOPES")
    assert answer["errors"][0]["context"]["requiredGranularScopes"] == [scope]
    assert (await hubspot.ask("GET", DETAILS[0]))[0] == 200


async def test_every_answer_tells_the_limits_but_those_to_searches() -> None:
    """Ten seconds and day, in five headers."""
    async with account(HubSpotSettings()) as hubspot:
        _, _, headers = await hubspot.send("GET", OBJECTS)
        _, _, after = await hubspot.send("GET", f"{OBJECTS}/999")
        _, _, of_search = await hubspot.send("POST", f"{OBJECTS}/search", {})

    assert [headers[f"x-hubspot-ratelimit-{name}"] for name in RATE_HEADERS] == [
        "100",
        "99",
        "10000",
        "250000",
        "249999",
    ]
    assert after["x-hubspot-ratelimit-remaining"] == "98"
    assert not [name for name in of_search if "ratelimit" in name]


async def test_an_app_has_a_limit_of_ten_seconds() -> None:
    """A 429 of its policy, without Retry-After; another app has its own; the counts separate real ones from faults."""
    async with account(HubSpotSettings(per_ten_seconds=3)) as hubspot:
        await hubspot.post("tokens", {"token": "same"})
        await hubspot.post("tokens", {"token": "other", "app": "99"})
        statuses = [(await hubspot.ask("GET", OBJECTS))[0] for _ in range(3)]
        status, answer = await hubspot.ask("GET", OBJECTS, headers={"Authorization": "Bearer same"})
        _, _, headers = await hubspot.send("GET", OBJECTS)
        other = await hubspot.ask("GET", OBJECTS, headers={"Authorization": "Bearer other"})
        stats = await hubspot.get("stats")

    assert (statuses, status, other[0]) == ([200] * 3, 429, 200)
    assert (answer["errorType"], answer["policyName"]) == ("RATE_LIMIT", "TEN_SECONDLY_ROLLING")
    assert "retry-after" not in headers
    assert (stats["answers_429"], stats["limited"], stats["limited_by"]) == (2, 2, {"TEN_SECONDLY_ROLLING": 2})


async def test_searches_have_a_limit_of_the_whole_account() -> None:
    """Five in a second over all apps; the text says `secondly`; reads go on."""
    async with account(replace(UNLIMITED, searches_per_second=5)) as hubspot:
        await hubspot.post("tokens", {"token": "other", "app": "99"})
        tokens = [BEARER, {"Authorization": "Bearer other"}] * 3
        answers = await asyncio.gather(
            *(hubspot.ask("POST", f"{OBJECTS}/search", {}, headers=token) for token in tokens)
        )
        read = await hubspot.ask("GET", OBJECTS)

    assert sorted(status for status, _ in answers) == [200] * 5 + [429]
    (refused,) = (answer for status, answer in answers if status == 429)
    assert "secondly" in refused["message"]
    assert read[0] == 200


async def test_the_day_has_a_limit_of_the_whole_account() -> None:
    """429 DAILY to every app, searches too."""
    async with account(replace(UNLIMITED, per_day=2)) as hubspot:
        await hubspot.post("tokens", {"token": "other", "app": "99"})
        await hubspot.ask("GET", OBJECTS)
        await hubspot.ask("POST", f"{OBJECTS}/search", {})
        _, refused = await hubspot.ask("GET", OBJECTS, headers={"Authorization": "Bearer other"})

    assert refused["policyName"] == "DAILY"


def test_the_day_ends_at_midnight_of_the_accounts_zone() -> None:
    """Also where the clocks change: that day has 25 hours."""
    zone = ZoneInfo("America/New_York")
    clock = [datetime(2026, 11, 1, 4, 0, tzinfo=UTC)]  # midnight there, on the day when summer time ends
    day = Day(10, zone, lambda: clock[0])
    day.used = 10

    assert (day.left, day.until_midnight()) == (0, 25 * 3600)
    clock[0] += timedelta(hours=24, minutes=59)
    assert day.left == 0
    clock[0] += timedelta(minutes=1)
    assert day.left == 10


@pytest.mark.parametrize(
    ("fault", "path", "policy", "after"),
    [
        ({"rate_limit_storm": 1}, OBJECTS, "TEN_SECONDLY_ROLLING", "10"),
        ({"search_limit_storm": 1}, f"{OBJECTS}/search", "SECONDLY", "1"),
        ({"daily_limit_spent": True}, OBJECTS, "DAILY", None),
    ],
)
async def test_a_429_below_the_limit_is_a_fault(
    hubspot: Client, fault: dict[str, Any], path: str, policy: str, after: str | None
) -> None:
    """In the words of its policy, with Retry-After by another switch; it does not count as a real one."""
    method = "POST" if path.endswith("search") else "GET"
    await hubspot.post("faults", fault)
    _, _, without = await hubspot.send(method, path, {})
    await hubspot.post("faults", fault | {"retry_after": True})

    status, answer = await hubspot.ask(method, path, {})
    _, _, headers = await hubspot.send(method, path, {})
    stats = await hubspot.get("stats")

    assert (status, answer["policyName"], "retry-after" in without) == (429, policy, False)
    assert after is None or headers["retry-after"] == after
    assert 0 < int(headers["retry-after"]) <= 86_400
    assert (stats["limited"], stats["answers_429"]) == (0, 3)


async def test_everything_is_in_the_log(hubspot: Client) -> None:
    """The token, the request and the answer; the counts by address."""
    id = await hubspot.create(lastname="Doe")
    await hubspot.patch(id, mobilephone="+14155550100")
    await hubspot.ask("GET", OBJECTS, headers={})

    write, refused = (await hubspot.get("requests"))["entries"]
    stats = await hubspot.get("stats")

    assert (write["method"], write["target"], write["token"]) == ("PATCH", f"{OBJECTS}/{id}", "first")
    assert write["asked"] == '{"properties": {"mobilephone": "+14155550100"}}'
    assert (write["status"], '"mobilephone":"+14155550100"' in write["answered"]) == (200, True)
    assert (refused["token"], refused["status"]) == (None, 401)
    assert stats["by_endpoint"] == {f"GET {OBJECTS}": 1, f"PATCH {OBJECTS}/{{}}": 1}
    assert stats["by_status"] == {"200": 1, "401": 1}


async def test_the_log_is_read_in_pages(hubspot: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """`next` is what to give as `after`; of a long log the old part is gone, and the numbers stay."""
    monkeypatch.setattr("sandbox.hubspot.journal.KEPT", 4)
    await hubspot.post("reset")
    for n in range(6):
        await hubspot.ask("GET", f"{OBJECTS}/{n}")

    pages, after = [], "0"
    while after != "None":
        page = await hubspot.get("requests", after=after, limit="3")
        pages.append([(entry["n"], entry["target"][-1]) for entry in page["entries"]])
        after = str(page["next"])

    assert pages == [[(3, "2"), (4, "3"), (5, "4")], [(6, "5")]]


async def test_a_reset_starts_anew(hubspot: Client) -> None:
    """No contacts, no faults, the first token again."""
    await hubspot.create(lastname="Doe")
    await hubspot.post("faults", {"error_rate": 1})
    await hubspot.post("tokens", {"token": "hs_sandbox", "revoked": True})
    await hubspot.post("rules", [{"require": ["lastname"]}])

    stats = await hubspot.post("reset")

    assert (stats["contacts"], stats["requests"], stats["writes"]) == (0, 0, 0)
    assert await hubspot.get("rules") == []
    assert (await hubspot.ask("GET", OBJECTS))[0] == 200


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("faults", {"eror_rate": 1}),
        ("faults", {"delay_events_seconds": [5, 0]}),
        ("subscription", {"kinds": ["nosuchkind"]}),
        ("subscription", []),
        ("tokens", {"token": ""}),
        ("rules", {"require": []}),
        ("contacts", {"n": -1}),
        ("contacts", b"{"),
    ],
)
async def test_a_wrong_document_is_a_422(hubspot: Client, path: str, document: Any) -> None:
    """A misspelt fault is no fault that silently does nothing."""
    assert (await hubspot.send("POST", f"/sandbox/{path}", document))[0] == 422


async def test_the_words_and_the_endpoints_are_served(hubspot: Client) -> None:
    """Each word comes with its effect, each endpoint of the admin with its purpose."""
    words = (await hubspot.get("behaviours"))["behaviours"]
    endpoints = (await hubspot.ask("GET", "/sandbox"))[1]["endpoints"]

    assert {row["word"]: row["happens"] for row in words} == manual()
    assert endpoints == admin.MANUAL


def test_the_words_keep_their_own_rules() -> None:
    """A word is safe inside a slug and free of the separator; a request not carried out is answered otherwise."""
    for row in TABLE.values():
        assert row.word.isalnum()
        assert row.word == row.word.lower()
        assert row.done or row.status != 200 or row.ending != "whole"


def test_help_lists_everything() -> None:
    """Words, admin, faults and subscription, made from the tables."""
    text = CliRunner().invoke(cli, ["hubspot", "--help"]).stdout

    for word in (*manual(), *admin.MANUAL, *Faults.model_fields, "client_secret", "type_key"):
        assert f"  {word}  " in text


def test_the_rig_knows_its_keys() -> None:
    """Processes that the rig starts ask it with its own token and verify with its own secret."""
    settings = sandboxed(database="", public_url="", leadmagic="", nyne="", hubspot="http://127.0.0.1:1")
    own = HubSpotSettings()

    assert settings["HUBSPOT_BASE_URL"] == "http://127.0.0.1:1"
    assert settings["HUBSPOT_ACCESS_TOKEN"] == own.access_token
    assert settings["HUBSPOT_CLIENT_SECRET"] == own.subscription.client_secret
    assert not [name for name in sandboxed(database="", public_url="", leadmagic="", nyne="") if "HUBSPOT" in name]


async def test_it_is_a_process_like_the_others() -> None:
    """It says where it listens, takes its options, and ends at a SIGTERM."""
    options = ("--access-token", "own", "--portal-id", "7", "--time-zone", "Europe/Berlin", "--index-lag", "0", "0")
    with playing("hubspot", *options) as url:
        async with visiting(url, {"Authorization": "Bearer own"}) as admin:
            client = Client(admin.session, url, admin.headers)
            await client.create(lastname="Doe")
            _, details = await client.ask("GET", DETAILS[1])
            _, found = await client.search()

    assert (details["portalId"], details["timeZone"], found["total"]) == (7, "Europe/Berlin", 1)


@pytest.mark.parametrize("options", [["--index-lag", "5", "1"], ["--time-zone", "Nowhere/Land"], ["--signing", "v2"]])
def test_a_wrong_option_is_refused(options: list[str]) -> None:
    """A usage error that names it."""
    result = CliRunner().invoke(cli, ["hubspot", "--port", "0", *options])

    assert result.exit_code == 2
    assert options[0] in result.stderr
