"""How a job ends by a provider's answer: the database refuses no ending, and nothing is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment.ending import NEEDS_REGION, NO_PHONE, Ending, read_ending
from enrichment.outcome import Answered, Forgotten, Outcome, Refused, Unclear, Unreadable
from tests.factories import job
from tests.wishes import finish_jobs

if TYPE_CHECKING:
    from tests.wishes import Pool

ID = UUID(int=1)
nasty = st.text(max_size=50) | st.sampled_from(["\0", "a\0b", "\ud800", "x" * 100_000, "+49 30 1234567890123456"])
sums = st.decimals(allow_nan=True, allow_infinity=True) | st.sampled_from([Decimal("4.999"), Decimal("1e308")])


def ends(outcome: Any, region: str | None = None, price: Decimal = Decimal(3), **more: Any) -> Ending:
    """How a job ends by *outcome*."""
    ending = read_ending(outcome, ID, answered_by="poll", price=price, region=region, **more)
    assert ending is not None
    return ending


def test_a_number_of_more_than_15_digits_is_kept_and_no_number() -> None:
    """A "+49 30 123456 (mobile)" was once read with its letters dialled, into 18 digits."""
    read, too_long = ends(Answered("+49 30 123456 (mobile)")), ends(Answered("+49 30 1234567890123456"))

    assert (read.mobile, read.error) == ("+4930123456", None)
    assert (too_long.mobile, too_long.mobile_raw) == (None, "+49 30 1234567890123456")
    assert (too_long.error, too_long.charged, too_long.needs_region) == (NO_PHONE, Decimal(3), False)


def test_a_national_number_without_a_region_keeps_its_text_and_its_charge() -> None:
    """The reason says what is missing, so that a later event with the region reads the paid text."""
    ending = ends(Answered("415-555-0132"))

    assert (ending.state, ending.mobile, ending.mobile_raw) == ("answered", None, "415-555-0132")
    assert (ending.needs_region, ending.error, ending.charged) == (True, NEEDS_REGION, Decimal(3))
    assert ends(Answered(ending.mobile_raw), "US").mobile == "+14155550132"


def test_a_landline_counts_only_where_no_mobile_can_be_read() -> None:
    """A mobile goes first, even if it is only possible; an unreadable one falls back to the landline."""
    landline = "+4930123456"

    assert ends(Answered("+1 555 123 4567", second_choice=landline)).mobile == "+15551234567"
    assert ends(Answered("+49 151 2345 XXXX", second_choice=landline)).mobile == landline
    assert ends(Answered("0151 23456789", second_choice=landline)).mobile == landline
    assert ends(Answered("0151 23456789", second_choice=landline), "DE").mobile == "+4915123456789"


@pytest.mark.parametrize(
    ("said", "charged"),
    [("4.999", "5"), ("0.004", "0"), ("1e308", "1000000000"), ("NaN", "0"), ("-5", "0"), ("Infinity", "1000000000")],
)
def test_a_charge_is_one_that_the_ledger_holds(said: str, charged: str) -> None:
    """Cents, not negative, at most ten digits; a price with three decimals as well."""
    assert ends(Answered("+14155550132", Decimal(said))).charged == Decimal(charged)
    assert ends(Answered("+14155550132"), price=Decimal(said)).charged == Decimal(charged)


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=nasty, other=nasty, charge=sums | st.none(), body=st.binary(max_size=50))
def test_every_text_and_sum_becomes_one_that_the_database_takes(
    text: str, other: str, charge: Decimal | None, body: bytes
) -> None:
    """Lengths are bounded, and neither NUL nor half a surrogate pair is left."""
    outcomes = [
        Answered(text, charge, request_id=other, second_choice=other),
        Refused(text, other),
        Unreadable(text),
        Unclear(text),
        Forgotten(text),
    ]
    for outcome in outcomes:
        ending = ends(outcome, "DE", body=body * 10_000)
        assert len(ending.error or "") <= 500
        assert len(ending.raw or "") <= 65_536
        assert len(ending.mobile_raw or "") <= 200
        assert len(ending.request_id or "") <= 200
        for value in (ending.error, ending.raw, ending.mobile_raw, ending.request_id):
            assert "\0" not in (value or "").encode().decode()
        assert ending.charged is None or 0 <= ending.charged == round(ending.charged, 2) < 10**10


async def test_one_odd_answer_does_not_take_its_neighbours_along(db: Pool) -> None:
    """A batch of endings is one statement: a value that a CHECK refused would drop the paid answers beside it."""
    odd: list[Outcome] = [
        Answered("+49 30 123456 (mobile)", Decimal("4.999"), request_id="r" * 300),
        Answered("+49 30 1234567890123456", Decimal("0.004")),
        Answered("\0+1 555 123 4567", Decimal("NaN"), request_id="a\0b"),
        Refused("no\0", "\ud800"),
        Unreadable("x" * 100_000),
    ]
    rows = [await job(db, "submitting") for _ in odd]
    endings = [
        read_ending(said, row["id"], answered_by="inline", price=Decimal("4.999"), region=None, body=b"\0" * 70_000)
        for said, row in zip(odd, rows, strict=True)
    ]

    ended = await finish_jobs(db, [ending for ending in endings if ending])

    assert len(ended) == len(odd)
