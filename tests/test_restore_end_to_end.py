"""The database is restored to what it was ten minutes ago: nothing is paid for twice, and nothing is left out.

The Procfile's own commands, both vendors and HubSpot, and what all of them have in their own books. The backup is a
copy of the whole database (CREATE DATABASE ... TEMPLATE) that is made while no process runs, as a base backup is; its
times are moved ten minutes back, and nobody waits.
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
from tests.test_end_to_end_hubspot import Account, connected

AGO = timedelta(minutes=10)
# Both numbers of the vendors' prices, in credits.
LEADMAGIC, NYNE = 5, 3
AGED = (
    "UPDATE finished_jobs SET submitted_at = submitted_at - interval '10 min', finished_at = finished_at - interval '10 min'",
    "UPDATE jobs SET submitted_at = submitted_at - interval '10 min', due_at = due_at - interval '10 min',"
    " lease_expires_at = lease_expires_at - interval '10 min'",
    "UPDATE connections SET swept_to = swept_to - interval '10 min'",
    "UPDATE readings SET named_at = named_at - interval '10 min', due_at = due_at - interval '10 min'",
    "UPDATE vendor_figures SET at = at - interval '10 min'",
)


# They were asked and paid for after the backup, or may have been.
DOUBTFUL = ("ny-notfound404--lm-found--chained", "lm-slow--ny-found--asked", "lm-found--queued",
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
            charges[vendor, str(entry["person"])] += 1
    return charges


async def is_in_state(url: str, state: str, jobs: int) -> None:
    """Wait until so many jobs are in this state."""
    connection = await asyncpg.connect(url)

    async def look() -> bool | None:
        return await connection.fetchval("SELECT count(*) = $2 FROM jobs WHERE state::text = $1", state, jobs) or None

    try:
        await until(look)
    finally:
        await connection.close()


async def send(service: Service, name: str, *providers: str) -> str:
    """Send an event, with an id of its own, that names this person; return the lookup's id."""
    return await service.event(
        event_id=f"evt-{name}", record_id=name, work_email=f"{name}@acme.test",
        providers=list(providers) or ["leadmagic", "nyne"],
    )  # fmt: skip


async def command(service: Service, folder: Path, *arguments: str) -> Any:
    """Run `ringback` with --json; return what it says."""
    told = await ringback(*arguments, "--json", cwd=folder, **service.settings)
    assert told.code == 0, told.out + told.err
    return json.loads(told.out)


async def test_a_restore_ten_minutes_back_pays_for_nothing_twice(server_url: str, tmp_path: Path) -> None:
    """What was asked since the backup is held, listed and counted; what was not is released, and answered."""
    async with empty_database(server_url) as url, connected(url, HUBSPOT_SWEEP_SECONDS="1") as hubspot:
        service, database = hubspot.service, urlsplit(url).path[1:]
        answered = await send(service, "lm-found--before")
        written = await hubspot.create("lm-found--written")
        await service.ended(answered)
        await hubspot.has_number(written)
        await hubspot.at_rest()
        # At the backup's moment: two wait for Nyne, one is being asked, two are queued.
        await down(service, "reconciler")
        await send(service, "ny-silent--awaiting", "nyne")
        await send(service, "ny-notfound404--lm-found--chained", "nyne", "leadmagic")
        await is_in_state(url, "awaiting", 2)
        await send(service, "lm-slow--ny-found--asked")
        await is_in_state(url, "submitting", 1)
        await hubspot.until(lambda: hubspot.asked("leadmagic", 3))
        await down(service, "submitter")
        await send(service, "lm-found--queued")
        await send(service, "lm-none--ny-found--queued")
        await down(service)
        since = datetime.now(UTC) - AGO
        await copy(server_url, database, f"{database}_backup")
        # Ten minutes of work, which will be lost.
        await up(service)
        await service.processes["submitter"].says("crm_work_started")
        for name in ("lm-found--since", "lm-none--ny-found--since"):
            await service.ended(await send(service, name))
        cleared, late = await hubspot.create("lm-found--cleared"), await hubspot.create("lm-found--since")
        await hubspot.has_number(cleared)
        await hubspot.has_number(late)
        await hubspot.do("PATCH", f"contacts/{cleared}", properties={"mobilephone": ""})
        missed = await hubspot.create("lm-none--ny-none--missed")
        await hubspot.at_rest()
        before = await paid(service)
        await down(service)

        await copy(server_url, f"{database}_backup", database)
        await execute(url, *AGED)
        assert (await command(service, tmp_path, "pause", "--reason", "restored"))["paused"]
        preview = await command(service, tmp_path, "reconcile", "--since", since.isoformat(), "--dry-run")
        told = await command(service, tmp_path, "reconcile", "--since", since.isoformat())
        again = await command(service, tmp_path, "reconcile", "--since", since.isoformat())
        await up(service)
        await command(service, tmp_path, "resume", "--all")
        # All comes in again: the sweeps list, senders repeat; and an event comes that was never paid for.
        for name in ("lm-found--queued", "lm-found--since", "lm-none--ny-found--since", "lm-found--before"):
            await send(service, name)
        new = await send(service, "lm-found--new")
        held = {*DOUBTFUL, "lm-found--new", cleared, missed}

        async def are_held() -> bool:
            if any([await hubspot.listed("lookups", status=status) for status in ("queued", "running")]):
                return False
            return {one["record_id"] for one in await hubspot.listed("lookups", status="held")} == held

        await hubspot.until(are_held)
        stands = await command(service, tmp_path, "reconcile")
        assert await paid(service) == before

        done = await command(service, tmp_path, "reconcile", "--done")
        after = await send(service, "lm-found--after")
        assert (await service.ended(after))["status"] == "found"
        unpaid = {new, *(one["id"] for one in stands["held"] if one["record_id"] == missed)}
        for id in unpaid:
            await command(service, tmp_path, "release", "--id", id, "--yes")
        ends = {id: (await service.ended(id))["status"] for id in unpaid}

        print(json.dumps(stands, indent=1), preview["newly_held"], told["newly_held"], again["newly_held"], done["is_done"], ends)
        assert max((await paid(service)).values()) == 1
