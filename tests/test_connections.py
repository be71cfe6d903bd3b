"""The connections of CRMs: stored once, noticed by every process, and the environment wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from enrichment.crms.hubspot import HubSpot
from enrichment.settings import Settings
from store.connections import Connections, connect, connect_by_token, disconnect, note_account, read_connections
from tests.conftest import MakeSettings

if TYPE_CHECKING:
    from tests.order import Pool


@pytest.fixture
def with_token(make_settings: MakeSettings) -> Settings:
    """Provide settings in which nothing but HubSpot's token is set."""
    return make_settings(hubspot_access_token="pat-1")


async def refreshed(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten seconds pass for this process."""
    monkeypatch.setattr(connections, "_read_at", float("-inf"))


async def test_a_token_alone_connects(pool: Pool, with_token: Settings) -> None:
    """The first process that starts connects HubSpot from now on, with its default fields."""
    crm = await Connections(pool, with_token).crm("hubspot")

    assert isinstance(crm, HubSpot)
    assert crm.linkedin_field == "hs_linkedin_url"
    assert await pool.fetchval("SELECT connected_at > now() - interval '1 min' FROM connections")


async def test_without_a_token_nothing_is_connected(pool: Pool, make_settings: MakeSettings) -> None:
    """There is no adapter, no account, and no moment of connecting."""
    connections = Connections(pool, make_settings())

    assert await connections.crm("hubspot") is None
    assert await connections.account("hubspot") is None
    assert await connections.connected_at("hubspot") is None


async def test_a_later_process_leaves_the_connection_as_it_is(pool: Pool, with_token: Settings) -> None:
    """Starting again moves neither the moment of connecting nor the watermark, and forgets nothing."""
    await connect(pool, "hubspot", account="62515", learned={"linkedin_field": "li"})
    before = await pool.fetchrow("SELECT * FROM connections")

    await connect_by_token(pool, with_token)

    assert await pool.fetchrow("SELECT * FROM connections") == before


async def test_what_was_learned_is_used_and_the_environment_wins(pool: Pool, make_settings: MakeSettings) -> None:
    """`ringback connect` found a field; a setting names another."""
    await connect(pool, "hubspot", account="62515", learned={"linkedin_field": "found"})

    learned = await Connections(pool, make_settings(hubspot_access_token="pat-1")).crm("hubspot")
    told = await Connections(pool, make_settings(hubspot_access_token="pat-1", hubspot_linkedin_field="told")).crm(
        "hubspot"
    )

    assert isinstance(learned, HubSpot)
    assert isinstance(told, HubSpot)
    assert (learned.linkedin_field, told.linkedin_field) == ("found", "told")


async def test_a_change_is_noticed_and_only_a_change_builds_anew(
    pool: Pool, with_token: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter stays the same object until its row changes; then every process has a new one within 10 s."""
    connections = Connections(pool, with_token)
    first = await connections.crm("hubspot")
    await refreshed(connections, monkeypatch)
    assert await connections.crm("hubspot") is first

    await connect(pool, "hubspot", account="62515", learned={"linkedin_field": "found"})
    assert await connections.crm("hubspot") is first  # it was read less than 10 s ago
    await refreshed(connections, monkeypatch)
    changed = await connections.crm("hubspot")

    assert isinstance(changed, HubSpot)
    assert changed.linkedin_field == "found"
    assert await connections.account("hubspot") == "62515"


async def test_a_disconnected_crm_stays_so_in_the_processes_that_run(
    pool: Pool, with_token: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token is still set: only a process that starts connects it again."""
    connections = Connections(pool, with_token)
    assert await connections.crm("hubspot") is not None

    assert await disconnect(pool, "hubspot")
    await refreshed(connections, monkeypatch)

    assert await connections.crm("hubspot") is None
    assert not await disconnect(pool, "hubspot")
    assert await Connections(pool, with_token).crm("hubspot") is not None


async def test_connecting_again_keeps_the_moment_of_the_first_time(pool: Pool) -> None:
    """History is bought by a backfill alone: neither the moment nor the watermark moves; the error is over."""
    await connect(pool, "hubspot", account=None, learned={})
    await pool.execute(
        "UPDATE connections SET connected_at = '2026-01-01', swept_to = '2026-01-02', error = 'no token'"
    )

    assert await connect(pool, "hubspot", account="62515", learned={"own_properties": True})

    row = await pool.fetchrow("SELECT connected_at::date::text, swept_to::date::text, account, error FROM connections")
    assert row is not None
    assert tuple(row) == ("2026-01-01", "2026-01-02", "62515", None)


async def test_another_account_is_not_connected_over_the_first(pool: Pool) -> None:
    """Its records have other ids: a number would be written onto a stranger."""
    await connect(pool, "hubspot", account="62515", learned={})

    assert not await connect(pool, "hubspot", account="99999", learned={})
    await note_account(pool, "hubspot", "99999")

    assert (await read_connections(pool))["hubspot"].account == "62515"


def test_what_was_learned_does_not_show_in_a_log(pool: Pool) -> None:
    """It may hold secrets that a CRM shows once."""
    from datetime import UTC, datetime

    from store.connections import Connection

    assert "secret" not in repr(Connection("hubspot", "1", datetime.now(UTC), {"client_secret": "secret"}))
