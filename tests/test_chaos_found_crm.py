"""What the chaos found about CRMs and people's rights, as small as it gets: each test is named after the symptom."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from enrichment.suppression import read_identifier
from store.suppressions import suppress
from store.sweeps import claim_sweep, name_page
from submitter.sweeps import sweep_lease
from tests.wishes import POLICY, take_one

if TYPE_CHECKING:
    from tests.conftest import MakeSettings
    from tests.order import Pool


@pytest.fixture
async def connected(pool: Pool) -> Pool:
    """The database, connected to HubSpot just now."""
    await pool.execute("INSERT INTO connections (crm) VALUES ('hubspot')")
    return pool


async def test_a_suppressed_contact_leaves_no_keys_that_lead_nowhere(pool: Pool) -> None:
    """Its search never begins, so its identifiers are no keys: nothing would delete them before the next prune."""
    await suppress(pool, [read_identifier("email", "jane@acme.co")], POLICY, None)
    await take_one(pool, work_email="john@acme.co")
    known = await pool.fetch("SELECT key, searches FROM keys")

    one = await take_one(pool, work_email="jane@acme.co", profile_url="linkedin.com/in/janedoe")

    assert one.status == "suppressed"
    assert await pool.fetch("SELECT key, searches FROM keys") == known


@pytest.mark.parametrize(("timeout", "lease"), [(3, 10), (30, 60), (120, 240)])
def test_contacts_wait_for_the_sweep_of_a_dead_process(make_settings: MakeSettings, timeout: int, lease: int) -> None:
    """A silent process keeps a sweep for as long as two calls may take, not for a minute in any case."""
    assert sweep_lease(make_settings(provider_timeout_seconds=timeout)) == timedelta(seconds=lease)


async def test_a_sweep_is_claimed_for_its_own_lease(connected: Pool) -> None:
    """Every page renews the claim for as long as it was made."""
    lease = timedelta(seconds=7)

    window = await claim_sweep(connected, "hubspot", lease)

    assert window is not None
    assert window.claim == window.until + lease
    renewed, _ = await name_page(connected, window, [])
    assert renewed is not None
    assert timedelta(0) < renewed - window.claim < timedelta(seconds=5)
