"""A form of the dashboard decides once, and about what its page showed: no click pays for what nobody has seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.seat import Seat, seated
from tests.wishes import MOBILE, OTHER_MOBILE, decide, end, status, take_one

RETRY = {"action": "retry", "status": "failed"}

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.wishes import Pool


def decision(page: str, name: str) -> dict[str, str]:
    """Return the fields that the form of this decision sends."""
    (form,) = [one for one in page.split("<form ")[1:] if f'name="do" value="{name}"' in one]
    return {"do": name} | dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.partition("</form>")[0]))


@pytest.fixture
async def seat(client: Client) -> Seat:
    """Provide a browser that is logged in."""
    return await seated(client)


async def test_a_form_that_was_sent_twice_does_not_refuse_the_next_number(db: Pool, seat: Seat) -> None:
    """The second "The number is wrong" of one page, a double click's or another tab's, is not about the new number."""
    one = await take_one(db, work_email="ada@acme.dev", providers=("leadmagic", "nyne"))
    await end(db, one.id, mobile=MOBILE)
    address = f"/lookups/{one.id}"
    form = decision(await seat.page(address), "wrong_number")

    first = await seat.form(address, form)
    await end(db, one.id, mobile=OTHER_MOBILE)
    second = await seat.form(address, form)

    assert (first.status, second.status) == (303, 409)
    assert await status(db, one.id) == "found"
    assert await db.fetchval("SELECT refused FROM lookups") == [MOBILE]


async def test_a_form_that_was_sent_twice_asks_once(db: Pool, seat: Seat) -> None:
    """A retry fails at once; the second click of the same page does not ask, and pay, again. A new page may."""
    one = await take_one(db, work_email="ada@acme.dev")
    await end(db, one.id, state="failed")
    address = f"/lookups/{one.id}"
    form = decision(await seat.page(address), "retry")

    first = await seat.form(address, form)
    await end(db, one.id, state="failed")
    again = [await seat.form(address, form), await seat.form(address, {"do": "retry"})]
    looked = await seat.form(address, decision(await seat.page(address), "retry"))

    assert [first.status, *(one.status for one in again), looked.status] == [303, 409, 409, 303]
    assert await db.fetchval("SELECT count(*) FROM audit WHERE action = 'retry'") == 2


async def test_a_selection_retries_no_lookup_that_was_retried_meanwhile(db: Pool, seat: Seat) -> None:
    """Two people preview the same failed lookup; the second one's selection leaves it alone when it failed again."""
    one = await take_one(db, work_email="ada@acme.dev")
    await end(db, one.id, state="failed")
    first, second = [(await seat.form("/lookups/selection", RETRY)).headers["location"] for _ in range(2)]

    assert (await seat.form(first, {})).status == 303
    await decide(db)
    await end(db, one.id, state="failed")
    assert (await seat.form(second, {})).status == 303

    assert "Applied to 1 of 1" in await seat.page(first)
    assert "Applied to 0 of 1" in await seat.page(second)
    assert await status(db, one.id) == "failed"
