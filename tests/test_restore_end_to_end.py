"""The database is restored to what it was ten minutes ago: nothing is paid for twice, and nothing is left out.

The Procfile's own commands, both vendors and HubSpot, and what all of them have in their own books. The backup is a
copy of the whole database (CREATE DATABASE ... TEMPLATE) that is made while no process runs, as a base backup is; its
times are moved ten minutes back, so that the test need not wait.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from rig.postgres import execute
from tests.commands import empty_database, ringback, until
from tests.deployed import PROCFILE, Service
from tests.test_end_to_end_hubspot import connected

AGO = timedelta(minutes=10)
MOVED = {
    "finished_jobs": ("submitted_at", "finished_at"),
    "jobs": ("submitted_at", "due_at", "lease_expires_at"),
    "connections": ("connected_at", "swept_to", "sweep_due_at", "walk_began", "walk_due_at"),
    "readings": ("named_at", "due_at"),
    "vendor_figures": ("at",),
}
AGED = [
    f"UPDATE {table} SET {column} = {column} - interval '10 min'"  # noqa: S608
    for table, columns in MOVED.items()
    for column in columns
]
# They were asked and paid for after the backup, or may have been.
DOUBTFUL = ("ny-notfound404--lm-found--chained", "lm-hang-charged--ny-found--asked", "lm-found--queued",
            "lm-none--ny-found--queued", "lm-found--since", "lm-none--ny-found--since")  # fmt: skip


async def down(service: Service, *names: str) -> None:
    """Kill these processes, or all of them."""
    for name in names or tuple(service.processes):
        await service.processes.pop(name).ends(signal.SIGKILL)


async def up(service: Service) -> None:
    """Start all processes that do not run."""
    for name in PROCFILE:
        if name != "release" and name not in service.processes:
            await service.start(name)
    await service.processes["web"].says('"event": "listening"')


async def copy(server_url: str, name: str, to: str) -> None:
    """Replace the database *to* by a copy of *name*."""
    ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
    await execute(
        server_url, f"{ended} '{name}'", f"DROP DATABASE IF EXISTS {to} WITH (FORCE)",
        f"CREATE DATABASE {to} TEMPLATE {name} STRATEGY = FILE_COPY",
    )  # fmt: skip


async def paid(service: Service) -> Counter[tuple[str, str]]:
    """Count what each vendor has charged, by vendor and e-mail address."""
    charges: Counter[tuple[str, str]] = Counter()
    for vendor in ("leadmagic", "nyne"):
        for entry in (await service.get(f"{service.vendors[vendor]}/sandbox/ledger", limit="1000"))["entries"]:
            charges[vendor, entry["person"].removeprefix("email:")] += 1
    return charges


async def holds(url: str, condition: str) -> None:
    """Wait until this condition holds in the database."""
    connection = await asyncpg.connect(url)

    async def look() -> bool | None:
        return await connection.fetchval(f"SELECT {condition}") or None

    try:
        await until(look)
    finally:
        await connection.close()


async def send(service: Service, name: str, *providers: str) -> str:
    """Send an event, with an id of its own, that names this person; return the lookup's id."""
    contact = {"event_id": f"evt-{name}", "record_id": name, "work_email": f"{name}@acme.test"}
    wanted = {"providers": list(providers) or ["leadmagic", "nyne"]}
    async with service.session.post(f"{service.url}/events/generic", json=contact | wanted) as response:
        assert response.status == 202, await response.text()
        id: str = (await response.json())["lookups"][0]["id"]
        return id


async def command(service: Service, folder: Path, *arguments: str) -> Any:
    """Run `ringback` with --json; return what it says."""
    told = await ringback(*arguments, "--json", cwd=folder, **service.settings)
    assert told.code == 0, told.out + told.err
    return json.loads(told.out)


async def test_a_restore_ten_minutes_back_pays_for_nothing_twice(server_url: str, tmp_path: Path) -> None:
    """What was asked since the backup is held, listed and counted; what was not is released, and answered."""
    async with empty_database(server_url) as url, connected(url, HUBSPOT_SWEEP_SECONDS="1") as hubspot:
        service, database = hubspot.service, urlsplit(url).path[1:]
        backup = f"{database}_backup"
        # Only figures from a quiet moment can be compared to the credit.
        await holds(url, "(SELECT count(*) = 2 FROM vendor_figures)")
        await service.ended(await send(service, "lm-found--before"))
        # At the backup's moment: two wait for Nyne, one is being asked, two are queued.
        await down(service, "reconciler")
        await send(service, "ny-silent--awaiting", "nyne")
        await send(service, "ny-notfound404--lm-found--chained", "nyne", "leadmagic")
        await holds(url, "(SELECT count(*) = 2 FROM jobs WHERE state = 'awaiting')")
        await send(service, "lm-hang-charged--ny-found--asked")
        await holds(url, "EXISTS (SELECT FROM jobs WHERE state = 'submitting')")
        await hubspot.until(lambda: hubspot.asked("leadmagic", 2))
        await down(service, "submitter")
        for name in ("lm-found--queued", "lm-none--ny-found--queued"):
            await send(service, name)
        await down(service)
        since = datetime.now(UTC) - AGO
        await copy(server_url, database, backup)
        # Ten minutes of work, which will be lost.
        await up(service)
        for name in ("lm-found--since", "lm-none--ny-found--since"):
            await service.ended(await send(service, name))
        cleared, kept = await hubspot.create("lm-found--cleared"), await hubspot.create("lm-found--kept")
        await hubspot.has_number(cleared)
        await hubspot.has_number(kept)
        await hubspot.do("PATCH", f"contacts/{cleared}", properties={"mobilephone": ""})
        missed = await hubspot.create("lm-none--ny-none--missed")
        await hubspot.at_rest()
        before = await paid(service)
        await down(service)

        await copy(server_url, backup, database)
        await execute(url, *AGED, f"DROP DATABASE {backup}")
        await command(service, tmp_path, "pause", "--reason", "restored from a backup")
        first = await command(service, tmp_path, "reconcile", "--since", since.isoformat())
        await up(service)
        await command(service, tmp_path, "resume", "--all")
        # All comes in again: sweeps list, senders repeat. One event was never paid for.
        for name in ("lm-found--queued", "lm-found--since", "lm-none--ny-found--since", "lm-found--before"):
            await send(service, name)
        new = await send(service, "lm-found--new")
        doubtful = {*DOUBTFUL, "lm-found--new", cleared, missed}

        async def are_held() -> bool:
            if any([await hubspot.listed("lookups", status=status) for status in ("queued", "running")]):
                return False
            return {one["record_id"] for one in await hubspot.listed("lookups", status="held")} == doubtful

        await hubspot.until(are_held)
        stands = await command(service, tmp_path, "reconcile")
        assert await paid(service) == before, "something was paid for while it should be held"
        assert first["newly_held"] == 2
        assert {one["record_id"] for one in stands["held"]} == doubtful
        unexplained = {one["provider"]: one["about_numbers"] for one in stands["providers"]}
        # Queued, since, chained, cleared and kept; and what LeadMagic was being asked, which is only possible to us.
        assert unexplained == {"leadmagic": 6, "nyne": 3}

        assert (await command(service, tmp_path, "reconcile", "--done"))["is_done"]
        after = await send(service, "lm-found--after")
        (untold,) = (one["id"] for one in stands["held"] if one["record_id"] == missed)
        for id in (new, untold):
            async with service.session.post(f"{service.url}/v1/lookups/{id}/release") as response:
                assert response.status == 200, await response.text()
        ends = [(await service.ended(id))["status"] for id in (after, new, untold)]
        assert ends == ["found", "found", "not_found"]
        expected = before + Counter({("leadmagic", f"lm-found--{name}@acme.test"): 1 for name in ("after", "new")})
        assert await paid(service) == expected
        assert max(expected.values()) == 1
