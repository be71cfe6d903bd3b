"""A CRM's work begins when the CRM can be called, and ends when it cannot any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from store.connections import Connections, connect, disconnect
from submitter.crm_callers import CrmCallers
from submitter.crm_desk import CrmDesk
from tests.at_work import until
from tests.conftest import Start
from tests.crm_world import CrmWorld, crm_world


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections be looked at all the time, not every few seconds."""
    monkeypatch.setattr("submitter.crm_desk.NOTICE_EVERY", 0.01)
    monkeypatch.setattr("store.connections.REFRESH", 0.0)


async def test_a_connection_is_noticed_and_so_is_its_end(attentive: None, start: Start) -> None:
    """A CRM that is connected while the process runs is read from then on; disconnected, no more."""
    async with crm_world(start) as crm:
        await crm.name(crm.create())
        connections = Connections(crm.pool, crm.at_work.process.settings)
        assert await connections.crm("hubspot") is not None  # what the token connects at the start is connected
        await disconnect(crm.pool, "hubspot")
        callers = CrmCallers(crm.pool, crm.at_work.process.settings, connections)
        desk = CrmDesk("hubspot", crm.at_work.process, callers, connections, crm.wake, lambda: True)
        stop = asyncio.Event()
        running = asyncio.create_task(desk.run(stop))

        await connect(crm.pool, "hubspot", account=None, learned={})
        await until(_read(crm, 1))
        await disconnect(crm.pool, "hubspot")
        await until(_idle(desk))
        await crm.name(crm.create())
        assert await crm.pool.fetchval("SELECT count(*) FROM readings WHERE state = 'queued'") == 1
        await connect(crm.pool, "hubspot", account=None, learned={})
        await until(_read(crm, 2))

        stop.set()
        await running
        await callers.close()


def _read(crm: CrmWorld, times: int) -> Callable[[], Awaitable[bool]]:
    """Return whether so many readings have ended."""

    async def ended() -> bool:
        return bool(await crm.pool.fetchval("SELECT count(*) FROM readings WHERE ended_at IS NOT NULL") == times)

    return ended


def _idle(desk: CrmDesk) -> Callable[[], Awaitable[bool]]:
    """Return whether the desk has no work."""

    async def idle() -> bool:
        return not desk.is_working

    return idle
