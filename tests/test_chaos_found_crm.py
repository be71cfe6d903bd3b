"""Defects that the chaos found about CRMs and people's rights, reduced: each test is named after the symptom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from enrichment.suppression import read_identifier
from store.suppressions import suppress
from store.sweeps import claim_sweep, name_page
from submitter.sweeps import sweep_lease
from tests.crm_world import MOBILE, THEIRS, CrmWorld, crm_world
from tests.fake_provider import FakeProvider, found
from tests.wishes import POLICY, take_one

if TYPE_CHECKING:
    from tests.conftest import MakeSettings, Start
    from tests.order import Pool


@pytest.fixture
async def connected(pool: Pool) -> Pool:
    """The database, connected to HubSpot just now."""
    await pool.execute("INSERT INTO connections (crm) VALUES ('hubspot')")
    return pool


@pytest.fixture
async def crm(start: Start, fake: FakeProvider) -> AsyncIterator[CrmWorld]:
    """A process at work for HubSpot, and a provider that finds the number."""
    fake.questions.append(found("+1-555-123-4567"))
    async with crm_world(start) as world:
        yield world


@pytest.mark.parametrize("word", ["human", "humanclears"])
async def test_a_person_was_overwritten_and_the_answer_to_our_write_was_lost(crm: CrmWorld, word: str) -> None:
    """The next try finds our number there, and the person's in the history: then too, the delivery names it."""
    record = crm.create(word, "lostwrite")
    await crm.find_number(record)

    await crm.deliver()
    await crm.due_now()
    await crm.deliver()

    assert crm.written_by_us() == [MOBILE]
    assert await crm.delivery() == ("delivered", "a person wrote at the same time; left to people")


async def test_the_number_that_a_person_corrected_to_is_no_overtaking(crm: CrmWorld) -> None:
    """Our first try never wrote; a person wrote a number and then the right one: no person's edit was overwritten."""
    record = crm.create()
    await crm.find_number(record)
    crm.edit(record, mobilephone=THEIRS)
    crm.edit(record, mobilephone=MOBILE)

    await crm.deliver()

    assert await crm.delivery() == ("delivered", "the number stood there already")


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
