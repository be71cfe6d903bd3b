"""GET /v1/deliveries and the replay: what a person sees of deliveries, and may do about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.states import DELIVERY_STATES
from store.notify import CHANNEL
from tests.asgi import Client
from tests.conftest import ClientWith
from tests.factories import delivery, lookup

if TYPE_CHECKING:
    from tests.wishes import Pool

FINAL = ("delivered", "refused", "given_up", "skipped")


async def ids(client: Client, query: str = "") -> list[UUID]:
    """Return the ids of the page, in its order."""
    answer = await client.get(f"/v1/deliveries{query}")
    assert answer.status == 200
    return [UUID(one["id"]) for one in answer.json()["deliveries"]]


async def test_a_delivery_is_shown_with_the_other_sides_words(client: Client, pool: Pool) -> None:
    """Every field, with times in UTC."""
    at = datetime(2026, 11, 22, 9, 30, 15, 123456, UTC)
    row = await delivery(
        pool, "given_up", attempt=10, tries=10, reason="given up", error="HTTP 500", answer="no", ended_at=at, due_at=at
    )

    answer = await client.get("/v1/deliveries")

    assert answer.json() == {
        "deliveries": [
            {
                "id": str(row["id"]), "lookup_id": str(row["lookup_id"]), "channel": "webhook", "status": "given_up",
                "attempts": 10, "next_at": None, "reason": "given up", "last_error": "HTTP 500", "answer": "no",
                "finished_at": "2026-11-22T09:30:15.123Z",
            }
        ],
        "next_cursor": None,
    }  # fmt: skip


async def test_a_lookup_shows_its_deliveries(client: Client, pool: Pool) -> None:
    """Newest first, with when the next try is due."""
    at = datetime(2026, 11, 22, 9, 30, 15, 123456, UTC)
    row = await lookup(pool, final_status="found")
    first = await delivery(pool, "delivered", lookup_id=row["id"])
    second = await delivery(pool, lookup_id=row["id"], attempt=1, due_at=at, error="HTTP 500")
    await delivery(pool)

    one = (await client.get(f"/v1/lookups/{row['id']}")).json()
    page = (await client.get("/v1/lookups")).json()["lookups"]

    assert [entry["id"] for entry in one["deliveries"]] == [str(second["id"]), str(first["id"])]
    assert one["deliveries"][0] == {
        "id": str(second["id"]), "channel": "webhook", "status": "queued", "attempts": 1,
        "next_at": "2026-11-22T09:30:15.123Z", "reason": None, "last_error": "HTTP 500",
    }  # fmt: skip
    assert one in page


async def test_deliveries_are_found_by_status_lookup_and_channel(client: Client, pool: Pool) -> None:
    """And by all of them together."""
    rows = {state: await delivery(pool, state) for state in DELIVERY_STATES}
    mine = rows["refused"]["lookup_id"]
    other = await delivery(pool, "queued", lookup_id=mine)

    newest_first = [other["id"], *(row["id"] for row in reversed(rows.values()))]
    assert await ids(client) == newest_first
    for state, row in rows.items():
        assert await ids(client, f"?status={state}") == [other["id"]] * (state == "queued") + [row["id"]]
    assert await ids(client, f"?lookup_id={mine}") == [other["id"], rows["refused"]["id"]]
    assert await ids(client, f"?lookup_id={mine}&status=queued&channel=webhook") == [other["id"]]
    assert await ids(client, f"?lookup_id={uuid7()}") == []


async def test_a_channel_has_its_own_page(client: Client, pool: Pool) -> None:
    """A CRM's deliveries are not the webhook's."""
    theirs = await delivery(pool, channel="hubspot")
    ours = await delivery(pool)

    assert await ids(client) == [ours["id"], theirs["id"]]
    assert await ids(client, "?channel=hubspot") == [theirs["id"]]
    assert await ids(client, "?channel=webhook") == [ours["id"]]


@pytest.mark.parametrize("filtered", ["", "&status=delivered", "&lookup_id={lookup}"])
async def test_pages_follow_one_another(client: Client, pool: Pool, filtered: str) -> None:
    """Each cursor leads to the next older page; the last page has none."""
    row = await lookup(pool, final_status="found")
    made = [(await delivery(pool, "delivered", lookup_id=row["id"]))["id"] for _ in range(5)]
    seen: list[UUID] = []
    cursor, pages = "", 0
    while pages < 4:
        answer = (await client.get(f"/v1/deliveries?limit=2{filtered.format(lookup=row['id'])}{cursor}")).json()
        seen += [UUID(one["id"]) for one in answer["deliveries"]]
        pages += 1
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"

    assert (seen, pages) == (made[::-1], 3)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("status=sent", "status"), ("channel=email", "channel"), ("cursor=x", "cursor"), ("lookup_id=7", "lookup_id"),
        ("limit=0", "limit"), ("limit=201", "limit"), ("status=", "status"), ("status=%00", "status"),
    ],
)  # fmt: skip
async def test_a_parameter_that_cannot_be_used_is_named(client: Client, query: str, path: str) -> None:
    """One 422 names all of them."""
    answer = await client.get(f"/v1/deliveries?{query}")

    assert (answer.status, [error["path"] for error in answer.json()["errors"]]) == (422, [path])


@pytest.mark.parametrize("state", FINAL)
async def test_what_has_ended_is_sent_again(client: Client, pool: Pool, state: str) -> None:
    """It is sent at once, and the audit records the author."""
    row = await delivery(pool, state, tries=9)

    answer = await client.post(f"/v1/deliveries/{row['id']}/replay", b"")

    assert (answer.status, answer.json()) == (202, {"id": str(row["id"]), "status": "queued"})
    now = await pool.fetchrow("SELECT state::text, tries, due_at <= now() AS is_due FROM deliveries")
    assert now is not None
    assert tuple(now) == ("queued", 0, True)
    entry = await pool.fetchrow("SELECT who, action, subject FROM audit")
    assert entry is not None
    assert tuple(entry) == ("token-1", "replay", str(row["id"]))


@pytest.mark.parametrize("state", ["queued", "sending"])
async def test_what_is_on_its_way_is_not_sent_twice(client: Client, pool: Pool, state: str) -> None:
    """It is left alone, and the audit stays empty."""
    row = await delivery(pool, state, tries=9)

    answer = await client.post(f"/v1/deliveries/{row['id']}/replay", b"")

    assert answer.status == 409
    assert state in answer.json()["detail"]
    assert await pool.fetchval("SELECT tries FROM deliveries") == 9
    assert await pool.fetchval("SELECT count(*) FROM audit") == 0


@pytest.mark.parametrize("id", ["019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b", "7", "%00"])
async def test_what_does_not_exist_is_not_sent(client: Client, id: str) -> None:
    """An unknown id, and a text that is no id, is a 404."""
    assert (await client.post(f"/v1/deliveries/{id}/replay", b"")).status == 404


async def test_a_replay_wakes_the_senders(client: Client, pool: Pool, database_url: str) -> None:
    """The senders in every process look at once."""
    row = await delivery(pool, "given_up")
    hints: Any = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener(CHANNEL, lambda *_: hints.append(1))

    await client.post(f"/v1/deliveries/{row['id']}/replay", b"")

    for _ in range(200):
        if hints:
            break
        await listener.fetchval("SELECT pg_sleep(0.02)")
    await listener.close()
    assert hints


async def test_reading_and_replaying_need_their_scopes(client_with: ClientWith, pool: Pool) -> None:
    """A token that reads may not send anything again; one for events may not even read."""
    row = await delivery(pool, "given_up")
    client = await client_with(api_tokens="r:read:token-of-a-reader,e:events:token-of-an-event")
    reader, sender = ({"authorization": f"Bearer {token}"} for token in ("token-of-a-reader", "token-of-an-event"))

    assert (await client.get("/v1/deliveries", reader)).status == 200
    assert (await client.get("/v1/deliveries", sender)).status == 403
    assert (await client.post(f"/v1/deliveries/{row['id']}/replay", b"", reader)).status == 403


async def test_metrics_count_what_has_not_arrived(client: Client, pool: Pool) -> None:
    """By channel and state, and how long the oldest is due."""
    await delivery(pool, "delivered")
    await delivery(pool)
    await pool.execute("UPDATE deliveries SET due_at = now() - interval '1 hour' WHERE state = 'queued'")

    shown = (await client.get("/metrics")).body.decode()

    assert 'ringback_outstanding_deliveries{channel="webhook",state="queued"} 1.0' in shown
    overdue = next(line for line in shown.splitlines() if line.startswith("ringback_delivery_overdue_seconds{"))
    assert 3600 <= float(overdue.rpartition(" ")[2]) < 3700
