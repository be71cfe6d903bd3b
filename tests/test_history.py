"""The figures of the page "Over time", on a history that one can count by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from enrichment.settings import SOURCE_NAMES
from store import history
from store.history import Credits, History, Lookups, Questions, Span, Waits, read_history
from tests.some_history import NOW, TODAY, YESTERDAY, make_week

if TYPE_CHECKING:
    from tests.wishes import Pool

WEEK = Span.of_days(7, NOW)
YESTERDAYS, TODAYS = str(YESTERDAY), str(TODAY)


async def read(pool: Pool, provider: str | None = None, source: str | None = None) -> History:
    """Read the figures of the week."""
    return await read_history(pool, WEEK, sources=SOURCE_NAMES, provider=provider, source=source)


@pytest.fixture
async def week(db: Pool) -> Pool:
    """Provide a database with the week."""
    await make_week(db)
    return db


async def test_lookups_count_when_they_were_created_and_by_how_they_ended(week: Pool) -> None:
    """Each ended lookup of the span counts once; an open one and one of the day before do not."""
    told = (await read(week)).lookups

    assert told == {
        "period": {YESTERDAYS: Lookups(found=3, not_found=1), TODAYS: Lookups(found=1, unresolved=1, cancelled=1)},
        "source": {
            "generic": Lookups(found=3, cancelled=1),
            "hubspot": Lookups(found=1, not_found=1, unresolved=1),
        },
        "all": {"": Lookups(found=4, not_found=1, unresolved=1, cancelled=1)},
    }


async def test_a_cancelled_lookup_lowers_no_rate(week: Pool) -> None:
    """The found rate is of the lookups that nobody stopped."""
    told = (await read(week)).lookups["all"][""]

    assert told.tried == 6
    assert told.rate == pytest.approx(4 / 6)
    assert Lookups(cancelled=1).rate is None


async def test_questions_count_with_their_lookup(week: Pool) -> None:
    """By provider, period and place in the chain; a number counts for the question whose number the lookup has."""
    told = (await read(week)).questions

    assert told["provider"] == {
        "leadmagic": Questions(asked=5, inline=4, callback=1, numbers=2, charged=Decimal(16)),
        "nyne": Questions(asked=3, callback=1, poll=1, numbers=1, charged=Decimal(3), possible=Decimal(3)),
    }
    assert told["period"] == {
        YESTERDAYS: Questions(asked=5, inline=3, callback=1, poll=1, numbers=2, charged=Decimal(9)),
        TODAYS: Questions(asked=3, inline=1, callback=1, numbers=1, charged=Decimal(10), possible=Decimal(3)),
    }
    assert told["all"][""].cost == Decimal(19) / 3


async def test_a_place_is_the_turn_within_one_search(week: Pool) -> None:
    """A provider asked again after a retry is first in the new search."""
    told = (await read(week)).questions["place"]

    assert told == {
        "1": Questions(asked=6, inline=4, callback=1, numbers=2, charged=Decimal(16), possible=Decimal(3)),
        "2": Questions(asked=2, callback=1, poll=1, numbers=1, charged=Decimal(3)),
    }


async def test_a_place_stays_when_one_provider_is_asked_for(week: Pool) -> None:
    """A filter hides the questions before it; it does not make the second the first."""
    told = (await read(week, provider="nyne")).questions

    assert {name: place.asked for name, place in told["place"].items()} == {"1": 1, "2": 2}
    assert set(told["provider"]) == {"nyne"}


async def test_waits_are_of_lookups_that_asked(week: Pool) -> None:
    """Quantiles are interpolated; a lookup that took another's answer waited for nobody."""
    told = (await read(week)).waits

    every, yesterday = told["all"][""], told["period"][YESTERDAYS]
    assert (every.numbers, every.reused, every.half) == (3, 1, 10.0)
    assert (yesterday.numbers, yesterday.reused, yesterday.half) == (2, 1, 6.0)
    assert [every.most, yesterday.most] == pytest.approx([91, 9.6])
    assert told["provider"]["nyne"] == Waits(numbers=1, half=10, most=10)
    assert told["source"]["hubspot"] == Waits(reused=1)
    assert set(told["provider"]) == {"leadmagic", "nyne"}


async def test_credits_count_on_the_day_of_their_budget(week: Pool) -> None:
    """Charged and possible are those of the span; reserved is what is reserved now."""
    told = await read(week)

    assert told.credits == {
        "period": {
            YESTERDAYS: Credits(Decimal(9), Decimal(0)),
            TODAYS: Credits(Decimal(10), Decimal(3)),
        },
        "all": {"": Credits(Decimal(19), Decimal(3))},
    }
    assert told.reserved == 3


async def test_a_source_alone(week: Pool) -> None:
    """Every figure is of the source that is asked for."""
    told = await read(week, source="hubspot")

    assert told.lookups["all"][""] == Lookups(found=1, not_found=1, unresolved=1)
    assert told.questions["all"][""] == Questions(
        asked=3, inline=1, poll=1, charged=Decimal(1), possible=Decimal(3)
    )  # fmt: skip
    assert told.credits["all"][""] == Credits(Decimal(1), Decimal(3))
    assert told.reserved == Decimal(0)
    assert told.questions["all"][""].cost is None


async def test_a_database_without_lookups(db: Pool) -> None:
    """Nothing to count is no error."""
    told = await read(db)

    assert told.lookups == {}
    assert (told.questions["all"][""], told.waits["all"][""]) == (Questions(), Waits())
    assert (told.credits["all"][""], told.reserved, told.share) == (Credits(), Decimal(0), 1.0)


async def test_many_lookups_are_counted_exactly_and_their_rows_sampled(
    db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the most, rows are read from a share of the pages; the share is what was asked for."""
    await db.execute(
        """
        INSERT INTO lookups (id, event_id, source, work_email, providers, keys, identifiers, search_id, created_at,
                             final_status, finished_at, mobile, provider)
        SELECT new_id(), new_id(), 'generic', number || '@acme.co', '{nyne}', ARRAY[decode(md5(number::text), 'hex')],
               ARRAY[decode(md5(number::text), 'hex')], new_id(), now(), 'found', now() + number % 100 * interval '1 s',
               '+15551234567', 'nyne'
          FROM generate_series(1, 5000) AS numbers (number)
        """
    )

    monkeypatch.setattr(history, "MOST", 1000)

    told = await read(db)

    assert told.share == 0.2
    assert told.lookups["all"][""].found == 5000
    sampled = told.waits["all"][""]
    assert 500 < sampled.numbers < 1500
    assert sampled.half == pytest.approx(50, abs=10)


async def test_a_sample_of_one_quiet_week_reads_few_pages_of_its_month(
    db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share falls with the lookups that the planner knows of in these months, however few the span has."""
    monkeypatch.setattr(history, "MOST", 1)
    monkeypatch.setattr(history, "MOST_PAGES_OF", 1)
    await make_week(db)
    await db.execute("ANALYZE")

    assert (await read(db)).share == pytest.approx(1 / 11, abs=0.03)


async def test_a_slow_statement_is_given_up(week: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends it, long before the deadline of all statements."""
    monkeypatch.setattr(history, "PATIENCE", "SET LOCAL statement_timeout = '20ms'")

    async with week.acquire(timeout=5) as other, other.transaction():
        await other.execute("LOCK TABLE finished_jobs")
        with pytest.raises(asyncpg.QueryCanceledError):
            await read(week)


@pytest.mark.parametrize(
    ("count", "first"), [(1, (2026, 3)), (3, (2026, 1)), (4, (2025, 12)), (12, (2025, 4)), (15, (2025, 1))]
)
def test_months_begin_where_the_calendar_says(count: int, first: tuple[int, int]) -> None:
    """The last of them is this one, in UTC."""
    span = Span.of_months(count, datetime(2026, 3, 31, 23, 59, tzinfo=UTC))

    assert span.begins[0] == datetime(*first, 1, tzinfo=UTC)
    assert (len(span.begins), span.begins[-1], span.end) == (
        count, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC),
    )  # fmt: skip
