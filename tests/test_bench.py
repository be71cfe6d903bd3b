"""The benchmark runs, and its results are of the shape that is promised."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import pgbench, report
from bench.measure import Rounds, Row, reached
from bench.row_limits import refused_fixed, refused_sliding
from bench.server import connected
from rig.processes import environment
from tests.commands import ROOT

KEYS = {"name", "ours", "limit", "peers", "unit", "ratio", "reach", "reached", "spread"}
# Of each item, when it was written.
ROWS = {
    "events": {"events": 1, "fingerprints": 1, "keys": 2, "searches": 1, "jobs": 1, "finished_jobs": 0},
    "callbacks": {"callbacks": 1, "jobs": 0, "finished_jobs": 1, "ledger": 1, "searches": 1},
    "lookups": {"callbacks": 0, "jobs": 0, "finished_jobs": 1, "ledger": 1, "searches": 1},
}
WITHIN = 60.0  # seconds, on a machine that is busy; alone it takes ten


def _check_shape(results: dict[str, Any]) -> None:
    assert results["rows"]
    for row in results["rows"]:
        assert row.keys() >= KEYS
        assert isinstance(row["peers"], dict)
        assert isinstance(row["spread"], dict)
        assert row["reached"] in (True, False, None)
    text = json.dumps(results)
    assert "/work" not in text
    assert "rb-bench" not in text


async def test_a_quick_row_is_measured_and_kept(tmp_path: Path) -> None:
    """One row, one short round: it ends by itself, and its results can be read."""
    command = ("-m", "bench", "memory", "--quick", "--keep", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    _check_shape(results)
    assert results["machine"]["postgres"]["fsync"] == "on"
    assert results["machine"]["postgres"]["synchronous_commit"] == "on"


@pytest.mark.parametrize(("script", "finals"), [("events", None), ("callbacks", "found"), ("lookups", "found")])
async def test_pgbench_writes_the_rows_that_ours_write(script: str, finals: str | None, database_url: str) -> None:
    """The limit does the same work: every lookup is stored, and ends where ours end; the schema's CHECKs hold."""
    async with connected(database_url) as connection:
        count = await pgbench.prepare(connection, script, size=5, commits=4)
        assert count == 20
        rate = await pgbench.write(database_url, script, size=5, clients=2, commits=2, within=WITHIN)
        assert rate > 0
        lookups = await connection.fetch("SELECT id, final_status FROM lookups")
        assert [row["final_status"] for row in lookups] == [finals] * count
        for table, rows in ROWS[script].items():
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == rows * count, table  # noqa: S608
        statuses = await connection.fetch("SELECT status::text, unswept FROM searches")
        assert {tuple(row) for row in statuses} == {(finals, False)}
        assert not await connection.fetchval("SELECT sum(reserved) FROM usage")


def test_the_committed_results_have_the_shape() -> None:
    """The committed results were written by this program."""
    path = ROOT / "bench" / "results.json"
    if not path.exists():
        pytest.skip("nothing was measured yet")
    _check_shape(json.loads(path.read_text(encoding="utf-8")))


def test_rows_that_were_not_measured_stay(tmp_path: Path) -> None:
    """One row measured again replaces itself, and nothing else."""
    for name, ours in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        report.save([Row(name, "per second", ours, "≥ 1", True, limit=4.0)], {"cores": 2}, tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["name"], row["ours"]) for row in rows] == [("a", 3.0), ("b", 2.0)]


def test_the_ratio_is_taken_round_by_round() -> None:
    """A minute in which the machine was slow for both changes no ratio."""
    rounds = Rounds({"ours": [80.0, 8.0, 90.0], "limit": [100.0, 10.0, 100.0]}, {})
    assert rounds.ratio("ours", "limit") == pytest.approx(0.8)
    assert reached((0.8, 0.85)) is False
    assert reached((None, 0.85)) is None


def test_vendors_refuse_what_is_too_much() -> None:
    """Three in a window of two: refused by either way of counting; evenly spread, by none."""
    assert refused_sliding([0.0, 0.1, 0.2], 2, window=1.0) == 1
    assert refused_fixed([0.0, 0.1, 0.2], 2, window=1.0) == 1
    assert refused_sliding([0.0, 0.6, 1.2, 1.8], 2, window=1.0) == 0
    assert refused_fixed([0.0, 0.6, 1.2, 1.8], 2, window=1.0) == 0
