"""What a campaign keeps of a person goes with the person, and campaigns go with their month."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from enrichment.settings import Settings
from enrichment.suppression import read_identifier
from store import campaign_files, campaigns
from store.campaign_reading import map_columns
from store.campaign_results import results
from store.erasure import erase_lookups, erase_person
from store.partitions import first_id
from store.prune_campaigns import drop_campaigns
from store.retention import empty_bodies
from submitter.campaigns import CampaignWorker
from tests.at_work import AtWork
from tests.campaigning import BOTH, Campaigning, begin, campaign_of, people, write_csv
from tests.wishes import MOBILE, POLICY

if TYPE_CHECKING:
    from tests.wishes import Pool


@pytest.fixture
async def three(pool: Pool, settings: Settings, tmp_path: Path) -> Campaigning:
    """Provide a campaign of three people, whose sample of one is asked."""
    campaign = await campaign_of(pool, settings, write_csv(tmp_path / "three.csv", people(3)))
    await begin(campaign, sample=1)
    return campaign


@pytest.fixture
def stop() -> asyncio.Event:
    """Provide the signal that a reconciler stops at."""
    return asyncio.Event()


async def upload(pool: Pool, text: bytes, *, state: str = "uploaded") -> UUID:
    """Upload a file in two pieces; return its campaign."""
    id = await campaign_files.begin_upload(pool, name="up.csv", who="ops")
    for place, piece in enumerate((text[:10], text[10:])):
        await campaign_files.add_piece(pool, id, place, piece)
    if state == "uploaded":
        assert await campaign_files.end_upload(pool, id, "up.csv", hashlib.sha256(text).digest(), 2)
    return id


async def erase(pool: Pool, email: str) -> None:
    """Erase a person by an e-mail."""
    await erase_person(pool, POLICY, [read_identifier("email", email)])


async def kept(pool: Pool) -> set[UUID]:
    """Return the campaigns whose upload is there."""
    return {row["campaign_id"] for row in await pool.fetch("SELECT campaign_id FROM campaign_files")}


CSV = b"E-Mail,Name\np0@acme.co,Ada Byron\np1@acme.co,Bob Stone\n"


async def read_upload(world: AtWork, stop: asyncio.Event) -> tuple[UUID, CampaignWorker]:
    """Upload a file, say what its columns hold, and let the reconciler read it."""
    id = await upload(world.pool, CSV)
    worker = CampaignWorker(world.process, world.wake, stop)
    await worker.work_on_campaigns()
    looked_at = await campaigns.find(world.pool, id)
    assert looked_at is not None
    assert looked_at.mapping == {"E-Mail": "work_email", "Name": "name"}
    assert await map_columns(world.pool, id, looked_at.mapping)
    await worker.work_on_campaigns()
    return id, worker


async def test_an_erased_row_keeps_no_key_and_is_never_begun(three: Campaigning) -> None:
    """Its person is not asked about again for this file, and the campaign still comes to its end."""
    unasked = await three.pool.fetchval("SELECT min(number) FROM campaign_rows WHERE lookup_id IS NULL")

    await erase(three.pool, f"p{unasked - 1}@acme.co")
    await three.to_the_end(MOBILE)
    assert await campaigns.approve(three.pool, three.id, most=BOTH * 2, who="ops")
    done = await three.to_the_end(MOBILE)

    row = await three.pool.fetchrow("SELECT keys, content FROM campaign_rows WHERE number = $1", unasked)
    assert (done.state, done.begun) == ("done", 2)
    assert row is not None
    assert (row["keys"], row["content"]) == ([], None)
    shown = [one.status for page in [page async for page in results(three.pool, three.id)] for _, one in page]
    assert sorted(shown) == ["erased", "found", "found"]


async def test_the_sample_goes_on_without_a_lookup_that_is_erased(three: Campaigning) -> None:
    """An erased lookup leaves no open row behind, and no answer for the quote."""
    (lookup,) = await three.open()

    await erase_lookups(three.pool, POLICY, [lookup])
    quoted = await three.until_still()

    assert (quoted.state, quoted.quote) == ("quoted", {})


async def test_an_upload_goes_with_a_person_that_it_holds(world: AtWork, stop: asyncio.Event) -> None:
    """A file cannot be rewritten without the person, so it goes; other people's uploads stay."""
    id, worker = await read_upload(world, stop)
    await erase(world.pool, "somebody@else.com")
    assert await kept(world.pool) == {id}

    await erase(world.pool, "p1@acme.co")

    assert await kept(world.pool) == set()
    assert await campaigns.begin_sample(world.pool, id, size=5, most=None, who="ops")
    await worker.work_on_campaigns()
    worker.close()
    stopped = await campaigns.find(world.pool, id)
    assert stopped is not None
    assert (stopped.state, stopped.reason) == ("stopped", campaign_files.GONE)


async def test_an_upload_that_nobody_has_read_goes_with_every_erasure(pool: Pool) -> None:
    """Who is in it is not known yet; what is still on its way is never complete without its first pieces."""
    await upload(pool, CSV)
    coming = await upload(pool, CSV, state="uploading")

    await erase(pool, "somebody@else.com")

    assert await kept(pool) == set()
    assert not await campaign_files.end_upload(pool, coming, "up.csv", b"d" * 32, 2)


async def test_the_reconciler_takes_an_upload_to_its_end(world: AtWork, stop: asyncio.Event) -> None:
    """What was approved is read, asked and quoted from the file in the database; another process may go on."""
    id, worker = await read_upload(world, stop)
    assert await campaigns.begin_sample(world.pool, id, size=1, most=None, who="ops")
    await worker.work_on_campaigns()
    worker.close()

    found = await campaigns.find(world.pool, id)
    assert found is not None
    assert (found.state, found.fresh, found.begun) == ("sampling", 2, 1)
    other = CampaignWorker(world.process, world.wake, stop)
    await world.pool.execute("UPDATE campaigns SET due_at = now() + interval '1 min'")  # another process has it
    await other.work_on_campaigns()
    assert await world.pool.fetchval("SELECT count(*) FROM campaign_rows WHERE lookup_id IS NOT NULL") == 1
    other.close()


async def test_retention_deletes_old_uploads(pool: Pool) -> None:
    """RETAIN_DAYS is for uploads what it is for raw bodies."""
    old, young = await upload(pool, CSV), await upload(pool, CSV)
    aged = first_id(datetime.now(UTC) - timedelta(days=40))
    await pool.execute("UPDATE campaigns SET id = $2 WHERE id = $1", old, aged)
    await pool.execute("UPDATE campaign_files SET campaign_id = $2 WHERE campaign_id = $1", old, aged)

    while await empty_bodies(pool, timedelta(days=30), 1):
        pass

    assert await kept(pool) == {young}


async def test_prune_drops_old_campaigns_that_are_not_under_way(three: Campaigning) -> None:
    """A campaign that is being asked stays, however old it is."""
    async with three.pool.acquire() as connection:
        future = datetime.now(UTC) + timedelta(days=1)
        assert await drop_campaigns(connection, future) == 0
        assert await campaigns.stop(three.pool, three.id)
        assert await drop_campaigns(connection, datetime.now(UTC) - timedelta(days=1)) == 0
        assert await drop_campaigns(connection, future) == 1

    assert await three.pool.fetchval("SELECT count(*) FROM campaign_rows") == 0
