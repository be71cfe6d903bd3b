"""python -m bench [row ...]: ours, the limit and the peers side by side, in one run."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import page, report
from bench.measure import Bench, Row
from bench.server import server
from rig.machine import busy, facts

ROWS = (
    "callbacks", "forged", "events", "crm_events", "lookups", "shared", "wakeup", "writeback", "limits", "history",
    "memory", "idle", "takeover",
)  # fmt: skip
console = Console(width=None if sys.stdout.isatty() else 140)  # in a file, the table is as wide as it needs to be


def main() -> None:
    """Measure the rows, show them and keep them."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # so that PostgreSQL is stopped, too
    with server() as url:
        bench = Bench(url, given.rounds, given.seconds, given.quick, console.print)
        known = asyncio.run(facts(url)) | {"rounds": bench.rounds, "seconds": bench.seconds}
        rows: list[Row] = []
        for name in given.rows or ROWS:
            console.rule(name)
            rows += (measured := asyncio.run(import_module(f"bench.row_{name}").measure(bench)))
            if given.keep is not None:  # row by row: the results so far are kept when a later row fails
                report.save(measured, known | {"busy": busy()}, given.keep)
    report.show(console, rows)
    if given.keep is not None:
        report.draw(given.keep)
        if given.keep == report.FOLDER:
            page.refresh(given.keep / "results.json")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"any of {', '.join(ROWS)}; none means all")
    parser.add_argument("--rounds", type=int, help="how often each is measured, in turns (3)")
    parser.add_argument("--seconds", type=float, help="how long each is measured (5)")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--keep", type=Path, default=report.FOLDER, help="folder of results.json")
    parser.add_argument("--dry", dest="keep", action="store_const", const=None, help="keep no results")
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.seconds = given.seconds or (1 if given.quick else 5)
    return given


if __name__ == "__main__":
    main()
