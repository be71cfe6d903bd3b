"""A campaign that is being pruned is not gone on with: its rows go a chunk at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from enrichment.settings import Settings
from store import campaigns
from store.prune_campaigns import drop_campaigns
from tests.campaigning import BOTH, campaign_of, people, write_csv
from tests.order import Order

if TYPE_CHECKING:
    from tests.wishes import Pool


async def test_nothing_is_approved_of_a_campaign_that_is_being_pruned(
    pool: Pool, settings: Settings, tmp_path: Path, order: Order
) -> None:
    """The approval comes while rows are deleted: it is refused, and no row is missing from a campaign that runs."""
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "a.csv", people(3)))
    assert (await campaign.until_still()).state == "read"

    async with pool.acquire() as connection:
        async with order.first() as first:
            await first.execute("SELECT FROM campaign_rows FOR UPDATE")
            task = await order.waiting(drop_campaigns(connection, datetime.now(UTC) + timedelta(days=1)))
            approved = await campaigns.approve(pool, campaign.id, most=BOTH, who="ops")
        dropped = await task

    assert (approved, dropped) == (False, 1)
    assert await campaigns.find(pool, campaign.id) is None
