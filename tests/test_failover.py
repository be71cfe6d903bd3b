"""A primary dies, and a standby, under load: `make failover` does the same again and again, and more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rig.pgbouncer import PROGRAM
from rig.processes import environment
from tests.forked import ROOT, run

KINDS = ("primary killed", "standby killed, and back", "waits cut short, primary killed")
AT_LAST = 30.0  # seconds; it takes about three when nothing else runs
PATIENCE = 200.0  # seconds; it takes about 20 when nothing else runs


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one round of each of these kinds has shown; the second of each process is behind PgBouncer."""
    options = ["--rounds", "1", "--seed", "7", "--json", "--report", str(tmp_path_factory.mktemp("failover"))]
    options += [word for kind in KINDS for word in ("--kind", kind)]
    played = run("chaos.failover", *options, cwd=ROOT, env=environment(), within=PATIENCE, starts_forks=True)
    ended = asyncio.run(played)
    assert ended.out, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def slowest(report: dict[str, Any], what: str) -> dict[str, float]:
    """The longest time, by kind of round."""
    return {one["kind"]: one["max"] for one in report["distributions"] if one["what"] == what}


def test_nothing_acknowledged_is_lost_and_nothing_is_paid_twice(report: dict[str, Any]) -> None:
    """A promoted standby has everything that was acknowledged, and every claim of which a question was sent."""
    assert {check["promise"]: check["offences"] for check in report["checks"] if not check["holds"]} == {}
    assert [one["kind"] for one in report["rounds"]] == list(KINDS)
    counts = report["checks"][0]["counts"]
    assert counts["acknowledged while nothing could be replicated"] == 0
    assert counts["commits that were on the dead primary only"] > 0


@pytest.mark.parametrize("what", ["next 2xx", "next question stored"])
def test_each_process_finds_the_new_primary(report: dict[str, Any], what: str) -> None:
    """Among several hosts in DATABASE_URL, by itself and within seconds."""
    times = slowest(report, f"{what}, by hosts")

    assert times.keys() == set(KINDS)
    assert max(times.values()) < AT_LAST


@pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer; apt-get install pgbouncer")
@pytest.mark.parametrize("what", ["next 2xx", "next question stored"])
def test_so_does_each_process_behind_pgbouncer(report: dict[str, Any], what: str) -> None:
    """PgBouncer is pointed at the new primary, and LISTEN finds it among the hosts of DATABASE_DIRECT_URL."""
    times = slowest(report, f"{what}, by PgBouncer")

    assert times.keys() == set(KINDS)
    assert max(times.values()) < AT_LAST
