"""The pretend Nyne over real sockets: every word, the 202, the polls, the callbacks, the charges."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from sandbox.behaviours import TABLE, rows
from sandbox.callbacks import false_number
from sandbox.ledger import Ledger
from sandbox.nyne import Nyne, NyneSettings
from sandbox.nyne_jobs import Jobs
from sandbox.people import Person
from sandbox.server import running
from tests.sandbox_server import DEADLINE, Admin, Mailbox, listening, playing, visiting

PATH = "/person/phone"
CREDENTIALS = {"X-API-Key": "nyne_sandbox", "X-API-Secret": "nyne_sandbox_secret"}
NO_LIMIT = ("--per-minute", "0", "--per-hour", "0")
QUICK = ("--work-seconds", "0.02", "--late-seconds", "0.2")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One process for the whole module; each test starts from a reset."""
    with playing("nyne", *QUICK, *NO_LIMIT) as url:
        yield url


@pytest.fixture
async def vendor(url: str) -> AsyncIterator[Admin]:
    """The vendor as if just started."""
    async with visiting(url, CREDENTIALS) as admin:
        yield admin


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """Where callbacks go."""
    async with listening() as mailbox:
        yield mailbox


class Case(NamedTuple):
    """The effect of a word: the number in the result, how many callbacks come, credits charged."""

    result: Any
    callbacks: int = 1
    credits: int = 3
    status: str = "completed"


NUMBER = "+1-415-555-0132"  # stands for the true number
FINISHED = {
    "found": Case({"mobile": NUMBER}),
    "plain": Case({"mobile": "+14155550132"}),
    "national": Case({"mobile": "(415) 555-0132"}),
    "list": Case({"mobile": [NUMBER]}),
    "objects": Case({"mobile": [{"fullphone": NUMBER, "type": "mobile"}]}),
    "landline": Case(
        {"fullphone": [{"fullphone": "+493023125000", "type": "landline"}, {"fullphone": NUMBER, "type": "mobile"}]}
    ),
    "phones": Case({"phones": [NUMBER]}),
    "integer": Case({"mobile": 14155550132}),
    "na": Case({"mobile": "N/A"}, credits=0),
    "toolong": Case({"mobile": "+49 30 1234567890123456"}),
    "odd": Case({"channels": {"whatsapp": NUMBER}}),
    "notphone": Case({"mobile": "see profile"}),
    "none": Case({"mobile": None}, credits=0),
    "empty": Case({}, credits=0),
    "nullresult": Case(None, credits=0),
    "blank": Case({"mobile": ""}, credits=0),
    "failed": Case(None, credits=0, status="failed"),
    "failedobject": Case(None, credits=0, status="failed"),
    "bare": Case({"mobile": NUMBER}),
    "control": Case({"mobile": NUMBER}),
    "z": Case({"mobile": NUMBER}),
    "noz": Case({"mobile": NUMBER}),
    "dotted": Case({"mobile": NUMBER}),
    "instant": Case({"mobile": NUMBER}),
    "early": Case({"mobile": NUMBER}),
    "late": Case({"mobile": NUMBER}),
    "double": Case({"mobile": NUMBER}, callbacks=2),
    "forged": Case({"mobile": NUMBER}),
    "otherid": Case({"mobile": NUMBER}),
    "unreadable": Case({"mobile": NUMBER}),
    "silent": Case({"mobile": NUMBER}, callbacks=0),
    "silentslow": Case({"mobile": NUMBER}, callbacks=0),
    "html": Case({"mobile": NUMBER}, callbacks=0),
    "notfound404": Case(None, callbacks=0, credits=0, status="not_found"),
}
LOST = {"lost": 0, "lostcharged": 3}
CUT = {"lost202": 1, "lost202silent": 0}
REFUSED = {
    "400": (400, "invalid_parameters"),
    "401": (401, "invalid_api_key"),
    "401nokey": (401, "missing_api_key"),
    "401nosecret": (401, "missing_api_secret"),
    "401badsecret": (401, "invalid_api_secret"),
    "402": (402, "insufficient_credits"),
    "403sub": (403, "subscription_required"),
    "403ip": (403, "ip_not_allowed"),
    "403disabled": (403, "api_key_disabled"),
    "firewall": (403, ""),
    "429": (429, "rate_limit_exceeded"),
    "429once": (429, "rate_limit_exceeded"),
    "429credits": (429, "insufficient_credits"),
    "500": (500, "internal_error"),
    "500once": (500, "internal_error"),
    "502": (502, ""),
    "503": (503, "service_unavailable"),
    "503once": (503, "service_unavailable"),
}


def test_every_word_is_tested() -> None:
    """No row of the table goes without a test."""
    words = {row.word for row in rows("nyne")}

    assert words == set(FINISHED) | set(LOST) | set(CUT) | set(REFUSED) | {"stuck"}


@pytest.mark.parametrize("word", FINISHED)
async def test_a_word_leads_to_its_outcome(vendor: Admin, mailbox: Mailbox, word: str) -> None:
    """Accepted, worked on, answered by poll and as many callbacks as the table says, charged once or not at all."""
    profile = f"linkedin.com/in/ny-{word}--jane"
    status, body, _ = await vendor.send("POST", PATH, {"social_media_url": profile, "callback_url": mailbox.url})

    case = FINISHED[word]
    truth = await vendor.get("truth", profile_url=profile)
    submitted = opened(body, bare=word == "bare")
    assert status == 202
    assert submitted["status"] == ("completed" if word == "instant" else "queued")
    polled = await poll_to_the_end(vendor, submitted["request_id"], bare=word == "bare")
    assert (polled["status"], polled["request_id"]) == (case.status, submitted["request_id"])
    assert polled.get("result") == in_true_number(case.result, truth)
    stats = await vendor.settled()
    assert (stats["credits"], stats["callbacks_accepted"]) == (case.credits, case.callbacks)
    assert len(mailbox.accepted) == case.callbacks
    if word not in {"otherid", "unreadable"}:
        assert all(opened(body, bare=word == "bare") == polled for body in mailbox.accepted)


@pytest.mark.parametrize("word", LOST)
async def test_a_lost_request_is_not_found(vendor: Admin, mailbox: Mailbox, word: str) -> None:
    """Accepted, and unknown to polls from then on; the ledger knows whether it was charged."""
    question = {"email": f"ny-{word}--jane@acme.test", "callback_url": mailbox.url}
    _, body, _ = await vendor.send("POST", PATH, question)

    status, answer, _ = await vendor.send("GET", f"{PATH}?request_id={opened(body)['request_id']}")

    assert (status, json.loads(answer)["error"]["code"]) == (404, "request_not_found")
    assert (await vendor.settled())["credits"] == LOST[word]
    assert mailbox.accepted == mailbox.refused == []


@pytest.mark.parametrize("word", CUT)
async def test_the_202_is_lost(vendor: Admin, mailbox: Mailbox, word: str) -> None:
    """The connection closes without an answer, and the accepted job is finished and charged all the same."""
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await vendor.send("POST", PATH, {"name": f"ny-{word}--Jane Doe", "callback_url": mailbox.url})

    assert (await vendor.settled())["credits"] == 3
    assert len(mailbox.accepted) == CUT[word]
    logged = (await vendor.get("requests"))["entries"][0]
    assert (logged["person"], logged["status"], logged["ending"]) == (f"name:ny-{word}--jane doe", None, "cut")


@pytest.mark.parametrize("word", REFUSED)
async def test_a_refusal_is_free(vendor: Admin, mailbox: Mailbox, word: str) -> None:
    """No job, no callback, no charge; the code is the table's; what fails once is accepted the second time."""
    question = {"social_media_url": f"ny-{word}--jane", "callback_url": mailbox.url}

    status, body, headers = await vendor.send("POST", PATH, question)

    expected, code = REFUSED[word]
    assert status == expected
    assert code == "" or json.loads(body)["error"]["code"] == code
    assert ("retry-after" in headers) == (code == "rate_limit_exceeded")
    assert (await vendor.settled())["credits"] == 0
    assert (await vendor.send("POST", PATH, question))[0] == (202 if word.endswith("once") else expected)


async def test_a_stuck_job_is_processing_for_ever(vendor: Admin) -> None:
    """It is never finished and never charged."""
    _, body, _ = await vendor.send("POST", PATH, {"social_media_url": "ny-stuck--jane"})

    _, answer, _ = await vendor.send("GET", f"{PATH}?request_id={opened(body)['request_id']}")

    assert (opened(answer)["status"], opened(answer)["completed"]) == ("processing", False)
    assert (await vendor.settled())["credits"] == 0


def test_a_job_goes_through_its_stages() -> None:
    """queued, processing, pending, and completed once it is finished and charged."""
    ledger = Ledger(10)
    jobs = Jobs(ledger, random.Random(1), price=3)
    job = jobs.accept(Person("slug:jane", ()), TABLE["nyne", "found"], b"{}", None, mean=100)
    assert job.seconds is not None

    stages: list[str] = []
    for share in (0.0, 0.5, 0.9):
        job.started = time.monotonic() - share * job.seconds
        stages.append(job.progress())
    jobs.finish(job)

    assert [*stages, job.progress()] == ["queued", "processing", "pending", "finished"]
    assert (50 <= job.seconds <= 150, ledger.balance, jobs.unfinished()) == (True, 7, 0)


async def test_an_early_callback_is_answered_before_the_202(vendor: Admin, mailbox: Mailbox) -> None:
    """When the 202 arrives, the callback has been."""
    question = {"social_media_url": "ny-early--jane", "callback_url": mailbox.url}

    _, body, _ = await vendor.send("POST", PATH, question)

    assert opened(body)["status"] == "queued"
    assert [opened(callback)["request_id"] for callback in mailbox.accepted] == [opened(body)["request_id"]]


async def test_a_forged_callback_lies_under_a_wrong_token(vendor: Admin, mailbox: Mailbox) -> None:
    """It carries a false number, and the log marks it with the status it got."""
    question = {"social_media_url": "ny-forged--jane", "callback_url": mailbox.url}
    await vendor.send("POST", PATH, question)

    stats = await vendor.settled()

    assert (stats["forged_sent"], stats["forged_accepted"], stats["forged_refused"]) == (1, 0, 1)
    false = false_number("slug:ny-forged--jane")
    told = opened(mailbox.refused[0])["result"]["mobile"]
    truth = await vendor.get("truth", profile_url="ny-forged--jane")
    assert told.replace("-", "") == false != truth["mobile_e164"]
    log = (await vendor.get("callbacks"))["entries"]
    assert [(entry["kind"], entry["forged"], entry["status"]) for entry in log] == [
        ("forged", True, 404),
        ("due", False, 200),
    ]


async def test_a_late_callback_comes_after_the_polls_know(mailbox: Mailbox) -> None:
    """The job is completed and charged while the callback still waits."""
    account = Nyne(NyneSettings(work_seconds=0, late_seconds=600))
    question = {"social_media_url": "ny-late--jane", "callback_url": mailbox.url}
    async with running(account) as url, visiting(url, CREDENTIALS) as vendor:
        _, body, _ = await vendor.send("POST", PATH, question)
        polled = await poll_to_the_end(vendor, opened(body)["request_id"])
        stats = await vendor.get("stats")

    assert (polled["status"], stats["credits"], stats["callbacks_pending"]) == ("completed", 3, 1)
    assert mailbox.accepted == []


async def test_two_polls_meet_a_page(vendor: Admin) -> None:
    """The gateway answers HTML with status 200, twice; then the job does."""
    _, body, _ = await vendor.send("POST", PATH, {"social_media_url": "ny-html--jane"})
    path = f"{PATH}?request_id={opened(body)['request_id']}"

    polls = [await vendor.send("GET", path) for _ in range(3)]

    assert [status for status, _, _ in polls] == [200, 200, 200]
    types = [headers["content-type"] for _, _, headers in polls]
    assert types == ["text/html; charset=utf-8"] * 2 + ["application/json"]


async def test_a_callback_may_name_another_request(vendor: Admin, mailbox: Mailbox) -> None:
    """Another request_id and a false number, under the right token."""
    question = {"social_media_url": "ny-otherid--jane", "callback_url": mailbox.url}
    _, body, _ = await vendor.send("POST", PATH, question)

    told = opened(await mailbox.next())

    assert told["request_id"] != opened(body)["request_id"]
    assert told["result"]["mobile"].replace("-", "") == false_number("slug:ny-otherid--jane")


async def test_an_unreadable_callback_is_not_json(vendor: Admin, mailbox: Mailbox) -> None:
    """The right token carries garbage."""
    await vendor.send("POST", PATH, {"social_media_url": "ny-unreadable--j", "callback_url": mailbox.url})

    with pytest.raises(ValueError, match=r"codec|Expecting"):
        json.loads(await mailbox.next())


async def test_control_characters_are_raw(vendor: Admin, mailbox: Mailbox) -> None:
    """A strict parser refuses the 202, the polls and the callback; a lenient one reads them."""
    question = {"social_media_url": "ny-control--jane", "callback_url": mailbox.url}
    _, submitted, _ = await vendor.send("POST", PATH, question)
    callback = await mailbox.next()
    _, polled, _ = await vendor.send("GET", f"{PATH}?request_id={opened(submitted)['request_id']}")

    for body in (submitted, callback, polled):
        with pytest.raises(ValueError, match="control character"):
            json.loads(body)


@pytest.mark.parametrize(("word", "ends"), [("z", (True, True)), ("noz", (False, False)), ("found", (False, True))])
async def test_timestamps_differ(vendor: Admin, word: str, ends: tuple[bool, bool]) -> None:
    """The envelope's and the job's, with and without Z, by the word; the page shows one of each."""
    _, body, _ = await vendor.send("POST", PATH, {"social_media_url": f"ny-{word}--jane"})
    request_id = opened(body)["request_id"]
    await vendor.settled()

    _, answer, _ = await vendor.send("GET", f"{PATH}?request_id={request_id}")

    document = json.loads(answer)
    assert (document["timestamp"].endswith("Z"), document["data"]["completed_on"].endswith("Z")) == ends


async def test_request_ids_have_dots_or_not(vendor: Admin) -> None:
    """Both forms occur by themselves; the word `dotted` always has one."""
    ids = []
    for word in ("found", "dotted"):
        for n in range(12):
            _, body, _ = await vendor.send("POST", PATH, {"social_media_url": f"ny-{word}--{n}"})
            ids.append(opened(body)["request_id"])

    assert len(set(ids)) == 24
    assert {"." in request_id for request_id in ids[:12]} == {True, False}
    assert {"." in request_id for request_id in ids[12:]} == {True}


async def test_without_callback_url_nobody_is_called(vendor: Admin) -> None:
    """Only polls answer."""
    _, body, _ = await vendor.send("POST", PATH, {"email": "ny-found--jane@acme.test"})

    polled = await poll_to_the_end(vendor, opened(body)["request_id"])

    assert polled["status"] == "completed"
    assert (await vendor.get("callbacks"))["entries"] == []


async def test_a_callback_that_nobody_hears_is_not_repeated(vendor: Admin) -> None:
    """One attempt; the log holds the error, and polls still answer."""
    question = {"social_media_url": "ny-found--jane", "callback_url": "http://127.0.0.1:9/x"}
    await vendor.send("POST", PATH, question)

    stats = await vendor.settled()

    assert (stats["callbacks_sent"], stats["callbacks_failed"]) == (1, 1)
    assert (await vendor.get("callbacks"))["entries"][0]["error"] == "ClientConnectorError"


async def poll_to_the_end(vendor: Admin, request_id: str, *, bare: bool = False) -> dict[str, Any]:
    """The data of the first poll that says the job is over; pages of the gateway are passed over."""
    async with asyncio.timeout(DEADLINE):
        while True:
            _, body, headers = await vendor.send("GET", f"{PATH}?request_id={request_id}")
            if headers["content-type"] != "application/json":
                continue
            data = opened(body, bare=bare)
            if data["status"] not in {"queued", "processing", "pending"}:
                return data


def opened(body: bytes, *, bare: bool = False) -> dict[str, Any]:
    """The data inside the envelope, or the body itself."""
    document = json.loads(body, strict=False)
    return dict(document if bare else document["data"])


def in_true_number(result: Any, truth: dict[str, Any]) -> Any:
    """The sample with its 415-555-0132 replaced by the person's true number."""
    true = truth["mobile_e164"]
    return json.loads(json.dumps(result).replace("415", true[2:5]).replace("0132", true[8:])) if true else result
