"""Selections: what is previewed, what it may cost, and that exactly this is applied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from store import selection_pages, selections
from store.partitions import first_id
from tests.asgi import Client
from tests.conftest import TOKEN, ClientWith
from tests.factories import delivery, finished_job, job, lookup, search_of
from tests.wishes import decide, end, status, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

EMAIL = "jane@acme.co"


async def preview(client: Client, action: str, **given: Any) -> dict[str, Any]:
    """The answer to a preview that has ended."""
    answer = await client.post("/v1/selections", {"action": action, "filter": given})
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json()
    assert told["state"] == "previewed"
    return told


async def apply(client: Client, id: str) -> dict[str, Any]:
    """The answer to an application that has ended."""
    answer = await client.post(f"/v1/selections/{id}/apply")
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json()
    assert told["state"] == "applied"
    return told


async def items(pool: Pool, id: str) -> set[UUID]:
    """Return the items that the selection found."""
    return {row[0] for row in await pool.fetch("SELECT item_id FROM selected WHERE selection_id = $1", UUID(id))}


async def one_of_each(pool: Pool) -> dict[str, UUID]:
    """A lookup in every status, by its status."""
    made = {
        final: (await lookup(pool, final_status=final))["id"]
        for final in ("found", "not_found", "failed", "unresolved", "suppressed", "cancelled")
    }
    made["queued"] = (await job(pool))["lookup_id"]
    made["running"] = (await job(pool, "awaiting"))["lookup_id"]
    made["held"] = (await job(pool, held="flood"))["lookup_id"]
    return made


@pytest.mark.parametrize(
    ("action", "found", "then"),
    [
        ("retry", ["failed", "unresolved"], "queued"),
        ("cancel", ["queued", "held", "failed", "unresolved"], "cancelled"),
        ("release", ["held"], "queued"),
    ],
)
async def test_an_action_finds_the_lookups_to_which_it_applies(
    client: Client, pool: Pool, action: str, found: list[str], then: str
) -> None:
    """And applied, it changes those and no others."""
    made = await one_of_each(pool)

    told = await preview(client, action)
    before = {name: await status(pool, id) for name, id in made.items()}
    done = await apply(client, told["id"])

    assert before == {name: name for name in made}
    assert told["count"] == len(found)
    assert await items(pool, told["id"]) == {made[name] for name in found}
    assert (done["applied"], done["passed"]) == (len(found), 0)
    assert {name: await status(pool, id) for name, id in made.items()} == {
        name: then if name in found else name for name in made
    }


async def test_each_part_of_a_filter_narrows_it(client: Client, pool: Pool) -> None:
    """An item must match every field given."""
    values = {"source": "hubspot", "record_id": "crm-1", "reason": "nyne: Bad Request", "final_status": "failed"}
    row = await lookup(pool, **values)
    await finished_job(pool, "failed", provider="nyne", lookup_id=row["id"])
    for name, other in {
        "source": "generic", "record_id": "crm-2", "reason": "timeout", "final_status": "unresolved",
    }.items():  # fmt: skip
        more = await lookup(pool, **{**values, name: other})
        await finished_job(pool, "failed", provider="nyne", lookup_id=more["id"])
    await lookup(pool, **values)  # no provider was asked
    now = datetime.now(UTC)
    given = {
        "source": "hubspot", "record_id": "crm-1", "reason": "BAD req", "status": "failed", "provider": "nyne",
        "since": (now - timedelta(minutes=1)).isoformat(), "until": (now + timedelta(minutes=1)).isoformat(),
    }  # fmt: skip

    told = await preview(client, "retry", **given)

    assert await items(pool, told["id"]) == {row["id"]}
    for name in ("source", "record_id", "reason", "status", "provider"):
        wider = await preview(client, "retry", **{key: value for key, value in given.items() if key != name})
        assert wider["count"] == 2, name


async def test_a_time_is_that_of_the_lookup_s_creation(client: Client, pool: Pool) -> None:
    """`since` is included, `until` is not; without a zone they are UTC."""
    early, late = [
        (await lookup(pool, id=UUID(int=first_id(datetime(2026, 3, day, tzinfo=UTC)).int | 7),
                      final_status="failed"))["id"]
        for day in (1, 2)
    ]  # fmt: skip

    first = await preview(client, "retry", since="2026-03-01T00:00:00Z", until="2026-03-02T00:00:00Z")
    second = await preview(client, "retry", since="2026-03-02T00:00:00")

    assert await items(pool, first["id"]) == {early}
    assert await items(pool, second["id"]) == {late}


@pytest.mark.parametrize("held", ["budget", "flood"])
async def test_a_hold_is_a_reason(client: Client, pool: Pool, held: str) -> None:
    """Releasing what the flood guard holds does not release jobs that wait for a budget."""
    rows = {name: await job(pool, held=name) for name in ("budget", "flood")}

    told = await preview(client, "release", reason=held)

    assert await items(pool, told["id"]) == {rows[held]["lookup_id"]}
    assert told["sample"] == [{"id": str(rows[held]["lookup_id"]), "status": "held", "reason": held}]


@pytest.mark.parametrize(
    ("chain", "credits"),
    [
        ({}, 8),
        ({"leadmagic": "failed"}, 8),
        ({"leadmagic": "answered", "nyne": "failed"}, 3),
        ({"leadmagic": "unknown", "nyne": "answered"}, 5),
    ],
)
async def test_a_retry_may_cost_what_those_take_that_have_not_answered(
    client: Client, pool: Pool, chain: dict[str, str], credits: int
) -> None:
    """Each provider that has not answered counts at its full price."""
    row = await lookup(pool, final_status="unresolved")
    for provider, state in chain.items():
        more = {"answered_by": "inline"} if state == "answered" else {}
        await finished_job(pool, state, provider=provider, lookup_id=row["id"], **more)

    told = await preview(client, "retry")
    await apply(client, told["id"])
    await decide(pool)

    asked = await pool.fetchrow("SELECT provider, todo FROM jobs")
    assert asked is not None
    assert told["most_credits"] == credits == sum({"leadmagic": 5, "nyne": 3}[name] for name in [asked[0], *asked[1]])


async def test_an_answer_that_will_not_be_reused_is_counted(client: Client, pool: Pool) -> None:
    """It may be asked for again before the selection is applied."""
    row = await lookup(pool, final_status="failed")
    await finished_job(pool, provider="leadmagic", lookup_id=row["id"], answered_by="inline")
    await pool.execute("UPDATE searches SET ended_at = now() - interval '29 days 1 hour'")

    assert (await preview(client, "retry"))["most_credits"] == 8


async def test_a_release_may_cost_what_its_searches_have_yet_to_ask(client: Client, pool: Pool) -> None:
    """Two lookups of one search cost once, and questions asked before are not counted."""
    first = await job(pool, provider="leadmagic", todo=["nyne"], held="flood")
    await lookup(pool, search_id=first["search_id"], reused_from=first["lookup_id"])
    await job(pool, provider="nyne", place=1, held="budget")

    told = await preview(client, "release")

    assert (told["count"], told["most_credits"]) == (3, 11)


@pytest.mark.parametrize("action", ["cancel", "replay"])
async def test_what_asks_nobody_costs_nothing(client: Client, pool: Pool, action: str) -> None:
    """Cancelling and replaying are free."""
    row = await lookup(pool, final_status="failed")
    await delivery(pool, "given_up", lookup_id=row["id"])

    told = await preview(client, action)

    assert (told["count"], told["most_credits"]) == (1, 0)


async def test_nothing_outside_the_preview_is_touched(client: Client, pool: Pool) -> None:
    """A lookup that fits the filter a moment later is left for another selection."""
    seen = await lookup(pool, final_status="failed")
    told = await preview(client, "retry")
    late = await lookup(pool, final_status="failed")

    done = await apply(client, told["id"])

    assert (done["count"], done["applied"]) == (1, 1)
    assert await status(pool, seen["id"]) == "queued"
    assert await status(pool, late["id"]) == "failed"


async def test_what_changed_after_the_preview_is_passed(client: Client, pool: Pool) -> None:
    """A lookup that found its number meanwhile keeps it."""
    stays, changes = [await take_one(pool, work_email=f"{name}@acme.co") for name in ("jane", "joe")]
    for one in (stays, changes):
        await end(pool, one.id, state="failed")
    told = await preview(client, "retry")
    await pool.execute("UPDATE lookups SET final_status = 'not_found', reason = NULL WHERE id = $1", changes.id)

    done = await apply(client, told["id"])

    assert (done["applied"], done["passed"]) == (1, 1)
    assert await status(pool, changes.id) == "not_found"


async def test_applying_again_changes_nothing(client: Client, pool: Pool) -> None:
    """A lookup that failed again after its retry is not tried a second time."""
    row = await lookup(pool, final_status="failed", providers=["leadmagic"])
    told = await preview(client, "retry")
    await apply(client, told["id"])
    await decide(pool)
    await end(pool, row["id"], state="failed")

    again = await apply(client, told["id"])

    assert (again["applied"], again["passed"]) == (1, 0)
    assert await status(pool, row["id"]) == "failed"
    assert await pool.fetchval("SELECT count(*) FROM audit") == 1


async def test_a_preview_that_goes_on_cannot_be_applied(client: Client, pool: Pool) -> None:
    """An application during the preview would miss items not yet found."""
    told = await preview(client, "retry")
    await pool.execute("UPDATE selections SET state = 'previewing', previewed_at = NULL")

    answer = await client.post(f"/v1/selections/{told['id']}/apply")

    assert answer.status == 409
    assert await pool.fetchval("SELECT count(*) FROM audit") == 0


async def test_pages_and_chunks_add_up(client: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, each item is found once and applied once."""
    monkeypatch.setattr(selection_pages, "LOOKED_AT", 3)
    monkeypatch.setattr(selections, "CHUNK", 2)
    ids = {(await lookup(pool, final_status=final))["id"] for final in ("failed", "unresolved") * 5}
    ids |= {(await job(pool))["lookup_id"] for _ in range(3)}
    await one_of_each(pool)

    told = await preview(client, "cancel")
    done = await apply(client, told["id"])

    assert ids <= await items(pool, told["id"])
    assert (told["count"], done["applied"], done["passed"]) == (17, 17, 0)


async def test_an_application_is_recorded_once(client_with: ClientWith, pool: Pool) -> None:
    """The audit names the person who applied it, not the one who previewed it."""
    client = await client_with(api_tokens=f"ann:operate+read:of-ann,bob:operate+read+admin:{TOKEN}")
    await lookup(pool, final_status="failed")
    ann = Client(client.app, {"x-api-key": "of-ann"})
    told = await preview(ann, "retry")
    await apply(client, told["id"])

    (entry,) = (await client.get("/v1/audit")).json()["entries"]

    assert told["who"] == "ann"
    assert (entry["who"], entry["action"], entry["subject"]) == ("bob", "retry", told["id"])
    assert entry["detail"] == {"found": 1, "most_credits": 8}


async def test_a_selection_shows_nothing_personal(client: Client, pool: Pool) -> None:
    """Ids, statuses and reasons."""
    rows = [await lookup(pool, final_status="failed", name="Jane Doe", reason="nyne: 400") for _ in range(12)]

    told = await preview(client, "retry")
    again = await client.get(f"/v1/selections/{told['id']}")

    assert again.json() == told
    assert told["sample"] == [{"id": str(row["id"]), "status": "failed", "reason": "nyne: 400"} for row in rows[:10]]
    assert b"acme.co" not in again.body
    assert b"Jane" not in again.body


async def test_deliveries_are_replayed(client: Client, pool: Pool) -> None:
    """Only ended deliveries of the given channel and state are sent again."""
    row = await lookup(pool, final_status="found", source="hubspot")
    other = await lookup(pool, final_status="found")
    wanted = await delivery(pool, "given_up", lookup_id=row["id"], reason="HTTP 500")
    await delivery(pool, "delivered", lookup_id=row["id"])
    await delivery(pool, "given_up", lookup_id=row["id"], channel="hubspot")
    await delivery(pool, "given_up", lookup_id=other["id"])
    await delivery(pool, "queued", lookup_id=row["id"])

    told = await preview(client, "replay", channel="webhook", state="given_up", source="hubspot")
    done = await apply(client, told["id"])

    assert told["sample"] == [{"id": str(wanted["id"]), "status": "given_up", "reason": "HTTP 500"}]
    assert done["applied"] == 1
    assert await pool.fetchval("SELECT state::text FROM deliveries WHERE id = $1", wanted["id"]) == "queued"
    assert (await preview(client, "replay"))["count"] == 3


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"action": "destroy"}, "action"),
        ({"filter": {}}, "action"),
        ({"action": "retry", "filter": {"status": "lost"}}, "filter.status"),
        ({"action": "retry", "filter": {"status": "found"}}, ""),
        ({"action": "retry", "filter": {"channel": "webhook"}}, ""),
        ({"action": "replay", "filter": {"state": "queued"}}, ""),
        ({"action": "retry", "filter": {"sauce": "generic"}}, "filter.sauce"),
        ({"action": "retry", "filter": {"since": "soon"}}, "filter.since"),
        ({"action": "retry", "filter": {"until": "9999-12-31T23:59:59-12:00"}}, "filter.until"),
        ({"action": "retry", "filter": {"reason": "a\0b"}}, "filter.reason"),
        ({"action": "retry", "filter": {"record_id": ""}}, "filter.record_id"),
    ],
)
async def test_a_wrong_selection_is_refused(client: Client, pool: Pool, body: Any, path: str) -> None:
    """The answer names the field; nothing is previewed."""
    answer = await client.post("/v1/selections", body)

    assert answer.status == 422
    assert [one["path"] for one in answer.json()["errors"]] == [path]
    assert await pool.fetchval("SELECT count(*) FROM selections") == 0


async def test_an_unknown_selection_is_a_404(client: Client) -> None:
    """To read and to apply."""
    for id in (uuid7(), "x"):
        assert (await client.get(f"/v1/selections/{id}")).status == 404
        assert (await client.post(f"/v1/selections/{id}/apply")).status == 404


async def test_a_lookup_that_joined_is_cancelled_alone(client: Client, pool: Pool) -> None:
    """The search of another record goes on."""
    first = await take_one(pool, work_email=EMAIL)
    second = await pool.fetchval("SELECT search_id FROM lookups WHERE id = $1", first.id)
    joined = await lookup(pool, search_id=second, reused_from=first.id, record_id="crm-2", work_email=EMAIL)

    told = await preview(client, "cancel", record_id="crm-2")
    await apply(client, told["id"])

    assert await status(pool, joined["id"]) == "cancelled"
    assert await status(pool, first.id) == "queued"
    assert (await search_of(pool, first.id))["ended_at"] is None
