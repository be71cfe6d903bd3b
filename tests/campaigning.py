"""A campaign of a small file, worked on step by step, whose lookups end as the test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from enrichment.files import open_table
from enrichment.guards import Guards
from enrichment.providers import build_providers
from enrichment.settings import Settings
from enrichment.wish import Policy
from store import campaigns
from store.campaign_work import CampaignFile, CampaignWork
from store.campaigns import Campaign
from tests.factories import PRICES
from tests.wishes import POLICY, end

if TYPE_CHECKING:
    from tests.wishes import Pool

PRICED: Policy = replace(POLICY, guards=Guards(prices=PRICES))
BOTH = sum(PRICES.values(), Decimal(0))  # the most that one row can cost
COLUMNS = {"E-Mail": "work_email", "Profile": "profile_url", "Name": "name", "Company": "company"}
EVERYBODY = 10_000


@dataclass
class Campaigning:
    """A campaign, and the work on it."""

    pool: Pool
    id: UUID
    work: CampaignWork
    path: Path

    async def now(self) -> Campaign:
        """Return the campaign as it is."""
        found = await campaigns.find(self.pool, self.id)
        assert found is not None
        return found

    async def until_still(self) -> Campaign:
        """Advance until nothing moves; return the campaign as it is then."""
        while (await self.work.advance()).moved:
            pass
        return await self.now()

    async def rows(self) -> list[tuple[int, str]]:
        """Return number and verdict of each row."""
        rows = await self.pool.fetch("SELECT number, verdict FROM campaign_rows WHERE campaign_id = $1", self.id)
        return sorted((row["number"], row["verdict"]) for row in rows)

    async def open(self) -> list[UUID]:
        """Return the lookups that have a job, in the order of their rows."""
        rows = await self.pool.fetch(
            """
            SELECT lookup_id
              FROM campaign_rows
              JOIN jobs USING (lookup_id)
             WHERE campaign_id = $1
             ORDER BY number
            """,
            self.id,
        )
        return [row["lookup_id"] for row in rows]

    async def answer(self, mobile: str | None = None, most: int = EVERYBODY) -> int:
        """Let the next provider of up to *most* open lookups answer; return how many."""
        waiting = (await self.open())[:most]
        for lookup in waiting:
            await end(self.pool, lookup, mobile=mobile)
        return len(waiting)

    async def to_the_end(self, mobile: str | None = None) -> Campaign:
        """Begin and answer until nothing moves any more."""
        while (await self.work.advance()).moved or await self.answer(mobile):
            pass
        return await self.now()


def write_csv(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = tuple(COLUMNS)) -> Path:
    """Write a csv file."""
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def people(number: int) -> list[tuple[str, str, str, str]]:
    """Return so many different people."""
    return [(f"p{n}@acme.co", "", f"Person N{n}", "Acme") for n in range(number)]


async def campaign_of(pool: Pool, settings: Settings, path: Path, **options: Any) -> Campaigning:
    """Make, or find, the campaign of a file; nothing is read yet."""
    made = await campaigns.open_campaign(
        pool, name=path.name, who="ops", digest=path.read_bytes().ljust(32)[:32], mapping=COLUMNS, **options
    )
    table = open_table(path, name=path.name)
    work = CampaignWork(pool, made.id, CampaignFile(path, table, COLUMNS), PRICED, build_providers(settings))
    return Campaigning(pool, made.id, work, path)


async def begin(campaign: Campaigning, *, sample: int = 2, most: Decimal | None = None) -> Campaign:
    """Read the rows, and let the sample begin."""
    await campaign.until_still()
    assert await campaigns.begin_sample(campaign.pool, campaign.id, size=sample, most=most, who="ops")
    return await campaign.until_still()
