"""What a person says about a file is taken as it was meant: credits, a sample, a row that is cancelled, a count."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enrichment.settings import Settings
from store import campaigns
from store.lookups import cancel
from submitter.campaigns import CampaignWorker
from tests.asgi import Client
from tests.at_work import AtWork
from tests.campaigning import begin, campaign_of, people, write_csv
from tests.commands import ringback
from tests.seat import seated
from tests.test_dashboard_files import uploaded
from tests.test_defects_files import KEYS
from tests.wishes import MOBILE, POLICY

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_twelve_and_a_half_is_not_twelve_hundred_and_fifty(client: Client, world: AtWork) -> None:
    """A decimal comma is refused; commas between thousands are not."""
    seat = await seated(client)
    path = await uploaded(seat)
    worker = CampaignWorker(world.process, world.wake, asyncio.Event())
    await worker.work_on_campaigns()
    await seat.form(f"{path}/columns", {"work_email": "0", "name": "1"})
    await worker.work_on_campaigns()
    worker.close()

    for wrong in ("12,50", "1,2,3", "1e5", "nan", "-1", "٣", "", "9" * 30):
        assert (await seat.form(f"{path}/approve", {"most": wrong})).status == 422, wrong
    assert (await seat.form(f"{path}/sample", {"sample": "0000000010000000000000"})).status == 422
    assert (await seat.form(f"{path}/approve", {"most": "1,200.50"})).status == 303

    assert await world.pool.fetchval("SELECT approved_credits FROM campaigns") == Decimal("1200.50")


async def test_a_cancelled_row_is_no_answer_of_the_sample(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    """A person cancels half of the sample: the quote is of the other half, and no lower for it."""
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", people(10)))
    await begin(campaign, sample=4)

    for lookup in (await campaign.open())[:2]:
        assert await cancel(pool, lookup, POLICY)
    quoted = await campaign.to_the_end(MOBILE)

    assert quoted.quote is not None
    assert (quoted.state, quoted.quote["sampled"], quoted.quote["rate"]["value"]) == ("quoted", 2, 1)
    assert quoted.quote["cost"]["value"] == pytest.approx(50)


async def test_a_count_that_was_stopped_goes_on(database_url: str, pool: Pool, tmp_path: Path) -> None:
    """After Ctrl-C the same dry run goes on; of a file that is done it writes nothing."""
    write_csv(tmp_path / "a.csv", people(2))

    async def dry_run() -> str:
        told = await ringback("enrich", "a.csv", "--dry-run", cwd=tmp_path, DATABASE_URL=database_url, **KEYS)
        assert told.code == 0, told.err
        return told.out

    await dry_run()
    await pool.execute(
        "UPDATE campaigns SET state = 'reading', read_to = 0, read_at = NULL, fresh = 0, most_credits = 0"
    )
    await pool.execute("DELETE FROM campaign_rows")
    (id,) = [row["id"] for row in await pool.fetch("SELECT id FROM campaigns")]
    assert await campaigns.stop(pool, id)

    assert "2 rows: 2 new" in await dry_run()
    await pool.execute(
        "UPDATE campaigns SET state = 'done', done_at = now(), approved_at = now(), approved_credits = 0"
    )
    await dry_run()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
