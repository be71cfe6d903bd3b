"""Selections in the dashboard: chosen in a form, previewed, and applied to exactly what was previewed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from tests.asgi import Answer, Client
from tests.conftest import TOKEN, ClientWith
from tests.factories import delivery, finished_job, job, lookup
from tests.pages import flaws, words
from tests.seat import ELSEWHERE, Seat, seated
from tests.wishes import status

if TYPE_CHECKING:
    from tests.wishes import Pool

FORM = "/lookups/selection"


async def chosen(seat: Seat, action: str, **given: str) -> str:
    """Send the form, with the empty fields that a browser sends; return the address of the preview."""
    answer = await seat.form(FORM, {"source": "", "since": "", "action": action} | given)
    assert answer.status == 303, answer.body
    return answer.headers["location"]


async def test_a_selection_is_previewed_and_then_applied_to_exactly_that(client: Client, pool: Pool) -> None:
    """The preview names the count, the most that it may cost, and the first of them; what fits later is left alone."""
    seat = await seated(client)
    row = await lookup(pool, final_status="failed", reason="nyne: <b>", providers=["nyne"])
    await finished_job(pool, "failed", lookup_id=row["id"])

    address = await chosen(seat, "retry", status="failed", reason="NYNE", until="2100-01-01T00:00")
    preview = await seat.page(address)
    later = await lookup(pool, final_status="failed", reason="nyne: <b>", providers=["nyne"])
    applied = await seat.form(address, {})
    done = await seat.page(applied.headers["location"])

    assert [flaws(page) for page in (preview, done)] == [[], []]
    assert "1 lookup 3 credits at most" in words(preview)
    assert "Retry exactly this one" in words(preview)
    assert (f'href="/lookups/{row["id"]}"' in preview, "nyne: &lt;b&gt;" in preview) == (True, True)
    assert applied.status == 303
    assert "Applied to 1 of 1" in words(done)
    assert [await status(pool, one["id"]) for one in (row, later)] == ["queued", "failed"]
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'retry'") == 1


async def test_the_form_is_filled_in_from_the_list_s_filter(client: Client) -> None:
    """With the action that fits the status."""
    seat = await seated(client)

    held = await seat.page(f"{FORM}?status=held&source=hubspot&record_id=<crm>")
    nothing = await seat.page(FORM)

    assert re.findall(r'value="(\w+)" required checked', held) == ["release"]
    assert '<option value="held" selected>' in held
    assert "<option selected>hubspot</option>" in held
    assert 'value="&lt;crm&gt;"' in held
    assert re.findall(r'value="(\w+)" required checked', nothing) == ["retry"]


async def test_a_form_that_fits_nothing_is_shown_again(client: Client, pool: Pool) -> None:
    """With what is wrong, and what was filled in."""
    seat = await seated(client)

    answer = await seat.form(FORM, {"action": "release", "status": "found", "id": "x", "reason": "mine"})

    page = answer.body.decode()
    assert (answer.status, flaws(page)) == (422, [])
    assert "<code>id</code>" in page
    assert 'value="mine"' in page
    assert (await seat.form(FORM, {})).status == 422
    assert await pool.fetchval("SELECT count(*) FROM selections") == 0


async def test_a_preview_that_finds_nothing_says_what_to_change(client: Client) -> None:
    """It leads back to the form, filled in as it was; there is nothing to apply."""
    seat = await seated(client)

    page = await seat.page(await chosen(seat, "cancel", source="hubspot", record_id="a b"))

    assert "Nothing matches" in page
    assert f'href="{FORM}?action=cancel&amp;source=hubspot&amp;record_id=a+b"' in page.replace("%20", "+")
    assert f'method="post" action="{FORM}' not in page


async def test_results_are_chosen_by_their_own_fields(client: Client, pool: Pool) -> None:
    """A replay is of deliveries; each leads to its lookup."""
    seat = await seated(client)
    given_up, _ = [await delivery(pool, state) for state in ("given_up", "delivered")]

    address = await chosen(seat, "replay", state="given_up", channel="webhook")
    preview = await seat.page(address)
    await seat.form(address, {})

    assert "1 result " in words(preview)
    assert f'href="/lookups/{given_up["lookup_id"]}"' in preview
    assert await pool.fetchval("SELECT state FROM deliveries WHERE id = $1", given_up["id"]) == "queued"


@pytest.mark.parametrize(
    ("state", "says", "asks_again"),
    [("previewing", "Looking for them", True), ("applying", "0 of 3", True), ("previewed", "3 found", False)],
)
async def test_the_part_that_changes_is_asked_for_until_it_has_ended(
    client: Client, pool: Pool, state: str, says: str, asks_again: bool
) -> None:
    """By htmx, which gets that part alone; without scripts there is a link, and applying too early changes nothing."""
    seat = await seated(client)
    id = uuid7()
    await pool.execute(
        "INSERT INTO selections (id, who, action, filter, state, found, previewed_at)"
        " VALUES ($1, 'ann', 'retry', '{}', $2::text::selection_state, 3,"
        "         CASE WHEN $2 <> 'previewing' THEN now() END)",
        id, state,
    )  # fmt: skip

    whole = await seat.page(f"{FORM}/{id}")
    part = (await seat.get(f"{FORM}/{id}", {"hx-request": "true"})).body.decode()

    assert says in words(whole)
    assert (f'data-hx-get="{FORM}/{id}"' in part, "Look again" in part) == (asks_again, asks_again)
    assert part in whole
    assert "<html" not in part
    if state == "previewing":
        assert (await seat.form(f"{FORM}/{id}", {})).status == 409


async def test_only_an_admin_erases(client_with: ClientWith, pool: Pool) -> None:
    """With `operate` alone it is not offered, and refused; an admin's selection cannot be applied without it."""
    row = await lookup(pool, final_status="found")
    operator = await seated(await client_with(api_tokens=f"ann:read+operate:{TOKEN}"))
    admin = await seated(await client_with(api_tokens=f"eve:read+operate+admin:{TOKEN}"))

    refused = await operator.form(FORM, {"action": "erase"})
    address = await chosen(admin, "erase", id=str(row["id"]))
    preview = await operator.page(address)
    not_applied = await operator.form(address, {})
    applied = await admin.form(address, {})

    assert 'value="erase"' not in await operator.page(FORM)
    assert 'value="erase"' in await admin.page(FORM)
    assert [refused.status, not_applied.status, applied.status] == [403, 403, 303]
    assert "<code>admin</code>" in preview
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 0


async def test_who_may_read_sees_a_selection_and_chooses_none(client_with: ClientWith, pool: Pool) -> None:
    """The form and its applying need `operate`."""
    row = await job(pool, held="flood")
    operator = await seated(await client_with(api_tokens=f"ann:read+operate:{TOKEN}"))
    reader = await seated(await client_with(api_tokens=f"bob:read:{TOKEN}"))
    address = await chosen(operator, "release")

    answers: list[Answer] = [
        await reader.get(FORM),
        await reader.form(FORM, {"action": "release"}),
        await reader.form(address, {}),
        await operator.form(address, {}, ELSEWHERE),
    ]

    assert [one.status for one in answers] == [403] * 4
    assert "1 found" in await reader.page(address)
    assert "Do something" not in await reader.page("/lookups")
    assert await status(pool, UUID(str(row["lookup_id"]))) == "held"


async def test_an_unknown_selection_is_a_page(client: Client) -> None:
    """For an id that is none as well."""
    seat = await seated(client)

    for answer in (await seat.get(f"{FORM}/x"), await seat.form(f"{FORM}/{uuid7()}", {})):
        assert (answer.status, b"There is no such selection" in answer.body) == (404, True)
