"""The chaos, for a minute: every kind of fault at least once, and every promise checked from outside.

`make chaos` does the same for ten minutes, again and again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from chaos.plan import KINDS

ROOT = Path(__file__).parent.parent
SEED = 7
PATIENCE = 280.0  # seconds; it takes about 55 when nothing else runs


def test_a_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    """Processes die, database, network, vendors and the CRM break: nothing lost, paid twice, overwritten or stuck."""
    command = [sys.executable, "-m", "chaos", "--short", "--rate", "20", "--seed", str(SEED), "--report", str(tmp_path)]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert {check["number"]: check["holds"] for check in report["checks"]} == dict.fromkeys(range(1, 14), True)
    assert report["faults"].keys() == {kind.name for kind in KINDS}
    assert all(report["faults"].values())
    text = (tmp_path / "report.txt").read_text()
    assert all(kind.name in text for kind in KINDS)
