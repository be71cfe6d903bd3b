"""The ledger in the dashboard: sums, budgets, what is in doubt, and what providers say beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from enrichment.figures import Figure, between
from store import ledger
from tests.factories import finished_job, job
from tests.pages import flaws, words
from tests.seat import seated

if TYPE_CHECKING:
    from uuid import UUID

    from tests.asgi import Client
    from tests.conftest import ClientWith
    from tests.wishes import Pool

HOSTILE = "<script>alert(1)</script>"
LINK = re.compile(r'href="/lookups/([0-9a-f-]{36})"')


async def test_credits_are_summed_by_day_provider_and_source(client_with: ClientWith, pool: Pool) -> None:
    """All sums on top, then by payer, then by day; older days are another choice; budgets beside."""
    await finished_job(pool, credits=3, provider="nyne")
    await finished_job(pool, credits=5, provider="leadmagic", source="api")
    old = datetime.now(UTC).date() - timedelta(days=8)
    await finished_job(pool, credits=3, provider="nyne", reserved_on=old)
    await job(pool, "awaiting")
    seat = await seated(await client_with(budget_credits_per_day=100))

    week, month = await seat.page("/ledger?days=7"), await seat.page("/ledger?days=31")

    assert flaws(month) == []
    assert "Credits of the last 7 days 8 charged 0 perhaps charged 3 reserved" in words(week)
    assert "Credits of the last 31 days 11 charged" in words(month)
    assert "leadmagic api 5 0 0 nyne generic 6 0 3" in words(month)
    assert f"{old} nyne generic 3 0 0" in words(month)
    assert str(old) not in week
    assert "11 of 100" in words(month)
    assert "No question is in doubt" in words(month)


async def test_what_was_perhaps_charged_is_listed_with_its_lookups(client: Client, pool: Pool) -> None:
    """Unknown and lost questions, newest first and by page; those whose outcome is known are not among them."""
    wanted = [await finished_job(pool, state, error=f"broke {HOSTILE}") for state in ("unknown", "lost", "unknown")]
    await finished_job(pool, credits=3)
    seat = await seated(client)

    first = await seat.page("/ledger?limit=2")
    older = re.search(r'rel="next" href="([^"]+)#doubtful"', first)
    assert older is not None
    second = await seat.page(older[1].replace("&amp;", "&"))

    assert flaws(first) == flaws(second) == []
    assert HOSTILE not in first
    assert "9 credits in all." in words(first)
    assert LINK.findall(first) + LINK.findall(second) == [str(row["lookup_id"]) for row in reversed(wanted)]
    assert 'rel="next"' not in second


async def test_a_long_walk_stops_and_goes_on(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page waits for all of history: it says where to go on until all in doubt is found, and leaves nothing out."""
    monkeypatch.setattr(ledger, "PAGE", 2)
    monkeypatch.setattr(ledger, "WALKED_FOR", 0.0)
    for _ in range(2):
        await finished_job(pool)
    first = await finished_job(pool, "unknown")
    for _ in range(4):
        await finished_job(pool)

    looks: dict[int, list[list[UUID]]] = {}
    for in_doubt in (3, 6):  # of the second, credits whose row is gone
        before, found = None, []
        while True:
            rows, before = await ledger.perhaps_charged(pool, before, 10, in_doubt=Decimal(in_doubt))
            found.append([row["id"] for row in rows])
            if before is None:
                break
        looks[in_doubt] = found

    assert looks == {3: [[], [], [first["id"]]], 6: [[], [], [first["id"]], []]}


async def test_credits_in_doubt_whose_rows_are_gone_are_said(client: Client, pool: Pool) -> None:
    """The sum stays after an erasure, and the page says why nothing is listed."""
    await finished_job(pool, "lost")
    await pool.execute("DELETE FROM finished_jobs")

    page = words(await (await seated(client)).page("/ledger"))

    assert "3 credits in all." in page
    assert "None of these questions is here any more" in page


async def test_what_providers_say_stands_beside_our_ledger(client: Client, pool: Pool) -> None:
    """The last figure of each day, compared with the day before; days on which credits were bought are left out."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(minutes=1)
    days = [(3, 1000, 100), (2, 990, 110), (1, 1980, 125), (0, 1950, 150)]
    for ago, balance, charged in days:
        for minutes, less in ((0, 7), (1, 0)):
            await pool.execute(
                "INSERT INTO vendor_figures (provider, at, balance, charged) VALUES ('leadmagic', $1, $2, $3)",
                today - timedelta(days=ago, minutes=-minutes), balance + less, charged - less,
            )  # fmt: skip

    page = await (await seated(client)).page("/ledger")

    assert flaws(page) == []
    # 10 against 10, and 30 against 25; the day between has 1,010 more than was left.
    assert re.search(r"leadmagic 1,950 20\S+ 00:02:00 2 40 35 \+5", words(page))


def test_figures_of_two_months_cannot_be_compared() -> None:
    """Credits used in the month begin anew; a balance goes on."""
    before = Figure(datetime(2026, 10, 31, 23, tzinfo=UTC), None, Decimal(90), Decimal(90))
    now = Figure(datetime(2026, 11, 1, 1, tzinfo=UTC), None, Decimal(2), Decimal(92))

    assert between(before, now) is None


async def test_an_empty_ledger_says_what_to_do(client: Client) -> None:
    """Nothing was asked, no budget is set, and no provider told its balance: each says what that means."""
    page = words(await (await seated(client)).page("/ledger"))

    for said in ("Nothing was asked in these days", "No budget is set", "No question is in doubt", "ringback doctor"):
        assert said in page


@pytest.mark.parametrize("query", ["days=0", "days=x", "cursor=x", "limit=1000"])
async def test_a_wrong_address_is_said(client: Client, query: str) -> None:
    """422 and a page that names the parameter."""
    page = await (await seated(client)).page(f"/ledger?{query}", 422)

    assert query.partition("=")[0] in words(page)
