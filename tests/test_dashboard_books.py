"""The lists of the dashboard: deliveries, readings and the audit, with their filters, their paging and "Send again"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from uuid_utils.compat import uuid7

from store import audit
from tests.conftest import TOKEN, ClientWith
from tests.factories import delivery, lookup
from tests.pages import flaws, words
from tests.seat import Seat, seated
from tests.wishes import MOBILE

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.wishes import Pool

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
EVERYTHING = f"ann:read+operate+admin:{TOKEN},eyes:read:of-eyes"
LINK = re.compile(r'href="/lookups/([0-9a-f-]{36})"')


async def reading(pool: Pool, state: str = "queued", **given: Any) -> None:
    """Insert a reading of a contact of HubSpot."""
    id = uuid7()
    await pool.execute(
        """
        INSERT INTO readings (id, source, record_id, state, named_by, ended_at, reason, error, tries, lookup_id)
        VALUES ($1, 'hubspot', $2, $3::text::reading_state, 'event',
                CASE WHEN $3 IN ('done', 'skipped') THEN now() END, $4, $5, $6, $7)
        """,
        id,
        given.get("record_id", str(id)),
        state,
        given.get("reason"),
        given.get("error"),
        given.get("tries", 0),
        given.get("lookup_id"),
    )


async def shown(seat: Seat, path: str) -> str:
    """Return a page, which keeps to what every page must be."""
    page = await seat.page(path)
    assert flaws(page) == []
    return page


async def test_a_delivery_is_shown_with_what_went_wrong(client: Client, pool: Pool) -> None:
    """Its tries, its next one, and the reason. What the other side answered may repeat the number: it is not here."""
    row = await delivery(pool, "given_up", attempt=10, reason=HOSTILE, error="HTTP 500", answer=f"{MOBILE} {HOSTILE}")
    await delivery(pool, "queued", attempt=3, error="timed out", channel="hubspot")

    page = await shown(await seated(client), "/deliveries")

    assert HOSTILE not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 1
    assert MOBILE not in page
    text = words(page)
    assert "given up webhook" in text
    assert "Last error: HTTP 500 Its answer is in the lookup's timeline" in text
    assert "1 queued to hubspot" in text
    assert re.search(r"queued hubspot …[0-9a-f]{8} 3 next 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d Last error: timed out", text)
    assert str(row["lookup_id"]) in LINK.findall(page)


async def test_deliveries_are_filtered_and_paged(client: Client, pool: Pool) -> None:
    """By state and channel; the link to older ones keeps the filter, and no row is shown twice or left out."""
    wanted = [(await delivery(pool, "refused", channel="hubspot"))["lookup_id"] for _ in range(3)]
    await delivery(pool, "refused")
    await delivery(pool, "delivered", channel="hubspot")
    seat = await seated(client)

    found: list[str] = []
    path: str | None = "/deliveries?status=refused&channel=hubspot&limit=2"
    while path:
        page = await shown(seat, path)
        found += LINK.findall(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older[1].replace("&amp;", "&") + "&limit=2" if older else None
    empty = await shown(seat, "/deliveries?status=&channel=")

    assert found == [str(id) for id in reversed(wanted)]
    assert len(LINK.findall(empty)) == 5


async def test_a_delivery_is_sent_again(client: Client, pool: Pool) -> None:
    """The row is queued again, by name, and the visitor is back in the same part of the list; twice is no error."""
    row = await delivery(pool, "refused", tries=3)
    await delivery(pool, "refused")
    seat = await seated(client)
    page = await shown(seat, "/deliveries?status=refused&channel=webhook")
    action = re.search(rf'action="(/deliveries/{row["id"]}/replay[^"]*)"', page)
    assert action is not None

    answers = [await seat.form(action[1].replace("&amp;", "&"), {}) for _ in range(2)]

    here = "/deliveries?status=refused&channel=webhook"
    assert [(one.status, one.headers["location"]) for one in answers] == [
        (303, f"{here}&said=sent-again"), (303, f"{here}&said=sent-already"),
    ]  # fmt: skip
    assert await pool.fetchval("SELECT state FROM deliveries WHERE id = $1", row["id"]) == "queued"
    entries = await audit.page(pool, None, 10)
    assert [(one["who"], one["action"], one["subject"]) for one in entries] == [("token-1", "replay", str(row["id"]))]
    assert "sent again now" in words(await shown(seat, f"{here}&said=sent-again"))


async def test_a_delivery_that_is_unknown_has_a_page(client: Client) -> None:
    """404, in words."""
    seat = await seated(client)

    for id in (uuid7(), "x"):
        answer = await seat.form(f"/deliveries/{id}/replay", {})
        assert answer.status == 404
        assert "There is no such delivery." in words(answer.body.decode())


@pytest.mark.parametrize(
    ("filter", "selection"),
    [
        ("", "/lookups/selection?action=replay"),
        ("?status=given_up&channel=webhook", "/lookups/selection?action=replay&amp;state=given_up&amp;channel=webhook"),
        ("?status=queued", None),
    ],
)
async def test_all_of_these_are_sent_again_through_a_selection(
    client: Client, pool: Pool, filter: str, selection: str | None
) -> None:
    """The link has the filter of the page, and is there only for deliveries that have ended."""
    await delivery(pool, "given_up")
    await delivery(pool, "queued")

    page = await shown(await seated(client), f"/deliveries{filter}")

    assert re.findall(r'href="(/lookups/selection[^"]*)"', page) == ([selection] if selection else [])


async def test_who_may_only_look_sends_nothing_again(client_with: ClientWith, pool: Pool) -> None:
    """A page has no button that its visitor may not press."""
    await delivery(pool, "given_up")

    page = await shown(await seated(await client_with(api_tokens=EVERYTHING), "of-eyes"), "/deliveries")

    assert 'method="post" action="/deliveries' not in page
    assert "/lookups/selection" not in page


async def test_readings_say_why_contacts_were_skipped(client: Client, pool: Pool) -> None:
    """Counts by reason on top; each contact with its reason and what went wrong last, and a link to its lookup."""
    made = await lookup(pool, source="hubspot", record_id="7")
    await reading(pool, "done", lookup_id=made["id"])
    for _ in range(2):
        await reading(pool, "skipped", reason="has a mobile")
    await reading(pool, "skipped", reason=HOSTILE, record_id=HOSTILE, error="HTTP 502", tries=1)
    await reading(pool, "queued", error="HTTP 429", tries=2)
    seat = await seated(client)

    page = await shown(seat, "/readings")
    skipped = await shown(seat, "/readings?status=skipped&source=hubspot")
    record = await shown(seat, f"/readings?record_id={'%3Cscript%3E'}")

    text = words(page)
    assert "hubspot skipped has a mobile 2" in text
    assert "After 2 failures: HTTP 429" in text
    assert "After 1 failure: HTTP 502" in text
    assert LINK.findall(page) == [str(made["id"])]
    assert HOSTILE not in page
    assert LINK.findall(skipped) == []
    assert "No contact is like that." in words(record)
    assert 'value="&lt;script&gt;"' in record


async def test_the_audit_says_who_did_what(client_with: ClientWith, pool: Pool) -> None:
    """A lookup, or a delivery's, is linked; the detail is in words; action and name are filters that paging keeps."""
    made, sent = await lookup(pool), await delivery(pool, "delivered")
    await audit.record(pool, who="ann", action="retry", subject=made["id"], detail={"may_charge_again": True})
    await audit.record(pool, who="bob", action="replay", subject=sent["id"])
    await audit.record(pool, who="bob", action="pause", subject=uuid7(), detail={"reason": HOSTILE, "source": None})
    await audit.record(pool, who="bob", action="erase", detail={"by": ["email", "number"]})
    seat = await seated(await client_with(api_tokens=EVERYTHING))

    page = await shown(seat, "/audit")
    of_bob = await shown(seat, "/audit?who=bob&limit=2")
    retries = await shown(seat, "/audit?action=retry&who=")

    assert LINK.findall(page) == [str(sent["lookup_id"]), str(made["id"])]
    assert HOSTILE not in page
    text = words(page)
    assert "may charge again yes" in text
    assert "by email, number" in text
    assert re.findall(r'rel="next" href="(/audit\?who=bob&amp;cursor=[^"]+)"', of_bob)
    assert re.findall(r'<th scope="row">(\w+)</th>', of_bob) == ["erase", "pause"]
    assert re.findall(r'<th scope="row">(\w+)</th>', retries) == ["retry"]
    assert (await seat.get("/audit?action=x")).status == (await seat.get("/audit?who=%00")).status == 422


async def test_every_action_is_a_filter_of_the_audit(pool: Pool) -> None:
    """The page names what the table allows."""
    check = await pool.fetchval("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'audit_action'")

    assert set(re.findall(r"'(\w+)'", check)) <= set(audit.ACTIONS)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/deliveries", "RESULT_WEBHOOK_URL is not set"),
        ("/deliveries?status=refused", "No delivery is like that."),
        ("/readings", "No CRM is connected"),
        ("/readings?status=skipped", "No contact is like that."),
        ("/audit", "Nobody has done anything yet"),
        ("/audit?who=bob", "No entry is like that."),
    ],
)
async def test_an_empty_list_says_what_that_means(client_with: ClientWith, path: str, says: str) -> None:
    """And what to do next."""
    page = await shown(await seated(await client_with(api_tokens=EVERYTHING)), path)

    assert says in words(page)


async def test_an_empty_list_knows_what_is_connected(client_with: ClientWith, pool: Pool) -> None:
    """With a webhook and a CRM, nothing has happened yet: the pages say what would make it happen."""
    webhook = {"result_webhook_url": "https://acme.co/hook", "result_webhook_secret": "whsec_" + "QUJD" * 8}
    seat = await seated(await client_with(api_tokens=EVERYTHING, **webhook))
    await pool.execute("INSERT INTO connections (crm) VALUES ('hubspot')")

    assert "a delivery is written when a lookup ends" in words(await shown(seat, "/deliveries"))
    assert "hubspot is connected, and has named no contact yet" in words(await shown(seat, "/readings"))
