"""HubSpot and all our processes over real sockets: an event comes in, and the number is on the contact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from receiver.app import create_app
from rig.ports import free_port
from sandbox.hubspot.account import HubSpot, HubSpotSettings
from sandbox.hubspot.calls import Token
from sandbox.hubspot.events import Subscription
from sandbox.hubspot.records import HUMAN, Contact
from sandbox.server import running
from submitter import __main__ as submitter
from submitter import reconciler
from submitter.process import Process, open_process
from tests.at_work import NO_LIMITS
from tests.conftest import MakeSettings
from tests.fake_provider import FakeProvider, found, held

MOBILE = "+15551234567"
PATIENCE = 20.0  # seconds, until a test is stuck
SECRET = "hs_sandbox_secret"


@dataclass(frozen=True)
class Live:
    """Everything at work."""

    account: HubSpot
    pool: asyncpg.Pool[Any]

    def create(self, email: str = "jane@acme.co") -> Contact:
        """Create a contact as a person."""
        return self.account.portal.create({"email": email, "firstname": "Jane", "lastname": "Doe"}, HUMAN)

    def written(self) -> list[str]:
        """Return the mobile numbers that were written through the API, in order."""
        writes = self.account.portal.writes
        return [one.new for one in writes if one.name == "mobilephone" and one.author.source_type == "INTEGRATION"]

    async def at_rest(self) -> None:
        """Wait until no event is on its way, and nothing is left to read, to ask or to deliver."""

        async def rests() -> bool:
            if self.account.stats()["webhooks_pending"]:
                return False  # asked first: an event that was answered has named its contact
            row = await self.pool.fetchrow(
                """
                SELECT (SELECT count(*) FROM readings WHERE state IN ('queued', 'reading'))
                     + (SELECT count(*) FROM jobs)
                     + (SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')) AS left
                """
            )
            assert row is not None
            return bool(row["left"] == 0)

        await until(rests)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *holds* is true."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def at_work(work: Callable[[Process, asyncio.Event], Awaitable[None]], process: Process) -> AsyncIterator[None]:
    """Run a process's work inside the block, and stop it at the end."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(work(process, stop))
    try:
        yield
    finally:
        stop.set()
        await task


@pytest.fixture
async def live(
    fake: FakeProvider, make_settings: MakeSettings, database_url: str, pool: asyncpg.Pool[Any]
) -> AsyncIterator[Live]:
    """Provide all processes at work, and HubSpot's webhooks subscribed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    account = HubSpot(
        HubSpotSettings(
            per_ten_seconds=0, searches_per_second=0, index_lag=(0, 0), batch_seconds=0, retry_seconds=0,
            subscription=Subscription(url=f"{url}/events/hubspot", client_secret=SECRET),
        )
    )  # fmt: skip
    async with running(account) as hubspot_url:
        settings = make_settings(
            database_url=database_url, public_url=url, hubspot_base_url=hubspot_url,
            hubspot_access_token="hs_sandbox", hubspot_client_secret=SECRET, hubspot_sweep_seconds=0,
            leadmagic_base_url=fake.url, nyne_base_url=fake.url, **NO_LIMITS,
        )  # fmt: skip
        async with (
            running(create_app(settings, pool, database_url), port=port),
            open_process("submitter", settings, database_url) as asking,
            open_process("reconciler", settings, database_url) as looking,
            at_work(submitter.work, asking),
            at_work(reconciler.work, looking),
        ):
            yield Live(account, pool)


async def test_an_event_puts_the_number_onto_its_contact_once(live: Live, fake: FakeProvider) -> None:
    """Created, read, asked, written: one question and one write; the event of our own write makes no lookup."""
    fake.questions.append(found("+1-555-123-4567"))

    contact = live.create()
    await fake.arrive(1)
    await until(lambda: is_written(contact))
    await live.at_rest()

    assert live.written() == [MOBILE]
    assert len(fake.paid) == 1
    assert await live.pool.fetchval("SELECT count(*) FROM lookups") == 1
    assert await live.pool.fetchval("SELECT state::text FROM deliveries") == "delivered"


async def test_a_person_may_do_anything_meanwhile(live: Live, fake: FakeProvider) -> None:
    """While the provider works, one contact is edited, one deleted, two are merged; no person's edit is overwritten."""
    slow = held(found("+1-555-123-4567"))
    fake.questions.extend([slow])
    edited, deleted, one, two = (live.create(f"{name}@acme.co") for name in ("ann", "bob", "carl", "dora"))
    await fake.arrive(4)

    live.account.portal.edit(edited, {"mobilephone": "+15557654321"}, HUMAN)
    live.account.portal.archive(deleted, HUMAN)
    merged = live.account.portal.merge(one, two, HUMAN)
    assert slow.release is not None
    slow.release.set()
    await until(lambda: is_written(merged))
    await live.at_rest()

    assert edited.value("mobilephone") == "+15557654321"
    assert deleted.value("mobilephone") is None
    assert merged.value("mobilephone") == MOBILE
    assert live.written() == [MOBILE]


async def test_a_revoked_token_pauses_and_resumes_by_itself(live: Live, fake: FakeProvider) -> None:
    """While the token is refused everything waits; when it is taken again, everything goes on without a person."""
    fake.questions.append(found("+1-555-123-4567"))
    token = live.account.tokens["hs_sandbox"]
    live.account.tokens["hs_sandbox"] = Token(token.name, token.app, token.scopes, revoked=True)

    contact = live.create()
    await until(lambda: is_paused(live))
    live.account.tokens["hs_sandbox"] = token
    await live.pool.execute("UPDATE providers SET check_at = now() WHERE name = 'hubspot'")
    await until(lambda: is_written(contact))
    await live.at_rest()

    assert live.written() == [MOBILE]


async def is_written(contact: Contact) -> bool:
    """Tell whether the contact has a mobile number."""
    return contact.value("mobilephone") is not None


async def is_paused(live: Live) -> bool:
    """Tell whether HubSpot is paused."""
    return bool(await live.pool.fetchval("SELECT paused_at IS NOT NULL FROM providers WHERE name = 'hubspot'"))
