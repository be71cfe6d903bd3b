"""Addresses: slashes, methods, and the headers that every answer has."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from receiver.gate import tidy
from tests.asgi import Client
from tests.called_back import found, path_for, verdicts
from tests.factories import job
from tests.receiving import EVENT

if TYPE_CHECKING:
    from tests.wishes import Pool

ID = UUID("01a222ec-cb4e-75ba-920f-45557fb547b6")  # the same in every process, like the names of the tests
LOOKUP = f"/v1/lookups/{ID}"


@pytest.mark.parametrize("path", ["/events/generic/", "//events/generic", "/events//generic", "/events/generic///"])
async def test_slashes_are_forgiven_on_events(client: Client, path: str) -> None:
    """An address joined carelessly is the same address, without a redirect that turns a POST into a GET.

    https://github.com/openwallet-foundation/acapy/issues/1939, https://github.com/Cap-go/website/pull/950
    """
    assert (await client.post(path, EVENT)).status == 202


@pytest.mark.parametrize(("before", "after"), [("", "/"), ("/", ""), ("/", "//")])
async def test_slashes_are_forgiven_on_callbacks(client: Client, pool: Pool, before: str, after: str) -> None:
    """A paid answer is not lost for a slash."""
    row = await job(pool, "awaiting")

    answer = await client.post(f"{before}{path_for(row['id'])}{after}", found(row["request_id"]))

    assert answer.status == 200
    assert await verdicts(pool) == ["applied"]


def test_tidying_takes_no_longer_for_many_slashes() -> None:
    """Whatever is between the slashes stays as it is."""
    assert tidy("/") == "/"
    assert tidy("//") == "/"
    assert tidy("/a/b") == "/a/b"
    assert tidy("/" * 60_000 + "a" + "/" * 60_000) == "/a"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/events/generic", {"GET", "HEAD", "POST"}),
        ("/v1/lookups", {"GET", "HEAD", "POST"}),
        (LOOKUP, {"GET", "HEAD"}),
        (f"{LOOKUP}/retry", {"POST"}),
        ("/readyz", {"GET", "HEAD"}),
        ("/docs", {"GET", "HEAD"}),
        (path_for(ID), {"POST"}),
    ],
)
async def test_allow_names_every_method_of_a_path(offline: Client, path: str, allowed: set[str]) -> None:
    """A 405 is a problem that names them all; OPTIONS is answered with the same, and nothing else."""
    refused = await offline.send("DELETE", path, b"")
    asked = await offline.send("OPTIONS", path, b"")

    assert refused.status == 405
    assert refused.headers["content-type"] == "application/problem+json"
    assert (asked.status, asked.body) == (204, b"")
    for answer in (refused, asked):
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/nothing", "/events", "/events/a/b", "/v1", "/docs/viewer/../../etc/passwd"])
async def test_what_is_not_there_is_a_404_problem(offline: Client, path: str) -> None:
    """Unknown addresses are problems as well."""
    answer = await offline.get(path)

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/callbacks", "/callbacks/", "//callbacks//x", "/callbacks/a/b/c/d", "/callbacks/nyne"]
)
async def test_what_is_not_there_below_callbacks_is_silent(offline: Client, path: str) -> None:
    """A guess is answered with nothing, by any method."""
    for method in ("GET", "POST", "OPTIONS"):
        answer = await offline.send(method, path, b"")

        assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    "path", ["/v1/lookups", "/v1/usage", "/events/generic", "/healthz", "/nothing", "/callbacks/x"]
)
async def test_no_answer_is_kept_or_guessed_at(client: Client, path: str) -> None:
    """Answers about people are kept by no cache, and no browser guesses what they are."""
    answer = await client.get(path)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_answer_that_is_used_again_stays_as_it_is(client: Client, pool: Pool) -> None:
    """The headers of one answer do not pile up in the next."""
    rows = [await job(pool, "awaiting") for _ in range(3)]

    answers = [await client.post(path_for(row["id"]), found(row["request_id"])) for row in rows]

    assert len({tuple(answer.headers.items()) for answer in answers}) == 1
    assert answers[0].headers["x-content-type-options"] == "nosniff"
