"""What a campaign has spent and can still cost is all counted, so that the approved credits hold."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enrichment.settings import Settings
from store import campaigns
from store.erasure import erase_lookups
from store.lookups import cancel
from tests.campaigning import BOTH, Campaigning, campaign_of, people, write_csv
from tests.wishes import MOBILE, POLICY, apply, ending, jobs

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.fixture
async def twice(pool: Pool, settings: Settings, tmp_path: Path) -> Campaigning:
    """Provide a campaign of three people, the first of them twice, whose first row is begun for its credits."""
    first, *others = people(3)
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", [first, first, *others]))
    await campaign.until_still()
    assert await campaigns.approve(pool, campaign.id, most=BOTH, who="ops")
    assert (await campaign.until_still()).begun == 2  # the second row waits for the first one's answer
    return campaign


async def spent(pool: Pool) -> Decimal:
    """Return the credits that were charged, or perhaps charged, by the ledger."""
    credits: Decimal = await pool.fetchval("SELECT COALESCE(sum(credits), 0) FROM ledger WHERE kind <> 'released'")
    return credits


async def answer_all(campaign: Campaigning) -> None:
    """Let every question be answered with a number, until nothing moves any more."""
    while await jobs(campaign.pool):
        for job in await campaign.pool.fetch("SELECT id FROM jobs"):
            await apply(campaign.pool, ending(job["id"], mobile=MOBILE))
        await campaign.until_still()


async def test_a_cancelled_row_counts_while_its_question_may_be_asked_for_another(twice: Campaigning) -> None:
    """Its search goes on for the duplicate, and is paid for: no third row begins for the same credits."""
    (first,) = await twice.open()

    assert await cancel(twice.pool, first, POLICY)
    waiting = await twice.until_still()
    await answer_all(twice)

    assert (waiting.begun, waiting.ended) == (2, 0)
    assert (await twice.now()).credits == await spent(twice.pool) == 5 < BOTH


async def test_an_erased_row_keeps_what_its_question_may_have_cost(twice: Campaigning) -> None:
    """Who is erased is gone, and the credits that were reserved for the question were perhaps charged."""
    await twice.pool.execute(
        """
        UPDATE jobs
           SET state = 'awaiting', attempt = 1, submitted_at = now(), reserved = 5, reserved_on = current_date
        """
    )

    rows = await twice.pool.fetch("SELECT lookup_id FROM campaign_rows WHERE lookup_id IS NOT NULL")
    await erase_lookups(twice.pool, POLICY, [row["lookup_id"] for row in rows])
    stopped = await twice.until_still()

    assert await spent(twice.pool) == 5
    assert (stopped.state, stopped.begun, stopped.ended, stopped.credits) == ("stopped", 2, 2, Decimal(5))
