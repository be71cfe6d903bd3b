"""The pretend LeadMagic over real sockets: every word, every refusal, every header, every charge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import aiohttp
import phonenumbers
import pytest

from sandbox.behaviours import rows
from sandbox.leadmagic import LeadMagic, LeadMagicSettings
from sandbox.server import running
from tests.sandbox_server import Admin, playing, visiting

PATH = "/v1/people/mobile-finder"
KEY = {"X-API-Key": "lm_sandbox"}
FREE_AND_SILENT = ("disconnect-free", "hang-free")
CHARGED_AND_SILENT = ("disconnect", "hang-charged")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One process for the whole module; each test starts from a reset."""
    with playing("leadmagic", "--latency", "0", "--slow-seconds", "0.05") as url:
        yield url


@pytest.fixture
async def vendor(url: str) -> AsyncIterator[Admin]:
    """The vendor as if just started."""
    async with visiting(url, KEY) as admin:
        yield admin


class Case(NamedTuple):
    """The effect of a word: the status, the body, the credits charged."""

    status: int
    holds: dict[str, Any]
    credits: int = 0


def problem(status: int, code: str, **more: Any) -> Case:
    """The vendor's problem+json with this code."""
    return Case(status, {"code": code, "status": status} | more)


FOUND = {"credits_consumed": 5, "message": "Mobile number found."}
MISS = {"credits_consumed": 0, "message": "No mobile number found for this contact."}
NUMBER = "+14155550132"  # stands for the true number, in the form of the row
CASES = {
    "found": Case(200, FOUND | {"mobile_number": "+1-415-555-0132"}, 5),
    "spaces": Case(200, FOUND | {"mobile_number": "+1 415 555 0132"}, 5),
    "plain": Case(200, FOUND | {"mobile_number": NUMBER}, 5),
    "noplus": Case(200, FOUND | {"mobile_number": "14155550132"}, 5),
    "national": Case(200, FOUND | {"mobile_number": "(415) 555-0132"}, 5),
    "extra": Case(200, FOUND | {"mobile_number": "+1-415-555-0132", "version": 2}, 5),
    "slow": Case(200, FOUND | {"mobile_number": "+1-415-555-0132"}, 5),
    "none": Case(200, MISS | {"mobile_number": None}),
    "absent": Case(200, MISS),
    "oldmiss": Case(200, {"mobile_number": None, "credits_consumed": 0, "message": "mobile not found"}),
    "integer": Case(200, FOUND | {"mobile_number": int(NUMBER[1:])}, 5),
    "list": Case(200, FOUND, 5),
    "thousandths": Case(200, {"mobile_number": "+1-415-555-0132", "credits_consumed": 4.999}, 5),
    "toolong": Case(200, FOUND | {"mobile_number": "+49 30 1234567890123456"}, 5),
    "na": Case(200, MISS | {"mobile_number": "N/A"}),
    "false": Case(200, MISS | {"mobile_number": False}),
    "notphone": Case(200, FOUND | {"mobile_number": "ask reception"}, 5),
    "wrongtypes": Case(200, {"credits_consumed": "five", "message": ["found"]}, 5),
    "garbage": Case(200, {}, 5),
    "400": problem(400, "validation_error"),
    "olderror": Case(400, {"error": "validation_error", "message": "The request cannot be used."}),
    "401": problem(401, "invalid_api_key"),
    "402": problem(
        402,
        "insufficient_credits",
        context={"credits_required": 5, "credits_available": 4, "credits_needed": 1},
    ),
    "old402": Case(402, {"error": "insufficient_credits", "detail": "The balance is below the price."}),
    "403": problem(403, "forbidden"),
    "firewall": Case(403, {}),
    "404words": Case(404, {"message": "Contact not found"}),
    "404": problem(404, "profile_not_found"),
    "404resource": problem(404, "resource_not_found"),
    "404bare": Case(404, {}),
    "418": Case(418, {"message": "short and stout"}),
    "429": problem(429, "rate_limit_exceeded"),
    "429once": problem(429, "rate_limit_exceeded"),
    "500": problem(500, "INTERNAL_ERROR"),
    "500once": problem(500, "INTERNAL_ERROR"),
    "502own": problem(502, "EXTERNAL_SERVICE_ERROR"),
    "502": Case(502, {}),
    "502once": Case(502, {}),
    "503": problem(503, "service_unavailable"),
    "503once": problem(503, "service_unavailable"),
    "504": Case(504, {}, 5),
    "504free": Case(504, {}),
}


def test_every_word_is_tested() -> None:
    """No row of the table goes without a test."""
    words = {row.word for row in rows("leadmagic")}

    assert words == set(CASES) | set(FREE_AND_SILENT) | set(CHARGED_AND_SILENT)


@pytest.mark.parametrize("word", CASES)
async def test_a_word_leads_to_its_answer(vendor: Admin, word: str) -> None:
    """The answer and the charge are those of the table."""
    question = {"profile_url": f"linkedin.com/in/lm-{word}--jane", "work_email": "jane@acme.test"}

    status, body, headers = await vendor.send("POST", PATH, question)

    case = CASES[word]
    assert status == case.status
    held = shown(body, headers["content-type"])
    truth = await vendor.get("truth", profile_url=question["profile_url"])
    assert {name: held[name] for name in case.holds} == in_true_number(case.holds, truth)
    assert (await vendor.get("ledger"))["totals"]["credits"] == case.credits
    assert status != 200 or int(headers["x-credits-cost"]) == case.credits


@pytest.mark.parametrize("word", [word for word in CASES if word.endswith("once")])
async def test_a_failure_that_happens_once_is_free(vendor: Admin, word: str) -> None:
    """The second question about the same person is answered and charged, another person fails first again."""
    person, other = {"profile_url": f"lm-{word}--jane"}, {"profile_url": f"lm-{word}--joe"}

    statuses = [(await vendor.send("POST", PATH, who))[0] for who in (person, person, person, other)]

    assert statuses == [CASES[word].status, 200, 200, CASES[word].status]
    assert (await vendor.get("stats"))["credits"] == 10


@pytest.mark.parametrize("word", ["disconnect", "disconnect-free"])
async def test_a_connection_is_closed_without_an_answer(vendor: Admin, word: str) -> None:
    """The client learns nothing; the ledger knows whether it was charged."""
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await vendor.send("POST", PATH, {"profile_url": f"lm-{word}--jane"})

    charged = 5 if word in CHARGED_AND_SILENT else 0
    assert (await vendor.get("ledger"))["totals"]["credits"] == charged
    assert (await vendor.get("requests"))["entries"][0] | {"at": ""} == {
        "n": 1,
        "at": "",
        "person": f"slug:lm-{word}--jane",
        "status": None,
        "ending": "cut",
        "wait_seconds": 0,
        "charged": charged,
        "request_id": "lm-1",
    }


@pytest.mark.parametrize("word", ["hang-charged", "hang-free"])
async def test_a_connection_is_held_without_an_answer(vendor: Admin, word: str) -> None:
    """The client waits until its patience ends; the charge was made at once."""
    held = asyncio.create_task(vendor.send("POST", PATH, {"profile_url": f"lm-{word}--jane"}))
    await vendor.asked(1)

    charged = 5 if word in CHARGED_AND_SILENT else 0
    assert not held.done()
    assert held.cancel()
    assert (await vendor.get("ledger"))["totals"]["credits"] == charged


async def test_a_slow_answer_is_charged_before_it_leaves(vendor: Admin) -> None:
    """A client that gives up has paid all the same; a patient one gets the number."""
    answer = asyncio.create_task(vendor.send("POST", PATH, {"profile_url": "lm-slow--jane"}))
    await vendor.asked(1)

    assert (await vendor.get("ledger"))["totals"]["credits"] == 5
    assert (await answer)[0] == 200
    assert (await vendor.get("requests"))["entries"][0]["wait_seconds"] == 0.05


async def test_asking_twice_charges_twice(vendor: Admin) -> None:
    """No repetition is free: that is what the ledger is there to show."""
    question = {"work_email": "lm-found--jane@acme.test", "profile_url": None}

    for _ in range(2):
        await vendor.send("POST", PATH, question)

    entries = (await vendor.get("ledger"))["entries"]
    assert [entry["person"] for entry in entries] == ["email:lm-found--jane@acme.test"] * 2
    assert entries[0]["identifiers"] == {"work_email": "lm-found--jane@acme.test"}
    assert [entry["request_id"] for entry in entries] == ["lm-1", "lm-2"]


async def test_the_older_paths_answer_too(vendor: Admin) -> None:
    """Public code still uses the paths without a version."""
    status, body, _ = await vendor.send("POST", "/mobile-finder", {"profile_url": "lm-none--a"})

    assert (status, json.loads(body)["mobile_number"]) == (200, None)
    for method, path in (("GET", "/v1/credits"), ("POST", "/credits")):
        status, body, _ = await vendor.send(method, path)
        assert (status, json.loads(body)["credits"]) == (200, 1_000_000)
    assert (await vendor.send("GET", "/v1/credits/health"))[0] == 200


async def test_the_answer_echoes_what_was_asked(vendor: Admin) -> None:
    """The profile URL as sent, the e-mail under `email`, and nothing that was not sent."""
    _, both, _ = await vendor.send("POST", PATH, {"profile_url": "in/lm-none--x", "work_email": "A@b.co"})
    _, one, _ = await vendor.send("POST", PATH, {"personal_email": "lm-none--x@mail.test"})

    assert json.loads(both) | MISS == MISS | {
        "profile_url": "in/lm-none--x",
        "email": "A@b.co",
        "mobile_number": None,
    }
    assert "profile_url" not in json.loads(one)
    assert json.loads(one)["email"] == "lm-none--x@mail.test"


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (b"{", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (b"\xff", None),
        (b"{}", "work_email"),
        (b'{"profile_url": ""}', "profile_url"),
        (b'{"profile_url": 5}', "profile_url"),
        (b'{"work_email": "jane"}', "work_email"),
        (b'{"work_email": "jane@example.com"}', "work_email"),
        (b'{"personal_email": "jane@example.com"}', "personal_email"),
        (b'{"profile_url": "linkedin.com/company/acme"}', "profile_url"),
        (b'{"profile_url": "lm-nosuchword--x"}', None),
    ],
)
async def test_an_unusable_question_is_a_400(vendor: Admin, body: bytes, parameter: str | None) -> None:
    """Nothing is charged, and the problem names the parameter."""
    status, answer, headers = await vendor.send("POST", PATH, body)

    assert (status, headers["content-type"]) == (400, "application/problem+json")
    error = json.loads(answer)["errors"][0]
    assert error["code"] == "validation_error"
    assert parameter is None or parameter in error["param"]
    assert (await vendor.get("stats"))["charges"] == 0


@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, "missing_authentication"), ({"x-api-key": "wrong"}, "invalid_api_key"), ({"X-API-KEY": "lm_sandbox"}, "")],
)
async def test_the_key_is_asked_for(vendor: Admin, headers: dict[str, str], code: str) -> None:
    """401 says whether the key is missing or wrong; the header's name has no case."""
    for method, path in (("POST", PATH), ("GET", "/v1/credits")):
        status, body, _ = await vendor.send(method, path, {"profile_url": "lm-none--x"}, headers=headers)

        assert status == (401 if code else 200)
        assert not code or json.loads(body)["errors"][0]["code"] == code


async def test_every_answer_tells_the_limits_and_the_credits(vendor: Admin) -> None:
    """Hits, refusals and free endpoints carry the same headers."""
    for path, body, status in (
        (PATH, {"profile_url": "lm-found--x"}, 200),
        (PATH, {}, 400),
        ("/credits", None, 200),
        ("/nowhere", None, 404),
    ):
        answered, _, headers = await vendor.send("POST", path, body)

        assert answered == status
        assert headers["ratelimit-limit"] == headers["x-ratelimit-limit"] == "3000"
        assert int(headers["ratelimit-remaining"]) <= 2999
        assert 0 < int(headers["ratelimit-reset"]) <= 60
        assert int(headers["x-ratelimit-remaining-daily"]) < 500_000
        assert headers["x-ratelimit-soft-mode"] == "false"
        assert headers["x-credits-remaining"] == "999995.00"


async def test_another_method_is_refused(vendor: Admin) -> None:
    """A known path under another method is a 405."""
    assert (await vendor.send("GET", PATH))[0] == 405


async def test_one_person_has_one_number(vendor: Admin) -> None:
    """However the slug is written, the number is the same and a valid one; the truth says so beforehand."""
    numbers = set()
    for spelling in (
        "lm-plain--jane",
        "in/lm-plain--jane",
        "linkedin.com/in/LM-plain--Jane/",
        "https://www.linkedin.com/in/lm-plain--jane?x=1",
    ):
        truth = await vendor.get("truth", profile_url=spelling)
        _, body, _ = await vendor.send("POST", PATH, {"profile_url": spelling, "work_email": "other@acme.test"})
        numbers |= {truth["mobile_e164"], json.loads(body)["mobile_number"]}
        assert truth | {"mobile_e164": ""} == {"found": True, "mobile_e164": "", "credits": 5}

    assert len(numbers) == 1
    assert phonenumbers.is_valid_number(phonenumbers.parse(numbers.pop()))


async def test_the_truth_needs_a_person(vendor: Admin) -> None:
    """Without an identifier, or with an unknown word, there is none."""
    assert "detail" in await vendor.get("truth")
    assert "nosuchword" in (await vendor.get("truth", name="lm-nosuchword--x"))["detail"]


async def test_below_the_price_every_question_is_a_402() -> None:
    """The balance is checked before the look, though a miss would be free."""
    account = LeadMagic(LeadMagicSettings(latency="0", balance=7.5))
    async with running(account) as url, visiting(url, KEY) as poor:
        first, _, headers = await poor.send("POST", PATH, {"profile_url": "lm-found--a"})
        second, body, _ = await poor.send("POST", PATH, {"profile_url": "lm-none--a"})

    assert (first, headers["x-credits-remaining"], second) == (200, "2.50", 402)
    context = json.loads(body)["errors"][0]["context"]
    assert context == {"credits_required": 5, "credits_available": 2.5, "credits_needed": 2.5}


async def test_beyond_the_limit_there_is_429() -> None:
    """Retry-After, the headers and the context say how long; refused requests are neither counted nor charged."""
    account = LeadMagic(LeadMagicSettings(latency="0", per_minute=2))
    async with running(account) as url, visiting(url, KEY) as narrow:
        statuses = [(await narrow.send("POST", PATH, {"profile_url": "lm-found--a"}))[0] for _ in range(3)]
        status, body, headers = await narrow.send("POST", PATH, {"profile_url": "lm-found--a"})
        free = (await narrow.send("GET", "/v1/credits"))[0]
        stats = await narrow.get("stats")

    assert (statuses, status, free) == ([200, 200, 429], 429, 200)
    assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("2", "0")
    assert 0 < int(headers["retry-after"]) <= 60
    context = json.loads(body)["errors"][0]["context"]
    assert (context["window"], context["retry_after_seconds"]) == ("1 minute", int(headers["retry-after"]))
    assert (stats["limited"], stats["answers_429"], stats["charges"]) == (2, 2, 2)
    assert stats["by_status"] == {"200": 2, "429": 2}


def shown(body: bytes, media_type: str) -> dict[str, Any]:
    """Return the JSON object of a success, or the one error of a problem; empty for anything but JSON."""
    if media_type == "application/problem+json":
        document = json.loads(body)
        assert (document["success"], set(document["meta"])) == (False, {"request_id", "timestamp", "environment"})
        assert {"type", "title", "status"} <= set(document["errors"][0])
        return dict(document["errors"][0])
    try:
        return dict(json.loads(body))
    except ValueError:
        return {}


def in_true_number(holds: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """The sample with its 415-555-0132 replaced by the person's true number."""
    true = truth["mobile_e164"] or NUMBER
    area, line = true[2:5], true[8:]
    text = holds.get("mobile_number")
    if isinstance(text, str):
        return holds | {"mobile_number": text.replace("415", area).replace("0132", line)}
    if isinstance(text, int) and text:
        return holds | {"mobile_number": int(true)}
    return holds
