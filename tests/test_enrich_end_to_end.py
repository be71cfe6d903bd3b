"""`ringback enrich` with the Procfile's own processes and the pretend vendors: from a file to the enriched file."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rig.processes import environment
from tests.commands import RINGBACK, empty_database, running
from tests.deployed import Service, deployed

FOUND, MISSED = 60, 10


@pytest.fixture
async def service(server_url: str) -> AsyncIterator[Service]:
    """Provide all processes, on a database of their own."""
    async with empty_database(server_url) as url, deployed(url) as deployed_service:
        yield deployed_service


def contacts(folder: Path) -> Path:
    """Write a file of contacts: most have a number, one is there twice, one is unusable, one could be a formula."""
    path = folder / "contacts.csv"
    rows = [(f"https://linkedin.com/in/lm-found--p{n}", f"Person {n}", "=1+1") for n in range(FOUND)]
    rows += [(f"linkedin.com/in/lm-none--ny-none--q{n}", f"Nobody {n}", "") for n in range(MISSED)]
    rows += [rows[0], ("", "", "no one")]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("LinkedIn", "Name", "Notes"), *rows])
    return path


async def credits_of(service: Service) -> float:
    """Return the credits that both vendors charged, by their own books."""
    ledgers = [await service.charged(vendor) for vendor in ("leadmagic", "nyne")]
    return float(sum(ledger["totals"]["credits"] for ledger in ledgers))


async def test_a_file_is_sampled_quoted_stopped_resumed_and_paid_for_once(service: Service, tmp_path: Path) -> None:
    """The sample comes first, the rest after an approval; the same command goes on after Ctrl-C, and pays once."""
    path = contacts(tmp_path)
    command = [*RINGBACK, "enrich", str(path), "--sample", "10"]
    env = environment(**service.settings)

    async with running(command, env, tmp_path) as counted:
        code = await counted.ends()
    after_the_sample = await credits_of(service)
    assert code == 1
    assert any("70 new, 0 known already, 1 duplicates, 1 unusable" in line for line in counted.lines), counted.lines
    assert any("match rate" in line for line in counted.lines), counted.lines
    assert any("--yes" in line for line in counted.lines), counted.lines
    assert 0 < after_the_sample <= 10 * 5

    await service.processes["submitter"].ends(signal.SIGTERM)  # so that the rest waits
    async with running([*command, "--yes"], env, tmp_path) as stopped:
        await stopped.says("Goes on: 10 rows were asked before")
        await stopped.until(lambda: begun(service, 11))
        code = await stopped.ends(signal.SIGINT)
    assert code == 1
    assert any("The same command goes on" in line for line in stopped.lines), stopped.lines

    await service.start("submitter")
    async with running([*command, "--yes", "--json"], env, tmp_path) as resumed:
        await resumed.says("Goes on: 60 rows were asked before")
        code = await resumed.ends()
    assert code == 0, resumed.lines
    summary = json.loads("".join(resumed.lines[next(n for n, line in enumerate(resumed.lines) if line == "{") :]))
    assert (summary["state"], summary["found"], summary["credits"]) == ("done", FOUND + 1, FOUND * 5)
    assert await credits_of(service) == FOUND * 5
    with (tmp_path / "contacts.enriched.csv").open(encoding="utf-8-sig", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    assert len(rows) == FOUND + MISSED + 2
    assert rows[0]["Notes"] == "=1+1"
    assert rows[0]["ringback_mobile"] == rows[FOUND + MISSED]["ringback_mobile"] != ""
    assert [row["ringback_status"] for row in rows[FOUND:]] == ["not_found"] * MISSED + ["found", "unusable"]


async def begun(service: Service, least: int) -> bool | None:
    """Tell whether so many lookups of files are there."""
    page = await service.get(f"{service.url}/v1/lookups", source="api", limit=str(least))
    return len(page["lookups"]) >= least or None
