"""`ringback doctor`: check everything that must be right, and say what to do about each failure."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from console.findings import Finding

MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Check settings, database, PUBLIC_URL, accounts and the dashboard, and say what to do about each failure.

    It asks nothing that costs anything, and changes nothing. Exit code 1 if anything fails.

    \b
      ringback doctor
      ringback doctor --json | jq '.[] | select(.verdict == "fail")'
    """
    from console.checks import examine

    findings = asyncio.run(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _show(finding)
    raise typer.Exit(1 if any(finding.verdict == "fail" for finding in findings) else 0)


def _show(finding: Finding) -> None:
    mark, colour = MARKS[finding.verdict]
    mark = typer.style(mark, fg=colour, bold=True) if sys.stdout.isatty() else mark
    typer.echo(f"{mark}  {finding.about}: {finding.found}")
    if finding.remedy:
        typer.echo(f"      {finding.remedy}")
