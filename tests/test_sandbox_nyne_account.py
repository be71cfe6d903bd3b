"""The account of the pretend Nyne: credentials, limits, credits, and questions it cannot use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.nyne import Nyne, NyneSettings
from sandbox.server import running
from tests.sandbox_server import Admin, playing, visiting

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


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"{}", "missing_parameters"),
        (b'{"company": "Acme"}', "missing_parameters"),
        (b'{"name": 5}', "invalid_parameters"),
        (b'{"name": "ny-nosuchword--x"}', "invalid_parameters"),
        (b'{"email": "jane"}', "invalid_email"),
        (b'{"email": "jane@example.com"}', "invalid_email"),
        (b'{"name": "Jane", "callback_url": "ftp://acme.test/x"}', "invalid_callback_url"),
        (b'{"name": "Jane", "callback_url": "not a url"}', "invalid_callback_url"),
    ],
)
async def test_an_unusable_question_is_a_400(vendor: Admin, body: bytes, code: str) -> None:
    """No job and no charge."""
    status, answer, _ = await vendor.send("POST", PATH, body)

    assert (status, json.loads(answer)["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"x-api-key": "nyne_sandbox"}, "missing_api_secret"),
        ({"x-api-key": "wrong", "x-api-secret": "nyne_sandbox_secret"}, "invalid_api_key"),
        ({"x-api-key": "nyne_sandbox", "x-api-secret": "wrong"}, "invalid_api_secret"),
    ],
)
async def test_key_and_secret_are_asked_for(vendor: Admin, headers: dict[str, str], code: str) -> None:
    """Each of the four ways to get them wrong has its code, for POST, GET and usage."""
    for method, path in (("POST", PATH), ("GET", f"{PATH}?request_id=x"), ("GET", "/usage")):
        status, body, _ = await vendor.send(method, path, {"name": "Jane"}, headers=headers)

        assert (status, json.loads(body)["error"]["code"]) == (401, code)


async def test_unknown_requests_are_not_found(vendor: Admin) -> None:
    """404 for an id that never was, 400 for none."""
    for query, expected in (("?request_id=never", (404, "request_not_found")), ("", (400, "missing_parameters"))):
        status, body, _ = await vendor.send("GET", PATH + query)
        assert (status, json.loads(body)["error"]["code"]) == expected


async def test_usage_tells_the_credits(vendor: Admin) -> None:
    """The month's credits and what is left; an impossible month is refused."""
    await vendor.send("POST", PATH, {"social_media_url": "ny-found--jane"})
    await vendor.settled()

    status, body, _ = await vendor.send("GET", "/usage?month=2&year=2026")
    refused, answer, _ = await vendor.send("GET", "/usage?month=13")

    data = json.loads(body)["data"]
    assert (status, data["period"], data["credits_used"]["total"]) == (200, "2026-02", 3)
    assert data["limits"]["available_credits"] == 999_997
    assert (refused, json.loads(answer)["error"]["code"]) == (400, "invalid_month")


async def test_the_limits_count_questions_and_polls() -> None:
    """POST and GET together; usage is free; Retry-After waits for the longest window that is full."""
    account = Nyne(NyneSettings(work_seconds=0, per_minute=3, window="sliding"))
    async with running(account) as url, visiting(url, CREDENTIALS) as narrow:
        statuses = [(await narrow.send("POST", PATH, {"name": "ny-none--a"}))[0] for _ in range(2)]
        statuses += [(await narrow.send("GET", f"{PATH}?request_id=x"))[0] for _ in range(2)]
        status, _, headers = await narrow.send("POST", PATH, {"name": "ny-none--a"})
        usage = (await narrow.send("GET", "/usage"))[0]
        stats = await narrow.get("stats")

    assert (statuses, status, usage) == ([202, 202, 404, 429], 429, 200)
    assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("3", "0")
    assert 55 <= int(headers["retry-after"]) <= 60
    assert (stats["polls"], stats["limited"], stats["answers_429"]) == (2, 2, 2)


async def test_an_account_of_its_own() -> None:
    """Flat errors, no private callbacks, another price, and 402 once the balance is used up."""
    flags = ("--error-shape", "flat", "--refuse-private-callbacks", "--credits-per-found", "4", "--balance", "4")
    with playing("nyne", *QUICK, *NO_LIMIT, *flags) as url:
        async with visiting(url, CREDENTIALS) as vendor:
            private = {"name": "Jane", "callback_url": "http://127.0.0.1/x"}
            refused, body, _ = await vendor.send("POST", PATH, private)
            paid = (await vendor.send("POST", PATH, {"name": "ny-found--jane"}))[0]
            ledger = (await vendor.settled(), await vendor.get("ledger"))[1]
            broke, answer, _ = await vendor.send("POST", PATH, {"name": "ny-none--jane"})

    assert (refused, json.loads(body)["error"]) == (400, "invalid_callback_url")
    assert (paid, ledger["totals"]) == (202, {"charges": 1, "credits": 4, "balance": 0})
    assert (broke, json.loads(answer)["error"]) == (402, "insufficient_credits")
