"""Callbacks that are not acknowledged: forged, too large, or refused by the database."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from tests.asgi import Client
from tests.called_back import call_back, found, lookup_of, path_for, verdicts
from tests.factories import job

if TYPE_CHECKING:
    from tests.conftest import ClientWith
    from tests.wishes import Pool

# Wrong token, unknown provider: 404, empty, nothing stored, no database access


def strange_paths(job_id: UUID) -> list[str]:
    """Addresses that we never made."""
    good = path_for(job_id)
    token = good.rpartition("/")[2]
    return [
        path_for(job_id, key=SecretStr("another key")),
        path_for(uuid7()).rpartition("/")[0] + "/" + token,
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good + "0",
        f"/callbacks/nyne/{job_id}/",
        f"/callbacks/nyne/{job_id}",
        f"/callbacks/nyne/{job_id}/schl\u00fcssel",
        f"/callbacks/nyne/not-a-uuid/{token}",
        f"/callbacks/nyne/{'9' * 4000}/{token}",
        path_for(job_id, "leadmagic"),  # it never calls back
        path_for(job_id, "apollo"),
        f"/callbacks/leadmagic/{job_id}/{token}",
        "/callbacks/nyne",
        "/callbacks/",
    ]


async def test_strangers_get_an_empty_404_without_any_database(offline: Client) -> None:
    """A wrong token, provider or id is a 404 without a body, and no database is needed to say so."""
    job_id = uuid7()

    answers = [await offline.post(path, found(None)) for path in strange_paths(job_id)]
    genuine = await offline.post(path_for(job_id), found(None))

    assert {(answer.status, answer.body) for answer in answers} == {(404, b"")}
    assert genuine.status == 503  # it is the database that is missing
    assert int(genuine.headers["retry-after"]) > 0


async def test_without_keys_every_callback_is_a_404(client_with: ClientWith, pool: Pool) -> None:
    """Without CALLBACK_KEYS there are no callback URLs, so none is genuine."""
    client = await client_with(callback_keys="", public_url=None)
    row = await job(pool, "awaiting")

    answers = [
        await client.post(path_for(row["id"], key=SecretStr(key)), found(None)) for key in ("", "key-of-the-tests")
    ]

    assert {(answer.status, answer.body) for answer in answers} == {(404, b"")}


async def test_every_key_verifies(client_with: ClientWith, pool: Pool) -> None:
    """While keys are rotated, URLs signed by the older one are still good."""
    client = await client_with(callback_keys="new,key-of-the-tests")
    row = await job(pool, "awaiting")

    answer = await call_back(client, row, found(row["request_id"]))

    assert answer.status == 200
    assert await verdicts(pool) == ["applied"]


async def test_the_urls_of_a_provider_no_longer_asked_stay_good(client_with: ClientWith, pool: Pool) -> None:
    """With nyne taken out of PROVIDERS, answers to earlier questions still arrive."""
    client = await client_with(providers="leadmagic")
    row = await job(pool, "awaiting")

    await call_back(client, row, found(row["request_id"]))

    assert (await lookup_of(pool, row))["final_status"] == "found"


# Too large, too slow


@pytest.mark.parametrize("declared", [True, False])
async def test_more_than_256_kib_is_a_413(offline: Client, declared: bool) -> None:
    """A larger body is a 413, whether its length was declared or not; nothing can have been stored."""
    body = json.dumps(found("req-1") | {"padding": "x" * 256 * 1024}).encode()

    answer = await offline.exchange(
        "POST",
        path_for(uuid7()),
        [{"type": "http.request", "body": body}],
        content_length=len(body) if declared else None,
    )

    assert answer.status == 413


async def test_a_stranger_is_not_told_that_it_was_too_much(offline: Client) -> None:
    """The token comes first: a large body at a wrong address is a 404."""
    answer = await offline.post(path_for(uuid7())[:-1], b"x" * 300_000)

    assert (answer.status, answer.body) == (404, b"")


async def test_one_bad_callback_does_not_fail_its_neighbours(client: Client, pool: Pool) -> None:
    """Callbacks that share a commit with one that the database refuses are applied all the same."""
    await pool.execute("ALTER TABLE callbacks ADD CONSTRAINT no_long_bodies CHECK (octet_length(body) < 1000)")
    rows = [await job(pool, "awaiting") for _ in range(10)]
    messages = [found(row["request_id"]) for row in rows]
    messages[4]["padding"] = "x" * 1000

    answers = await asyncio.gather(*(call_back(client, r, m) for r, m in zip(rows, messages, strict=True)))

    assert [answer.status for answer in answers] == [500 if n == 4 else 200 for n in range(10)]
    assert await pool.fetchval("SELECT count(*) FROM finished_jobs") == 9
