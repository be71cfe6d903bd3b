"""All our processes while HubSpot's events are lost: the sweep brings the same numbers, and pays for each once."""

from __future__ import annotations

import asyncpg
import pytest

from rig.ports import free_port
from sandbox.hubspot.account import HubSpot, HubSpotSettings
from sandbox.hubspot.events import Subscription
from sandbox.hubspot.faults import Faults
from sandbox.server import running
from submitter import __main__ as submitter
from submitter import reconciler
from submitter.process import open_process
from tests.at_work import NO_LIMITS
from tests.conftest import MakeSettings
from tests.fake_provider import FakeProvider, found
from tests.test_crm_end_to_end import MOBILE, Live, at_work, until

CONTACTS = 8


@pytest.mark.parametrize("lag", [(0, 0), (0.5, 2)])
async def test_lost_events_cost_time_and_no_number(
    fake: FakeProvider, make_settings: MakeSettings, database_url: str, pool: asyncpg.Pool, lag: tuple[float, float]
) -> None:
    """No event arrives, and searches show contacts late: each gets its number all the same, for one question."""
    account = HubSpot(
        HubSpotSettings(
            per_ten_seconds=0, searches_per_second=0, index_lag=lag,
            subscription=Subscription(url=f"http://127.0.0.1:{free_port()}/events/hubspot", client_secret="secret"),
        )
    )  # fmt: skip
    account.chaos.faults = Faults(drop_events=1)
    fake.questions.extend([found("+1-555-123-4567")] * CONTACTS)
    async with running(account) as hubspot_url:
        settings = make_settings(
            database_url=database_url, hubspot_base_url=hubspot_url, hubspot_access_token="hs_sandbox",
            hubspot_sweep_seconds=1, leadmagic_base_url=fake.url, nyne_base_url=fake.url, **NO_LIMITS,
        )  # fmt: skip
        async with (
            open_process("submitter", settings, database_url) as asking,
            open_process("reconciler", settings, database_url) as looking,
            open_process("reconciler", settings, database_url) as looking_too,
            at_work(submitter.work, asking),
            at_work(reconciler.work, looking),
            at_work(reconciler.work, looking_too),
        ):
            live = Live(account, pool)
            for number in range(CONTACTS):
                live.create(f"jane{number}@acme.co")

            async def all_written() -> bool:
                return len(live.written()) == CONTACTS

            await until(all_written)
            await live.at_rest()

    assert live.written() == [MOBILE] * CONTACTS
    assert len(fake.paid) == CONTACTS
    assert await pool.fetchval("SELECT count(*) FROM lookups") == CONTACTS
