"""The pages of lookups: found without an address that names a person, masked until somebody asks, and decided."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from tests.asgi import Answer, Client
from tests.conftest import TOKEN, ClientWith
from tests.factories import delivery, finished_job, job, lookup
from tests.pages import flaws
from tests.seat import ELSEWHERE, Seat, seated
from tests.wishes import MOBILE, status

if TYPE_CHECKING:
    from tests.wishes import Pool

HOSTILE = "</pre><script>alert(1)</script>"


async def reader(client_with: ClientWith, scopes: str = "read") -> Seat:
    """A visitor whose token has these scopes, called ann."""
    return await seated(await client_with(api_tokens=f"ann:{scopes}:{TOKEN}"))


def shown(answer: Answer, status: int = 200) -> str:
    """The page's text."""
    assert answer.status == status, (answer.status, answer.headers, answer.body)
    return answer.body.decode()


def ids(page: str) -> list[UUID]:
    """The lookups of a list, in its order."""
    return [UUID(id) for id in re.findall(r'<th scope="row" class="when"><a href="/lookups/([0-9a-f-]{36})"', page)]


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    (value,) = re.findall(rf'type="hidden" name="{name}" value="([^"]*)"', page)
    return html.unescape(str(value))


async def acts(pool: Pool) -> list[tuple[str, str, str | None]]:
    """What the audit says, in its order."""
    return [tuple(row) for row in await pool.fetch("SELECT who, action, subject FROM audit ORDER BY id")]


# The list and the search


async def test_the_list_is_filtered_and_numbers_are_masked(client: Client, pool: Pool) -> None:
    """Newest first; each filter narrows it, and leads on to a selection of the same."""
    seat = await seated(client)
    found = await lookup(pool, final_status="found", record_id="crm-1", name=HOSTILE)
    failed = await lookup(pool, final_status="failed", reason="nyne: HTTP 400", source="hubspot")
    held = await job(pool, held="flood")

    everything = await seat.page("/lookups?status=&source=&record_id=")
    one = await seat.page("/lookups?status=failed&source=hubspot")

    assert ids(everything) == [held["lookup_id"], failed["id"], found["id"]]
    assert "+15•••••••67" in everything
    assert MOBILE not in everything
    assert HOSTILE not in everything
    assert html.escape(HOSTILE, quote=False) in everything
    assert (ids(one), "nyne: HTTP 400" in one) == ([failed["id"]], True)
    assert (field(one, "status"), field(one, "source")) == ("failed", "hubspot")
    assert ids(await seat.page("/lookups?record_id=crm-1")) == [found["id"]]
    assert ids(await seat.page("/lookups?status=held")) == [held["lookup_id"]]


async def test_an_empty_list_says_what_to_do(client: Client, pool: Pool) -> None:
    """With nothing at all, how to begin; with a filter, what to change; and a wrong one is named."""
    seat = await seated(client)

    nothing = await seat.page("/lookups")
    filtered = await seat.page("/lookups?status=found&record_id=x")
    wrong = await seat.page("/lookups?status=nonsense", status=422)

    assert 'href="/start"' in nothing
    assert "Nothing matches" in filtered
    assert [flaws(page) for page in (nothing, filtered)] == [[], []]
    assert "any status" in filtered
    assert "<code>status</code>" in wrong


async def test_the_list_goes_on_where_the_page_ended(
    client: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a link with the filter; of a search by a form, so that no address names the person."""
    monkeypatch.setattr("receiver.pages.DEFAULT_LIMIT", 1)
    seat = await seated(client)
    older, newer = [
        (await lookup(pool, final_status="found", work_email="jane@acme.co", record_id=f"crm-{n}"))["id"]
        for n in (1, 2)
    ]

    first = await seat.page("/lookups?status=found")
    (link,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await seat.page(html.unescape(link))
    searched = shown(await seat.form("/lookups", {"q": "Jane@acme.co"}))
    further = shown(await seat.form("/lookups", {name: field(searched, name) for name in ("q", "cursor")}))

    assert (ids(first), ids(second)) == ([newer], [older])
    assert (ids(searched), ids(further)) == ([newer], [older])
    assert 'rel="next"' not in second
    assert 'name="cursor"' not in further


@pytest.mark.parametrize("text", ["jane@acme.co", "linkedin.com/in/janedoe/", "+1 (555) 123-4567", "15551234567"])
async def test_a_person_is_found_however_it_is_written(client: Client, pool: Pool, text: str) -> None:
    """By an e-mail, a profile or a number; and the answer is kept nowhere."""
    seat = await seated(client)
    row = await lookup(
        pool, final_status="found", work_email="jane@acme.co", profile_url="linkedin.com/in/janedoe", mobile=MOBILE
    )
    await lookup(pool)

    answer = await seat.form("/lookups", {"q": text})

    assert ids(shown(answer)) == [row["id"]]
    assert answer.headers["cache-control"] == "no-store"
    assert (await seat.get(f"/lookups?q={text}")).body.count(b"<tbody>") == 1  # an address searches nothing


@pytest.mark.parametrize("record", ["crm-42", "15551234567"])
async def test_a_search_also_finds_a_record(client: Client, pool: Pool, record: str) -> None:
    """Also where its id looks like a number that nobody has; then it can be filtered further."""
    row = await lookup(pool, record_id=record)

    page = shown(await (await seated(client)).form("/lookups", {"q": record}))

    assert ids(page) == [row["id"]]
    assert field(page, "record_id") == record


async def test_a_search_that_cannot_be_read_says_what_can(client: Client) -> None:
    """It stays in its field; one that finds nothing says what else to try."""
    seat = await seated(client)

    wrong = shown(await seat.form("/lookups", {"q": 'jane@"acme'}), 422)
    nobody = shown(await seat.form("/lookups", {"q": "jim@acme.co"}))

    assert 'value="jane@&#34;acme"' in wrong
    assert "Give one e-mail address" in wrong
    assert "Nothing matches" in nobody


async def test_a_shared_address_is_looked_for_further_back(
    client: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the walk's time is over without a find, a form goes on from there."""
    monkeypatch.setattr("store.find.PAGE", 1)
    monkeypatch.setattr("store.find.WALKED_FOR", 0)
    seat = await seated(client)
    row = await lookup(pool, work_email="info@acme.co")
    await lookup(pool)

    first = shown(await seat.form("/lookups", {"q": "info@acme.co"}))
    second = shown(await seat.form("/lookups", {name: field(first, name) for name in ("q", "cursor")}))

    assert "Look further" in first
    assert ids(second) == [row["id"]]


# One lookup


async def test_a_number_is_masked_until_somebody_asks_and_the_audit_says_who(
    client_with: ClientWith, pool: Pool
) -> None:
    """Each time in one answer, which is kept nowhere; what was sent verbatim may name it, and is shown with it."""
    seat = await reader(client_with)
    row = await lookup(pool, final_status="found")
    await pool.execute("UPDATE events SET body = $1", f"{HOSTILE}{MOBILE}".encode())
    done = await finished_job(pool, lookup_id=row["id"], raw=f"raw {MOBILE}")
    await pool.execute(
        "INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict)"
        " VALUES ($1, 'x', 'nyne', $2, $3, 'applied')",
        done["id"], row["id"], f"called {MOBILE}".encode(),
    )  # fmt: skip
    await delivery(pool, "delivered", lookup_id=row["id"], answer=f"got {MOBILE}")
    address = f"/lookups/{row['id']}"

    masked = await seat.page(address)
    revealed = await seat.form(address, {"do": "reveal"})
    again = await seat.page(address)

    for page in (masked, again):
        assert "+15•••••••67" in page
        assert "4567" not in page.replace("name@company", "")
    page = shown(revealed)
    assert all(text in page for text in (f"raw {MOBILE}", f"called {MOBILE}", f"got {MOBILE}", "+1-555-123-4567"))
    assert f'<pre tabindex="0">{html.escape(HOSTILE, quote=False)}{MOBILE}</pre>' in page
    assert HOSTILE not in page
    assert flaws(page) == []
    assert revealed.headers["cache-control"] == "no-store"
    assert await acts(pool) == [("ann", "reveal", str(row["id"]))]
    assert "ann looked at the number" in again


async def test_what_others_wrote_is_shown_as_text(client: Client, pool: Pool) -> None:
    """In every field of the contact, in reasons, errors and what a person wrote."""
    row = await lookup(
        pool, final_status="failed", name=HOSTILE, company=HOSTILE, record_id=HOSTILE, reason=HOSTILE,
        problems=f'[["{HOSTILE}", "{HOSTILE}"]]',
    )  # fmt: skip
    await finished_job(pool, "failed", lookup_id=row["id"], error=HOSTILE, request_id=HOSTILE)
    await delivery(pool, "given_up", lookup_id=row["id"], reason=HOSTILE, error=HOSTILE)

    page = await (await seated(client)).page(f"/lookups/{row['id']}")

    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 8


@pytest.mark.parametrize(
    ("state", "decision", "then", "said"),
    [
        ("failed", "retry", "queued", "retried"),
        ("unresolved", "retry", "queued", "retried-doubtful"),
        ("found", "wrong_number", "not_found", "number-wrong"),
        ("held", "release", "queued", "released"),
        ("held", "cancel", "cancelled", "cancelled"),
        ("failed", "cancel", "cancelled", "cancelled"),
    ],
)
async def test_a_decision_is_offered_with_its_consequence_and_done(
    client_with: ClientWith, pool: Pool, state: str, decision: str, then: str, said: str
) -> None:
    """The page names the credits, and who may charge again; then it says what was done, and the audit who did it."""
    seat = await reader(client_with, "read+operate")
    if state == "held":
        id = (await job(pool, held="flood"))["lookup_id"]
    else:
        id = (await lookup(pool, final_status=state, providers=["nyne"]))["id"]
        job_state = {"found": "answered", "failed": "failed", "unresolved": "unknown"}[state]
        await finished_job(pool, job_state, lookup_id=id)
    address = f"/lookups/{id}"

    before = await seat.page(address)
    ended = {"ended": field(before, "ended")} if decision in ("retry", "wrong_number") else {}
    answer = await seat.form(address, {"do": decision} | ended)

    assert f'value="{decision}"' in before
    assert ("nyne was perhaps charged already" in before) == (state == "unresolved")
    assert (answer.status, answer.headers["location"]) == (303, f"{address}?said={said}")
    assert 'role="status"' in await seat.page(answer.headers["location"])
    assert await status(pool, id) == then
    assert await acts(pool) == [("ann", "retry" if decision == "wrong_number" else decision, str(id))]


async def test_a_delivery_is_sent_again(client: Client, pool: Pool) -> None:
    """One of this lookup: another's is unknown here, and so is a text that is no id. A second form comes too late."""
    seat = await seated(client)
    sent, others = [await delivery(pool, "given_up") for _ in range(2)]
    address = f"/lookups/{sent['lookup_id']}"

    wrong = [await seat.form(address, {"do": "replay", "delivery": one}) for one in (str(others["id"]), "x")]
    answer, again = [await seat.form(address, {"do": "replay", "delivery": str(sent["id"])}) for _ in range(2)]

    assert again.status == 409
    assert [one.status for one in wrong] == [404, 404]
    assert answer.headers["location"] == f"{address}?said=sent-again"
    assert [row[0] for row in await pool.fetch("SELECT state FROM deliveries ORDER BY id")] == ["queued", "given_up"]


async def test_a_decision_that_came_too_late_shows_what_is_so_now(client: Client, pool: Pool) -> None:
    """Nothing is done, nothing recorded; the page has the status, and what can be decided about it."""
    seat = await seated(client)
    row = await lookup(pool, final_status="not_found")
    running = await job(pool, "awaiting")

    late = shown(await seat.form(f"/lookups/{row['id']}", {"do": "cancel"}), 409)
    asked = shown(await seat.form(f"/lookups/{running['lookup_id']}", {"do": "cancel"}), 409)

    assert "The lookup is not found now" in late
    assert flaws(late) == []
    assert "will be paid for" in asked
    assert await acts(pool) == []


async def test_who_may_read_may_not_decide(client_with: ClientWith, pool: Pool) -> None:
    """No button is shown, and a form is refused with what is missing."""
    seat = await reader(client_with)
    row = await lookup(pool, final_status="failed")
    await delivery(pool, "given_up", lookup_id=row["id"])
    address = f"/lookups/{row['id']}"

    page = await seat.page(address)
    refused = shown(await seat.form(address, {"do": "retry"}), 403)

    assert re.findall(r'name="do" value="(\w+)"', page) == ["reveal"]
    assert "<code>operate</code>" in page
    assert "<code>operate</code>" in refused
    assert await status(pool, row["id"]) == "failed"


@pytest.mark.parametrize("decision", ["reveal", "retry"])
async def test_a_form_from_elsewhere_is_refused(client: Client, pool: Pool, decision: str) -> None:
    """Another site that the browser has open can neither look nor decide."""
    seat = await seated(client)
    row = await lookup(pool, final_status="failed")

    answer = await seat.form(f"/lookups/{row['id']}", {"do": decision}, ELSEWHERE)

    assert answer.status == 403
    assert await acts(pool) == []
    assert (await seat.form("/lookups", {"q": "jane@acme.co"}, ELSEWHERE)).status == 403


async def test_an_unknown_lookup_is_a_page(client: Client, pool: Pool) -> None:
    """For an id that is none as well; nothing of it can be revealed, so nothing is recorded."""
    seat = await seated(client)
    unknown = f"/lookups/{uuid7()}"

    for answer in (await seat.get(unknown), await seat.get("/lookups/x"), await seat.form(unknown, {"do": "reveal"})):
        assert "There is no such lookup" in shown(answer, 404)
    assert (await seat.form(unknown, {"do": "nonsense"})).status == 422
    assert await acts(pool) == []


@pytest.mark.parametrize(("final_status", "follows"), [(None, True), ("found", False)])
async def test_the_page_of_an_open_lookup_follows_it(
    client: Client, pool: Pool, final_status: str | None, follows: bool
) -> None:
    """It asks for itself again until there is a result; a page that shows what was revealed never does."""
    seat = await seated(client)
    row = await lookup(pool, final_status=final_status)
    address = f"/lookups/{row['id']}"

    page = await seat.page(address)
    revealed = (await seat.form(address, {"do": "reveal"})).body.decode()

    assert (f'data-hx-get="{address}"' in page) is follows
    assert "data-hx-get" not in revealed
