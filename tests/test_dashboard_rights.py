"""Suppressions in the dashboard, and the erasure of a person in two steps; no address names a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from receiver.dashboard import suppressions
from store import audit
from tests.conftest import TOKEN, ClientWith
from tests.pages import flaws, words
from tests.seat import Seat, seated
from tests.wishes import status, take_one

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.wishes import Pool

ADMIN = f"ann:read+operate+admin:{TOKEN},eyes:read:of-eyes"
HOSTILE = '"><script>alert(1)</script>'
JANE = {"work_email": "jane@acme.co", "profile_url": "linkedin.com/in/janedoe"}


@pytest.fixture
async def seat(client_with: ClientWith) -> Seat:
    """Provide the browser of an admin called ann."""
    return await seated(await client_with(api_tokens=ADMIN))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("email", "Jane <JANE@acme.co>"), ("domain", "*.acme.co"), ("profile", "linkedin.com/in/janedoe")],
)
async def test_a_person_is_suppressed(seat: Seat, pool: Pool, kind: str, value: str) -> None:
    """A waiting lookup ends, the list has kind, note and author but no value, and a second time is no error."""
    jane = await take_one(pool, **JANE)

    answers = [
        await seat.form("/suppressions", {"kind": kind, "value": value, "note": f"by phone {HOSTILE}"})
        for _ in range(2)
    ]

    assert [one.headers["location"] for one in answers] == [
        "/suppressions?said=suppressed", "/suppressions?said=suppressed-already",
    ]  # fmt: skip
    assert await status(pool, jane.id) == "suppressed"
    page = await seat.page("/suppressions?said=suppressed")
    assert flaws(page) == []
    assert HOSTILE not in page
    assert re.search(rf"{kind} 20\d\d-\S+ \S+ ann by phone", words(page))
    assert "acme" not in page
    assert "janedoe" not in page


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "email", "value": HOSTILE}, "like name@company.tld"),
        ({"kind": "number", "value": "12"}, "One number with its country code"),
        ({"kind": "x", "value": "jane@acme.co"}, "One of email, profile, domain, number."),
        ({"kind": "email", "value": "jane@acme.co", "note": "x" * 501}, "At most 500 characters."),
        ({}, "One of email"),
    ],
)
async def test_what_cannot_be_suppressed_is_said_at_its_field(
    seat: Seat, pool: Pool, fields: dict[str, str], says: str
) -> None:
    """422, with what was typed still there; nothing is stored."""
    answer = await seat.form("/suppressions", fields)

    page = answer.body.decode()
    assert answer.status == 422
    assert says in words(page)
    assert 'aria-invalid="true"' in page
    assert HOSTILE not in page
    assert flaws(page) == []
    assert await pool.fetchval("SELECT count(*) FROM suppressions") == 0


async def test_a_suppression_is_removed(seat: Seat, pool: Pool) -> None:
    """By its button; twice, or an unknown one, is no error."""
    await seat.form("/suppressions", {"kind": "number", "value": "+1 555 123 4567"})
    action = re.search(r'action="(/suppressions/[^/"]+/remove)"', await seat.page("/suppressions"))
    assert action is not None

    answers = [await seat.form(action[1], {}) for _ in range(2)]

    assert [one.headers["location"] for one in answers] == [
        "/suppressions?said=unsuppressed", "/suppressions?said=unsuppressed-already",
    ]  # fmt: skip
    assert await pool.fetchval("SELECT count(*) FROM suppressions") == 0
    assert [one["action"] for one in await audit.page(pool, None, 5)] == ["unsuppress", "suppress"]


async def test_an_erasure_shows_what_there_is_before_it_erases(seat: Seat, pool: Pool) -> None:
    """The first form changes nothing; the second erases what the first one found, in its normal form."""
    jane, other = await take_one(pool, **JANE), await take_one(pool, work_email="joe@acme.co")
    given = {"email": "Jane <JANE@acme.co>", "profile": "", "number": " ", "suppress": "yes"}

    found = (await seat.form("/suppressions/find", given)).body.decode()

    assert flaws(found) == []
    assert "1 lookup 1 event 0 numbers" in words(found)
    assert "It cannot be undone." in found
    assert await pool.fetchval("SELECT count(*) FROM lookups") == 2
    assert await pool.fetchval("SELECT count(*) FROM suppressions") == 0
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found))
    assert fields == {"email": "jane@acme.co", "suppress": "yes"}

    done = await seat.form("/suppressions/erase", fields)

    assert done.status == 200
    assert "Erased 1 lookup 1 event 1 search" in words(done.body.decode())
    assert "Suppressed: 1." in words(done.body.decode())
    assert flaws(done.body.decode()) == []
    assert [row["id"] for row in await pool.fetch("SELECT id FROM lookups")] == [other.id]
    assert jane.id != other.id
    (entry,) = await audit.page(pool, None, 5)
    assert (entry["who"], entry["action"], entry["detail"]) == ("ann", "erase", {"by": ["email"], "suppress": True})
    # Its suppression has no entry of its own in the audit.
    assert re.search(r"email 20\d\d-\S+ \S+ an erasure", words(await seat.page("/suppressions")))


async def test_who_is_not_there_can_be_suppressed_nevertheless(seat: Seat, pool: Pool) -> None:
    """Nothing found is said, before and after, and does nothing else."""
    found = (await seat.form("/suppressions/find", {"number": "+1 555 123 4567"})).body.decode()
    done = await seat.form("/suppressions/erase", {"number": "+15551234567"})

    assert "Nothing holds one of these values." in words(found)
    assert "another event of this person is asked about again" in words(found)
    assert "There was nothing to erase" in words(done.body.decode())
    assert await pool.fetchval("SELECT count(*) FROM suppressions") == 0


@pytest.mark.parametrize("path", ["/suppressions/find", "/suppressions/erase"])
@pytest.mark.parametrize("fields", [{}, {"email": " "}, {"email": "x", "number": "+15551234567"}])
async def test_whom_to_erase_must_be_clear(seat: Seat, pool: Pool, path: str, fields: dict[str, str]) -> None:
    """Nobody, or one value that cannot be read: 422, and nothing is erased."""
    jane = await take_one(pool, **JANE)

    answer = await seat.form(path, fields)

    assert answer.status == 422
    assert flaws(answer.body.decode()) == []
    assert await pool.fetchval("SELECT id FROM lookups") == jane.id
    assert await audit.page(pool, None, 5) == []


async def test_too_much_to_count_is_said(seat: Seat, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor does not wait for ever: the page says what to do, and can go on without the count."""
    monkeypatch.setattr(suppressions, "COUNTED_FOR", 0.05)
    async with pool.acquire() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE lookups IN ACCESS EXCLUSIVE MODE")

        answer = await seat.form("/suppressions/find", {"email": "jane@acme.co"})

    assert "There is too much to count it" in words(answer.body.decode())
    assert "Erase for ever" in words(answer.body.decode())


async def test_suppressions_are_paged(seat: Seat, pool: Pool) -> None:
    """Newest first; past the last one the page leads back."""
    for number in range(3):
        await seat.form("/suppressions", {"kind": "domain", "value": f"acme{number}.co", "note": f"note {number}"})

    first = await seat.page("/suppressions?limit=2")
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None
    second = await seat.page(older[1])
    last = await seat.page("/suppressions?cursor=AAAAAAAAAAAAAAAAAAAAAA")

    assert re.findall(r"note (\d)", first) == ["2", "1"]
    assert re.findall(r"note (\d)", second) == ["0"]
    assert "There are no older ones." in words(last)


async def test_who_may_only_look_has_no_forms(client_with: ClientWith) -> None:
    """Nor does a token that may decide, but not erase, have the form for it; the empty list says what to do."""
    client = await client_with(api_tokens=f"eyes:read:of-eyes,hand:read+operate:{TOKEN}")

    eyes = await (await seated(client, "of-eyes")).page("/suppressions")
    hand = await (await seated(client)).page("/suppressions")

    assert re.findall(r'action="(/suppressions[^"]*)"', eyes) == []
    assert "your token lacks the scope operate" in words(eyes)
    assert re.findall(r'action="(/suppressions[^"]*)"', hand) == ["/suppressions"]
    assert "Nobody is suppressed." in words(hand)


async def test_no_address_of_these_pages_names_a_person(client: Client) -> None:
    """A value in the address is not read: forms alone carry one."""
    page = await (await seated(client)).page("/suppressions?email=jane@acme.co&value=jane@acme.co&kind=email")

    assert "jane" not in page
