"""Campaigns: a file is read once, its sample comes first, the rest after an approval, and never more than approved."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enrichment.settings import Settings
from store import campaign_reading, campaigns
from store.audit import page
from store.campaign_results import results
from store.campaign_work import MOST_QUEUED
from store.campaigns import LIMIT_REACHED
from tests.campaigning import BOTH, COLUMNS, Campaigning, begin, campaign_of, people, write_csv
from tests.order import Order
from tests.wishes import MOBILE, age, end, jobs, take_one

if TYPE_CHECKING:
    from tests.wishes import Pool

FOUND = Decimal(5)  # what a number costs
KNOWN = ("known@acme.co", "", "Known Person", "Acme")


@pytest.fixture
async def ten(pool: Pool, settings: Settings, tmp_path: Path) -> Campaigning:
    """Provide a campaign of ten people."""
    return await campaign_of(pool, settings, write_csv(tmp_path / "ten.csv", people(10)))


async def approved(campaign: Campaigning, most: Decimal | int) -> None:
    """Approve the rest for *most* credits."""
    assert await campaigns.approve(campaign.pool, campaign.id, most=Decimal(most), who="ops")


async def test_rows_are_counted_by_what_they_may_cost(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """An answer that is reused is free, and so is the same row again; a row without an identifier says why."""
    found = await take_one(pool, work_email=KNOWN[0], name=KNOWN[2], company=KNOWN[3])
    await end(pool, found.id, mobile=MOBILE)
    new = ("ada@acme.co", "linkedin.com/in/ada-byron", "Ada Byron", "Acme")
    rows = [KNOWN, new, ("ADA@acme.co ", "https://www.linkedin.com/in/ada-byron/", "ada byron", ""), ("", "", "", "")]
    rows += [("none@none.com", "", "", "")]
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", rows))

    read = await campaign.until_still()

    assert read.state == "read"
    assert await campaign.rows() == [(1, "known"), (2, "new"), (3, "duplicate"), (4, "unusable"), (5, "unusable")]
    assert (read.known, read.fresh, read.duplicate, read.unusable, read.most_credits) == (1, 1, 1, 2, BOTH)
    assert sum(row["rows"] for row in await campaign_reading.reasons(pool, campaign.id, 10)) == 2
    assert await jobs(pool) == 0


async def test_an_answer_that_is_about_to_be_too_old_counts_as_new(
    pool: Pool, settings: Settings, tmp_path: Path
) -> None:
    """What is stated is never less than it costs: the answer may be too old when the row's turn comes."""
    found = await take_one(pool, work_email=KNOWN[0], name=KNOWN[2], company=KNOWN[3])
    await end(pool, found.id, mobile=MOBILE)
    await age(pool, found.id, 89.5)
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", [KNOWN]))

    assert (await campaign.until_still()).fresh == 1


async def test_two_rows_with_one_address_may_both_cost(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """An address may be two people's: only the same name and company make the second row a duplicate."""
    rows = [("team@acme.dev", "", "Ada Byron", ""), ("team@acme.dev", "", "Bob Stone", "")]
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", rows))

    assert (await campaign.until_still()).most_credits == 2 * BOTH


async def test_the_same_file_is_the_same_campaign(ten: Campaigning, settings: Settings, tmp_path: Path) -> None:
    """The same command goes on; a done file begins again only by a person's word, an unasked one after a day."""
    again = await campaign_of(ten.pool, settings, ten.path)
    await begin(ten, sample=10)
    assert (await ten.to_the_end()).state == "quoted"
    await approved(ten, 0)
    done = await ten.to_the_end()
    still = await campaign_of(ten.pool, settings, ten.path)
    anew = await campaign_of(ten.pool, settings, ten.path, anew=True)
    await ten.pool.execute("UPDATE campaigns SET created_at = now() - interval '25 h'")
    stale = await campaign_of(ten.pool, settings, ten.path)

    assert done.state == "done"
    assert again.id == still.id == ten.id != anew.id
    assert stale.id not in (ten.id, anew.id)


async def test_only_the_sample_is_asked_before_an_approval(ten: Campaigning) -> None:
    """The sample is chosen once; its answers make the quote, over all rows that may cost something."""
    sampling = await begin(ten, sample=3)
    again = await campaigns.begin_sample(ten.pool, ten.id, size=3, most=None, who="ops")
    asked = await jobs(ten.pool)
    await ten.answer(MOBILE, most=1)
    quoted = await ten.to_the_end()

    assert (sampling.state, sampling.sample, sampling.approved_credits, asked) == ("sampling", 3, 3 * BOTH, 3)
    assert (again, await ten.pool.fetchval("SELECT count(*) FROM campaign_rows WHERE is_sampled")) == (False, 3)
    assert (quoted.state, quoted.begun, quoted.ended, quoted.found) == ("quoted", 3, 3, 1)
    assert quoted.credits == FOUND
    assert quoted.quote is not None
    assert (quoted.quote["sampled"], quoted.quote["population"]) == (3, 10)
    assert quoted.quote["rate"]["value"] == pytest.approx(1 / 3)
    assert [entry["action"] for entry in await page(ten.pool, None, 10)] == ["enrich"]


async def test_every_usable_row_gets_its_answer(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """Duplicates and known rows become lookups, too, which cost nothing; the rows keep their numbers."""
    found = await take_one(pool, work_email=KNOWN[0], name=KNOWN[2], company=KNOWN[3])
    await end(pool, found.id, mobile=MOBILE)
    (person,) = people(1)
    campaign = await campaign_of(
        pool, settings, write_csv(tmp_path / "a.csv", [person, KNOWN, person, ("", "", "", "")])
    )
    await begin(campaign, sample=1)
    await campaign.answer(MOBILE)
    assert (await campaign.until_still()).state == "quoted"
    await approved(campaign, BOTH)
    done = await campaign.to_the_end()

    shown = {number: one for page in [page async for page in results(pool, campaign.id)] for number, one in page}
    assert (done.state, done.begun, done.ended, done.found, done.credits) == ("done", 3, 3, 3, FOUND)
    assert [shown[number].status for number in range(1, 5)] == ["found", "found", "found", "unusable"]
    assert [shown[number].credits for number in range(1, 5)] == [5, 0, 0, None]
    assert {shown[number].mobile for number in range(1, 4)} == {MOBILE}


async def test_few_lookups_wait_at_a_time(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """What a CRM sends meanwhile waits for a few lookups of a file at most."""
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", people(MOST_QUEUED + 5)))
    await campaign.until_still()
    await approved(campaign, (MOST_QUEUED + 5) * BOTH)

    assert (await campaign.until_still()).begun == MOST_QUEUED == await jobs(pool)
    await campaign.answer(MOBILE, most=2)
    assert (await campaign.until_still()).begun == MOST_QUEUED + 2


async def test_no_row_begins_that_the_approved_credits_do_not_cover(ten: Campaigning) -> None:
    """What is spent, and the most that open lookups can still cost, never passes the limit; with more, it goes on."""
    await ten.until_still()
    await approved(ten, 20)
    first = await ten.until_still()
    await ten.answer(MOBILE)
    second = await ten.until_still()
    await ten.answer(MOBILE)
    stopped = await ten.until_still()

    assert (first.state, first.begun) == ("running", 2)  # 16 of 20
    assert (second.credits, second.begun) == (2 * FOUND, 3)  # 10 + 8 of 20
    assert (stopped.state, stopped.reason, stopped.credits) == ("stopped", LIMIT_REACHED, 3 * FOUND)
    assert await campaigns.go_on(ten.pool, ten.id, most=Decimal(1000), who="ops")
    assert (await ten.to_the_end(MOBILE)).state == "done"


async def test_a_row_that_turns_out_to_cost_more_is_not_begun(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """The limit holds by what the jobs can cost, whatever the forecast said."""
    found = await take_one(pool, work_email=KNOWN[0], name=KNOWN[2], company=KNOWN[3])
    await end(pool, found.id, mobile=MOBILE)
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", [KNOWN, *people(1)]))
    await campaign.until_still()
    await age(pool, found.id, 91)
    await approved(campaign, BOTH - 1)

    stopped = await campaign.until_still()

    assert (stopped.state, stopped.begun, await jobs(pool)) == ("stopped", 0, 0)


async def test_two_processes_begin_no_row_twice(ten: Campaigning, settings: Settings) -> None:
    """The same command twice at once asks each row once."""
    other = await campaign_of(ten.pool, settings, ten.path)
    await ten.until_still()
    await approved(ten, 10 * BOTH)

    await asyncio.gather(ten.until_still(), other.until_still())

    assert await ten.pool.fetchval("SELECT count(*) FROM lookups") == 10 == (await ten.now()).begun


async def test_a_row_that_is_erased_while_it_begins_is_not_asked(ten: Campaigning, order: Order) -> None:
    """The erasure commits first: nothing of that chunk is begun, and the next one goes on without the person."""
    await ten.until_still()
    await approved(ten, 10 * BOTH)
    async with order.first() as first:
        await first.execute(
            "UPDATE campaign_rows SET verdict = 'erased', keys = '{}', content = NULL, most = 0 WHERE number = 1"
        )
        task = await order.waiting(ten.work.advance())

    await task

    assert await jobs(ten.pool) == 0
    assert (await ten.until_still()).begun == 9 == await jobs(ten.pool)


async def test_a_file_that_lost_rows_stops_its_campaign(ten: Campaigning) -> None:
    """The reason is there to be read, and nothing is asked about other rows."""
    await ten.until_still()
    write_csv(ten.path, people(3))
    await approved(ten, 10 * BOTH)

    stopped = await ten.until_still()

    assert stopped.state == "stopped"
    assert "was changed" in (stopped.reason or "")
    assert await jobs(ten.pool) == 0


async def test_a_change_names_the_states_it_may_leave(ten: Campaigning) -> None:
    """Nothing is sampled, approved, stopped or gone on with in a state that does not allow it."""
    pool, id = ten.pool, ten.id
    assert not await campaigns.approve(pool, id, most=Decimal(1), who="ops")
    assert not await campaigns.begin_sample(pool, id, size=1, most=None, who="ops")
    assert not await campaigns.go_on(pool, id, most=None, who="ops")
    assert not await campaign_reading.map_columns(pool, id, COLUMNS)
    assert await campaigns.stop(pool, id)
    assert not await campaigns.stop(pool, id)
    assert await campaigns.go_on(pool, id, most=None, who="ops")
    assert (await ten.until_still()).state == "read"
