"""Faults that strike requests and callbacks at random, and the admin that sets them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from sandbox.faults import Chaos, Faults
from tests.sandbox_server import Admin, Mailbox, listening, playing, visiting

FIND = "/v1/people/mobile-finder"
ASK = "/person/phone"
KEY = {"X-API-Key": "lm_sandbox"}
CREDENTIALS = {"X-API-Key": "nyne_sandbox", "X-API-Secret": "nyne_sandbox_secret"}
JANE = {"profile_url": "lm-found--jane"}


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """One process of each vendor for the whole module; each test starts from a reset."""
    quick = ("--work-seconds", "0.01", "--per-minute", "0", "--per-hour", "0")
    with playing("leadmagic", "--latency", "0") as leadmagic, playing("nyne", *quick) as nyne:
        yield leadmagic, nyne


@pytest.fixture
async def leadmagic(urls: tuple[str, str]) -> AsyncIterator[Admin]:
    """LeadMagic as if just started."""
    async with visiting(urls[0], KEY) as admin:
        yield admin


@pytest.fixture
async def nyne(urls: tuple[str, str]) -> AsyncIterator[Admin]:
    """Nyne as if just started."""
    async with visiting(urls[1], CREDENTIALS) as admin:
        yield admin


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """Where callbacks go."""
    async with listening() as mailbox:
        yield mailbox


async def test_faults_are_set_shown_and_cleared(leadmagic: Admin) -> None:
    """A document replaces the one in force; what it leaves out is off; a reset clears too."""
    await leadmagic.post("faults", {"error_rate": 0.2})
    await leadmagic.post("faults", {"hang_rate": 0.05, "hang_seconds": 9})

    assert await leadmagic.get("faults") == Faults(hang_rate=0.05, hang_seconds=9).model_dump(mode="json")
    assert (await leadmagic.send("DELETE", "/sandbox/faults"))[0] == 200
    assert await leadmagic.get("faults") == Faults().model_dump(mode="json")
    await leadmagic.post("faults", {"error_rate": 0.2})
    await leadmagic.post("reset")
    assert await leadmagic.get("faults") == Faults().model_dump(mode="json")


@pytest.mark.parametrize(
    "document",
    [{"eror_rate": 1}, {"error_rate": 2}, {"error_rate": -1}, {"delay_callbacks_seconds": [5, 0]}, [], "x", b"{"],
)
async def test_an_unknown_or_impossible_fault_is_a_422(leadmagic: Admin, document: Any) -> None:
    """A misspelt fault is no fault that silently does nothing."""
    status, body, _ = await leadmagic.send("POST", "/sandbox/faults", document)

    assert status == 422
    assert json.loads(body)["detail"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"error_rate": 1}, 503),
        ({"error_rate": 1, "error_status": 500}, 500),
        ({"error_rate": 1, "error_status": 504}, 504),
        ({"error_rate": 1, "error_status": 418}, 418),
        ({"rate_limit_storm": 1}, 429),
        ({"payment_required": True}, 402),
        ({"bad_credentials": True}, 401),
    ],
)
async def test_a_refusal_befalls_every_question(
    leadmagic: Admin, nyne: Admin, fault: dict[str, Any], status: int
) -> None:
    """Both vendors refuse in their own words, and charge nothing."""
    for vendor, path, question in ((leadmagic, FIND, JANE), (nyne, ASK, {"name": "ny-found--jane"})):
        await vendor.post("faults", fault)

        answered, _, headers = await vendor.send("POST", path, question)

        assert answered == status
        assert headers.get("retry-after") == ("1" if status == 429 else None)
        assert (await vendor.get("stats"))["charges"] == 0


async def test_the_free_endpoints_tell_of_an_unwell_account(leadmagic: Admin, nyne: Admin) -> None:
    """Without credits they say 0, with bad credentials 401; afterwards all is well."""
    for vendor, path in ((leadmagic, "/v1/credits"), (nyne, "/usage")):
        await vendor.post("faults", {"payment_required": True})
        empty = json.loads((await vendor.send("GET", path))[1])
        await vendor.post("faults", {"bad_credentials": True})
        refused = (await vendor.send("GET", path))[0]
        await vendor.send("DELETE", "/sandbox/faults")
        well = (await vendor.send("GET", path))[0]

        assert (refused, well) == (401, 200)
        assert (empty["data"]["limits"]["available_credits"] if vendor is nyne else empty["credits"]) == 0


async def test_a_reset_connection_is_free(leadmagic: Admin) -> None:
    """RST before anything is done."""
    await leadmagic.post("faults", {"reset_connections": 1})

    with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)):
        await leadmagic.send("POST", FIND, JANE)

    assert (await leadmagic.get("requests"))["entries"][0]["ending"] == "reset"
    assert (await leadmagic.get("stats"))["charges"] == 0


async def test_a_disconnect_comes_after_the_charge(leadmagic: Admin, nyne: Admin, mailbox: Mailbox) -> None:
    """The answer never leaves, the number is paid for; Nyne still calls back."""
    question = {"name": "ny-found--jane", "callback_url": mailbox.url}
    for vendor, path, body in ((leadmagic, FIND, JANE), (nyne, ASK, question)):
        await vendor.post("faults", {"disconnect_after_accept": 1, "slow_bytes": 1})
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await vendor.send("POST", path, body)

    await mailbox.next()
    assert (await leadmagic.get("stats"))["credits"] == 5
    assert (await nyne.settled())["credits"] == 3


async def test_a_hang_outlasts_the_client(leadmagic: Admin) -> None:
    """Charged, then silent for hang_seconds; a patient client gets the answer."""
    await leadmagic.post("faults", {"hang_rate": 1, "hang_seconds": 90})
    held = asyncio.create_task(leadmagic.send("POST", FIND, JANE))
    await leadmagic.asked(1)
    assert held.cancel()
    await leadmagic.post("faults", {"hang_rate": 1, "hang_seconds": 0.01})

    assert (await leadmagic.send("POST", FIND, JANE))[0] == 200
    assert (await leadmagic.get("stats"))["credits"] == 10


async def test_slow_bytes_arrive_whole(leadmagic: Admin) -> None:
    """Byte by byte, and complete in the end."""
    await leadmagic.post("faults", {"slow_bytes": 1})

    status, body, _ = await leadmagic.send("POST", FIND, {"work_email": "lm-404bare--j@a.test"})

    assert (status, body) == (404, b"404 page not found")


@pytest.mark.parametrize(
    ("fault", "kinds", "accepted", "refused"),
    [
        ({"drop_callbacks": 1}, ["dropped"], 0, 0),
        ({"duplicate_callbacks": 1}, ["due", "due_again"], 2, 0),
        ({"forge_callbacks": 1}, ["forged", "due"], 1, 1),
        ({"wrong_job_callbacks": 1}, ["other_job"], 1, 0),
        ({"unreadable_callbacks": 1, "duplicate_callbacks": 1}, ["unreadable", "unreadable_again"], 2, 0),
        ({"delay_callbacks_seconds": [0, 0.02]}, ["due"], 1, 0),
        ({"forget_requests": 1}, [], 0, 0),
    ],
)
async def test_a_fault_befalls_every_callback(
    nyne: Admin, mailbox: Mailbox, fault: dict[str, Any], kinds: list[str], accepted: int, refused: int
) -> None:
    """The log names the kind of each callback, and the charge is made unless the request was forgotten."""
    await nyne.post("faults", fault)
    await nyne.send("POST", ASK, {"name": "ny-found--jane", "callback_url": mailbox.url})

    stats = await nyne.settled()

    assert [entry["kind"] for entry in (await nyne.get("callbacks"))["entries"]] == kinds
    assert (len(mailbox.accepted), len(mailbox.refused)) == (accepted, refused)
    assert stats["credits"] == (0 if "forget_requests" in fault else 3)


async def test_an_early_callback_befalls_anybody(nyne: Admin, mailbox: Mailbox) -> None:
    """The callback was answered before the 202 left."""
    await nyne.post("faults", {"early_callbacks": 1})

    await nyne.send("POST", ASK, {"name": "ny-found--jane", "callback_url": mailbox.url})

    assert len(mailbox.accepted) == 1


async def test_a_forgotten_request_is_not_found(nyne: Admin) -> None:
    """The 202 was given, polls know nothing."""
    await nyne.post("faults", {"forget_requests": 1})
    _, body, _ = await nyne.send("POST", ASK, {"name": "ny-found--jane"})

    status, _, _ = await nyne.send("GET", f"{ASK}?request_id={json.loads(body)['data']['request_id']}")

    assert status == 404


async def test_what_is_answered_at_once_is_not_forgotten(nyne: Admin) -> None:
    """Its 202 carries the number; a chaos run took a forgotten one for an answer without digits."""
    await nyne.post("faults", {"forget_requests": 1})

    _, body, _ = await nyne.send("POST", ASK, {"name": "ny-instant--jane"})

    (charge,) = (await nyne.get("ledger"))["entries"]
    assert json.loads(body)["data"]["result"]["mobile"].replace("-", "") == charge["number"]


async def test_a_reset_gives_up_what_is_under_way(nyne: Admin, mailbox: Mailbox) -> None:
    """Afterwards no job of before finishes, and none is charged or called back about."""
    await nyne.post("faults", {"delay_callbacks_seconds": [60, 60]})
    _, body, _ = await nyne.send("POST", ASK, {"name": "ny-instant--jane", "callback_url": mailbox.url})
    await nyne.send("POST", ASK, {"name": "ny-silentslow--jane"})

    await nyne.post("reset")

    stats = await nyne.settled()
    assert (stats["posts"], stats["charges"], mailbox.accepted) == (0, 0, [])
    assert (await nyne.send("GET", f"{ASK}?request_id={json.loads(body)['data']['request_id']}"))[0] == 404


def dice(seed: int) -> Iterator[bool]:
    """Throw the dice for a thousand requests at a rate of one in four."""
    chaos = Chaos(seed)
    return (chaos.strikes(0.25) for _ in range(1000))


def test_the_same_seed_throws_the_same_dice() -> None:
    """A run can be repeated; a rate is kept to; a rate of 0 never strikes and uses up no throw."""
    first, again, other = list(dice(1)), list(dice(1)), list(dice(2))

    assert first == again != other
    assert 200 < sum(first) < 300
    chaos, fresh = Chaos(1), random.Random(1)
    assert not chaos.strikes(0)
    assert chaos.strikes(0.25) == (fresh.random() < 0.25)
