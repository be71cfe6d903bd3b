"""What the pretend HubSpot sends over a real socket is stored by the receiver, in each of its forms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from receiver.app import create_app
from rig.ports import free_port
from sandbox.hubspot.account import HubSpot, HubSpotSettings
from sandbox.hubspot.events import Subscription
from sandbox.hubspot.records import HUMAN
from sandbox.server import running
from tests.conftest import MakeSettings
from tests.crm_posts import SECRET, readings

if TYPE_CHECKING:
    from tests.wishes import Pool

SOON = 10.0  # seconds, until a test is stuck


@asynccontextmanager
async def connected(
    pool: Pool, url: str, make_settings: MakeSettings, path: str = "/events/hubspot", *, v1: bool = False, **words: Any
) -> AsyncIterator[HubSpot]:
    """Hold a receiver and a HubSpot that sends it events inside the block."""
    port = free_port()
    public = f"http://127.0.0.1:{port}"
    subscription = Subscription(url=f"{public}{path}", client_secret=SECRET, **words)
    account = HubSpot(HubSpotSettings(batch_seconds=0.01, retry_seconds=0.05, subscription=subscription))
    settings = make_settings(public_url=public, hubspot_client_secret=SECRET, hubspot_accept_v1=v1)
    async with running(create_app(settings, pool, url), port=port), running(account):
        yield account


async def answered(account: HubSpot) -> list[int | None]:
    """Wait until HubSpot has sent something; return the statuses of the answers."""
    async with asyncio.timeout(SOON):
        while not account.journal.sent:
            await asyncio.sleep(0)
    return [sent.status for sent in account.journal.sent]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/events/hubspot", {}),
        ("/events/hubspot/", {"dialect": "generic"}),
        ("//events/hubspot?a=b%3Ac%2Fd&e=%20", {"type_key": "eventType"}),
        ("/events/hubspot", {"signing": "both"}),
        ("/events/hubspot", {"signing": "v1", "v1": True}),
    ],
)
async def test_a_created_contact_is_named(
    pool: Pool, database_url: str, make_settings: MakeSettings, path: str, words: dict[str, Any]
) -> None:
    """Both dialects, both names of the type, each signature, and an address with all that may be in one."""
    async with connected(pool, database_url, make_settings, path, **words) as account:
        record = account.portal.create({"email": "jane@acme.co"}, HUMAN)
        statuses = await answered(account)

    assert statuses == [202]
    assert (str(record.id), "queued") in await readings(pool)


async def test_an_old_signature_alone_is_refused(pool: Pool, database_url: str, make_settings: MakeSettings) -> None:
    """Unless a setting allows it."""
    async with connected(pool, database_url, make_settings, signing="v1") as account:
        account.portal.create({"email": "jane@acme.co"}, HUMAN)
        statuses = await answered(account)

    assert statuses[0] == 401
    assert await readings(pool) == []
