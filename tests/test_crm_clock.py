"""`ringback doctor` compares this machine's clock with the CRM's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from console.crm_clock import check_clock
from enrichment.crms.hubspot import HubSpot
from submitter.transport import open_session


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Provide a session."""
    async with open_session(limit=2, timeout=5) as opened:
        yield opened


@pytest.fixture
async def crm() -> AsyncIterator[HubSpot]:
    """Provide a HubSpot whose answers have a date, as those of every web server."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield HubSpot(access_token=SecretStr("token"), base_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


async def _answer(_: web.Request) -> web.Response:
    return web.json_response({})


@pytest.mark.parametrize(
    ("ahead", "verdict", "says"),
    [
        (400, "fail", "ahead of HubSpot's: its events are refused"),
        (-400, "fail", "behind HubSpot's: its events are refused"),
        (100, "warn", "ahead of HubSpot's"),
    ],
)
async def test_clocks_that_are_apart_are_told(
    session: aiohttp.ClientSession, crm: HubSpot, ahead: int, verdict: str, says: str
) -> None:
    """By how much, which of them is ahead, and what to do."""
    finding = await check_clock(session, crm, lambda: datetime.now(UTC) + timedelta(seconds=ahead))

    assert finding is not None
    assert (finding.about, finding.verdict, finding.remedy) == ("HubSpot clock", verdict, "check NTP")
    told = re.fullmatch(f"this machine's clock is ([0-9]+) seconds {says}", finding.found)
    assert told is not None
    assert abs(int(told[1]) - abs(ahead)) <= 2


async def test_clocks_that_agree_are_no_finding(session: aiohttp.ClientSession, crm: HubSpot) -> None:
    """A second more or less does no harm."""
    assert await check_clock(session, crm) is None


async def test_a_crm_that_cannot_be_reached_tells_no_time(session: aiohttp.ClientSession) -> None:
    """Another check says that."""
    away = HubSpot(access_token=SecretStr("token"), base_url="http://127.0.0.1:1")

    assert await check_clock(session, away) is None
