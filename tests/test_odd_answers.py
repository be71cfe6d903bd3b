"""Odd texts of vendors, from question to lookup: each test is named after what one once broke."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.ending import NEEDS_REGION, NO_PHONE
from tests.asgi import Client
from tests.at_work import AtWork, due_now, ended, wish_for
from tests.called_back import call_back, found, lookup_of, verdicts
from tests.factories import job
from tests.fake_provider import FakeProvider, Reply, completed
from tests.fake_provider import found as found_by_leadmagic
from tests.waiting_jobs import overdue
from tests.wishes import job_of, read, status

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.wishes import Pool

GATEWAY = b"<html><h1>502 Bad Gateway</h1></html>"


def says(mobile: Any, credits: Any = 5) -> Reply:
    """LeadMagic's 200 with this in the number's place."""
    return Reply(200, {"mobile_number": mobile, "credits_consumed": credits, "message": "Mobile number found."})


async def sums(world: AtWork) -> tuple[Any, ...]:
    """Reserved, charged and possibly charged, by the sums."""
    row = await world.pool.fetchrow("SELECT sum(reserved), sum(charged), sum(possible) FROM usage")
    return tuple(row or ())


@pytest.mark.parametrize(("credits", "charged"), [(4.999, 5), (0.004, 0), (-5, 5), ("5", 5), (True, 5), (1e308, 5)])
async def test_credits_that_the_ledger_cannot_hold_drop_no_answer(
    world: AtWork, fake: FakeProvider, credits: Any, charged: int
) -> None:
    """They are rounded to cents; where they are no sum the price stands. The neighbour's answer is kept as well."""
    odd, neighbour = await wish_for(world, work_email="a@acme.co"), await wish_for(world, work_email="b@acme.co")
    fake.questions.extend([says("+1-415-555-0132", credits), found_by_leadmagic("+1-415-555-0199")])

    await world.ask("leadmagic")

    assert {await status(world.pool, odd), await status(world.pool, neighbour)} == {"found"}
    assert await sums(world) == (0, charged + 5, 0)


@pytest.mark.parametrize("price", [Decimal("4.999"), Decimal("4.994"), Decimal("0.001")])
async def test_a_price_with_three_decimals_leaks_no_reservation(
    start: Start, fake: FakeProvider, price: Decimal
) -> None:
    """A reservation is released to the cent."""
    async with start(leadmagic_credits_per_found=price) as world:
        await wish_for(world, work_email="a@acme.co")
        await wish_for(world, work_email="b@acme.co")
        fake.questions.extend([Reply(504), says(None, 0)])

        await world.ask("leadmagic")

        assert await sums(world) == (0, 0, price.quantize(Decimal("0.01")))


@pytest.mark.parametrize(
    ("mobile", "number"),
    [
        ("+49 30 123456 (mobile)", "+4930123456"),
        (14155550132, "+14155550132"),
        (["12345", "+1-415-555-0132"], "+14155550132"),
        ([{"number": "+4930123456", "type": "landline"}, {"number": "+4915123456789", "type": "mobile"}],
         "+4915123456789"),
        ("+14155550132 / +14155550199", "+14155550132"),
    ],
)  # fmt: skip
async def test_whatever_holds_a_number_is_found(world: AtWork, fake: FakeProvider, mobile: Any, number: str) -> None:
    """A paid number is found in every form that holds it."""
    lookup_id = await wish_for(world)
    fake.questions.append(says(mobile))

    await world.ask("leadmagic")

    told = await read(world.pool, lookup_id)
    assert (told["status"], told["mobile"], told["credits"]) == ("found", number, 5)


@pytest.mark.parametrize(
    ("mobile", "reason"),
    [
        ("+1 (415) XXX-XXXX", NO_PHONE),
        ("+49 30 1234567890123456", NO_PHONE),
        ("+10000000000", NO_PHONE),
        ("(415) 555-0132", NEEDS_REGION),
        ("ask reception", NO_PHONE),
    ],
)
async def test_what_cannot_be_used_is_kept_and_says_so(
    world: AtWork, fake: FakeProvider, mobile: str, reason: str
) -> None:
    """The charge stands, the lookup is not found with the reason, and the text is kept as it was written."""
    lookup_id = await wish_for(world)
    fake.questions.append(says(mobile))

    await world.ask("leadmagic")

    told = await read(world.pool, lookup_id)
    assert (told["status"], told["mobile"], told["credits"]) == ("not_found", None, 5)
    assert (told["mobile_raw"], told["reason"]) == (mobile, f"leadmagic: {reason}")


@pytest.mark.parametrize(
    "word", ["N/A", "null", "-", "Not found", "No mobile number found", "0000000000", False, [], -1, "not_found"]
)
async def test_a_word_for_nothing_is_no_number_and_costs_nothing(world: AtWork, fake: FakeProvider, word: Any) -> None:
    """By LeadMagic's answer and by Nyne's poll."""
    by_leadmagic, by_nyne = await wish_for(world), await overdue(world)
    fake.questions.append(says(word, 0))
    fake.polls.append(completed("req-1", word))

    await world.ask("leadmagic")
    await world.poller.poll_once()

    for lookup_id in (by_leadmagic, by_nyne["lookup_id"]):
        told = await read(world.pool, lookup_id)
        assert (told["status"], told["credits"]) == ("not_found", 0)


async def test_a_gateway_s_page_under_502_is_not_asked_again(world: AtWork, fake: FakeProvider) -> None:
    """Only LeadMagic knows whether the question was charged; its own JSON says that it was not."""
    lookup_id = await wish_for(world)
    own = {"success": False, "errors": [{"title": "External error", "status": 502, "code": "EXTERNAL_ERROR"}]}
    fake.questions.extend([Reply(502, own), Reply(502, GATEWAY)])

    await world.ask("leadmagic")
    assert await status(world.pool, lookup_id) == "running"
    await due_now(world)
    await world.ask("leadmagic")

    assert await status(world.pool, lookup_id) == "unresolved"
    assert await ended(world, lookup_id) == [("leadmagic", "unknown", 0, 5)]
    assert len(fake.paid) == 2


async def test_a_completed_answer_that_cannot_be_read_keeps_its_request_id(world: AtWork, fake: FakeProvider) -> None:
    """The job is known, so it is polled, and the poll may be readable."""
    lookup_id = await wish_for(world, "nyne")
    odd = {"request_id": "req-1", "status": "completed", "result": {"channels": {"signal": "+1-415-555-0132"}}}
    fake.questions.append(Reply(202, {"success": True, "data": odd}))
    fake.polls.append(completed("req-1", "+1-415-555-0132"))

    await world.ask("nyne")
    waiting = await job_of(world.pool, lookup_id)
    await world.pool.execute("UPDATE jobs SET due_at = now()")
    await world.poller.poll_once()

    assert waiting is not None
    assert (waiting["state"], waiting["request_id"]) == ("awaiting", "req-1")
    assert "signal" in waiting["raw"]
    assert await status(world.pool, lookup_id) == "found"


async def test_one_odd_poll_does_not_hold_up_the_others(world: AtWork, fake: FakeProvider) -> None:
    """Its number was read as 18 digits once, and took all answers of the sweep along."""
    rows = [await overdue(world) for _ in range(3)]
    fake.polls.extend(completed("req-1", mobile) for mobile in ("+49 30 1234567890123456", "N/A", "+14155550132"))

    await world.poller.poll_once()

    statuses = [await status(world.pool, row["lookup_id"]) for row in rows]
    assert sorted(str(status) for status in statuses) == ["found", "not_found", "not_found"]


@pytest.mark.parametrize(
    ("mobile", "final", "number"),
    [
        ("+49 30 123456 (mobile)", "found", "+4930123456"),
        ("+49 30 1234567890123456", "not_found", None),
        ("N/A", "not_found", None),
        ("+1 415 555 0132\0", "found", "+14155550132"),
    ],
)
async def test_a_callback_of_any_text_is_stored_and_applied(
    client: Client, pool: Pool, mobile: str, final: str, number: str | None
) -> None:
    """It was a 500 once, and nothing was stored."""
    row = await job(pool, "awaiting")

    answer = await call_back(client, row, found(row["request_id"], mobile))

    told = await lookup_of(pool, row)
    assert (answer.status, told["final_status"], told["mobile"]) == (200, final, number)
    assert await verdicts(pool) == ["applied"]
