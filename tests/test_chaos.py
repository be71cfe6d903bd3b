"""The chaos, for a minute: every kind of fault at least once, and every promise checked from outside.

`make chaos` does the same for ten minutes, again and again.
"""

from __future__ import annotations

import json
from pathlib import Path

from chaos.plan import KINDS
from rig.processes import environment
from tests.forked import ROOT, run

SEED = 7
PATIENCE = 280.0  # seconds; it takes about 55 when nothing else runs


async def test_a_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    """Processes die, database, network, vendors and the CRM break: nothing lost, paid twice, overwritten or stuck."""
    ended = await run(
        "chaos", "--short", "--rate", "20", "--seed", str(SEED), "--report", str(tmp_path),
        cwd=ROOT, env=environment(), within=PATIENCE, starts_forks=True,
    )  # fmt: skip

    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert {check["number"]: check["holds"] for check in report["checks"]} == dict.fromkeys(range(1, 14), True)
    assert report["faults"].keys() == {kind.name for kind in KINDS}
    assert all(report["faults"].values())
    text = (tmp_path / "report.txt").read_text()
    assert all(kind.name in text for kind in KINDS)
