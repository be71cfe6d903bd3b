"""The page "Over time" shows the counted figures, each chart with the table that it is drawn from."""

from __future__ import annotations

import asyncio
import gzip
import re
from typing import TYPE_CHECKING

import pytest

from receiver.dashboard import assets, counted
from receiver.dashboard.charts import questions_of
from receiver.dashboard.counted import Counted, Wanted
from store import history
from tests.conftest import TOKEN, ClientWith
from tests.order import Order, waiting_for_a_lock
from tests.seat import Seat, seated
from tests.some_history import lookup, make_week

if TYPE_CHECKING:
    from tests.asgi import Client
    from tests.wishes import Pool

MOST_SCRIPT = 40_000  # bytes of all scripts of the dashboard, compressed
WEEK = Wanted("7d")


@pytest.fixture
async def seat(db: Pool, client: Client) -> Seat:
    """Provide a browser of an installation with a week of history."""
    await make_week(db)
    return await seated(client)


def text_of(page: str) -> str:
    """The page as a person reads it: without tags, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def section(page: str, id: str) -> str:
    """One question of the page."""
    found = re.search(rf'<section class="card history" id="{id}".*?</section>', page, re.DOTALL)
    assert found, id
    return found[0]


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("found", ["67 % find one 4 found 6 tried", "leadmagic 40 % 2 5 nyne 33 % 1 3", "hubspot 33 % 1 1 1 0 0"]),
        ("answered", ["50 % inline 25 % callback 12 % poll 12 % reused"]),
        ("waited", ["10 s half within 1 min 31 s 95 % within", "nyne 10 s 10 s 1", "hubspot – – 0"]),
        ("credits", ["19 charged 3 possibly charged 3 reserved now"]),
        ("cost", ["6.33 credits per number", "nyne 3.00 1 3.00 3.00", "asked second 3.00 1 3.00 0.00"]),
    ],
)
async def test_each_question_has_its_answer(seat: Seat, id: str, expected: list[str]) -> None:
    """The figures of the whole time stand first, and the breakdowns below the chart's table."""
    told = text_of(section(await seat.page("/history?span=7d"), id))

    for words in expected:
        assert words in told


async def test_a_chart_is_drawn_from_the_table_below_it(seat: Seat) -> None:
    """Each drawn cell has its value beside its text; a day without a figure has none, and leaves a gap."""
    page = section(await seat.page("/history?span=7d"), "waited")

    cells = re.findall(r'<td class="n"(?: data-value="([\d.]+)")?>([^<]*)</td>', page.partition("</table>")[0])
    assert 'data-unit="seconds" data-drawing="lines" data-drawn="2"' in page
    assert cells[:6] == [
        ("100.0", "1 min 40 s"),
        ("100.0", "1 min 40 s"),
        ("", "1"),
        ("6.0", "6.0 s"),
        ("9.6", "9.6 s"),
        ("", "2"),
    ]
    assert cells[6:9] == [("", "–"), ("", "–"), ("", "0")]


async def test_a_filter_stays_when_another_time_is_chosen(seat: Seat) -> None:
    """The addresses of the other times keep provider and source, and the form keeps the time."""
    page = await seat.page("/history?span=7d&provider=nyne&source=generic")

    assert 'href="/history?span=90d&amp;provider=nyne&amp;source=generic"' in page
    assert '<input type="hidden" name="span" value="7d">' in page
    assert "<option selected>nyne</option>" in page


async def test_a_provider_is_judged_by_its_questions(seat: Seat) -> None:
    """A lookup that another provider answered does not speak against it."""
    told = text_of(await seat.page("/history?span=7d&provider=nyne"))

    assert "How many questions to nyne bring a number? 33 % bring a number 3 questions" in told


@pytest.mark.parametrize("query", ["span=1d", "provider=%3Cscript%3E", "source=x&span=7d"])
async def test_an_address_that_asks_for_what_is_unknown(seat: Seat, query: str) -> None:
    """The page says what it knows, and repeats nothing of the address."""
    page = await seat.page(f"/history?{query}", 422)

    assert "one of " in page
    assert "<script>" not in page.replace('<script src="', "")


async def test_nothing_to_show_says_what_to_do(db: Pool, client: Client) -> None:
    """Without figures there is no chart: a filter can be taken away, and a new installation be begun."""
    seat = await seated(client)

    assert "connect a CRM and send a test contact" in text_of(await seat.page("/history"))
    filtered = await seat.page("/history?source=hubspot")
    assert "No lookup has ended in these 30 days Show all providers and sources" in text_of(filtered)
    assert "<over-time" not in filtered


async def test_the_page_needs_a_session_that_may_read(client_with: ClientWith) -> None:
    """Who has none is led to the login and back; a token for events alone sees nothing."""
    client = await client_with(api_tokens=f"crm:events:{TOKEN}")

    led = await client.get("/history?span=7d")
    refused = await seated(client)

    assert (led.status, led.headers["location"]) == (303, "/login?next=%2Fhistory%3Fspan%3D7d")
    assert "scope" in await refused.page("/history", 403)


async def test_a_sample_says_so(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of a sample are what they stand for, in three digits; what was counted stays exact."""
    monkeypatch.setattr(history, "MOST", 3)
    page = text_of(await seat.page("/history?span=7d"))

    assert "those of a random 43 % of them" in page
    assert "67 % find one 4 found 6 tried" in page


async def test_all_scripts_together_are_small(client: Client) -> None:
    """A page is light on a slow line, whatever it draws; the copies keep their licence."""
    scripts = [path.read_bytes() for path in assets.FOLDER.glob("*.js")]

    assert len(scripts) >= 3
    assert sum(len(gzip.compress(script, mtime=0)) for script in scripts) <= MOST_SCRIPT
    assert "MIT License" in (assets.FOLDER / "uplot.LICENSE.txt").read_text(encoding="utf-8")
    assert (await client.get("/static/uplot.LICENSE.txt")).status == 404


async def test_a_history_is_counted_once_a_minute(db: Pool) -> None:
    """The second visitor gets what the first one got, whatever has happened meanwhile."""
    shown = Counted(db)
    first = await shown.get(WEEK)
    await make_week(db)

    assert await shown.get(WEEK) is first
    assert (await shown.get(Wanted("30d"))).lookups["all"][""].found == 5


async def test_one_history_is_counted_at_a_time(db: Pool, order: Order) -> None:
    """Visitors who ask for different ones wait for each other, and the database works for one."""
    shown = Counted(db)
    async with order.first() as holding:
        await holding.execute("LOCK TABLE usage")
        both = asyncio.gather(shown.get(WEEK), shown.get(Wanted("90d")), shown.get(WEEK))
        task = await order.waiting(both)
        assert len(await waiting_for_a_lock(holding)) == 1

    one, other, same = await task
    assert (len(one.span.begins), len(other.span.begins)) == (7, 90)
    assert one is same


async def test_a_slow_count_shows_the_older_one_and_goes_on(
    db: Pool, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has waited long enough sees what was counted before, if there is any; the next one sees the result."""
    monkeypatch.setattr(counted, "KEPT", 0.0)
    monkeypatch.setattr(counted, "RESTS", 0.0)
    shown = Counted(db)
    older = await shown.get(WEEK)
    await lookup(db, 0, "not_found")
    async with order.first() as holding:
        await holding.execute("LOCK TABLE usage")
        assert await shown.get(WEEK, patience=0.05) is older
        with pytest.raises(TimeoutError):
            await shown.get(Wanted("90d"), patience=0.05)

    assert (await shown.get(WEEK)).lookups["all"][""].not_found == 1


async def test_a_page_that_waited_in_vain_says_what_to_do(
    seat: Seat, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no broken page, and not the database that is away."""
    monkeypatch.setattr(history, "PATIENCE", "SET LOCAL statement_timeout = '20ms'")
    async with order.first() as holding:
        await holding.execute("LOCK TABLE usage")
        page = text_of(await seat.page("/history", 503))

    assert "Counting takes longer than a page should wait." in page
    assert "or choose a shorter time" in page


async def test_every_question_is_asked_of_every_history(db: Pool) -> None:
    """A history of months has a row for each, the newest first."""
    told = questions_of(await Counted(db).get(Wanted("12m")), Wanted("12m"))

    assert [one.id for one in told] == ["found", "answered", "waited", "credits", "cost"]
    for one in told:
        begins = [row.at for row in one.chart.rows if row.at]
        assert len(begins) == 12
        assert begins == sorted(begins, reverse=True)
        assert one.chart.columns[0] == "Month"
