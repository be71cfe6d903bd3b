"""Ask a person before something is changed."""

from __future__ import annotations

import sys

import typer


def confirm(question: str, *, err: bool = False) -> bool:
    """Ask the person at the terminal. Without a terminal, say what to do, and exit with 1."""
    try:
        return typer.confirm(question, err=err)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo("\nThere is no terminal to ask on; nothing was changed. Remedy: --yes", err=True)
        raise typer.Exit(1) from None
