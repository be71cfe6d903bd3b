"""`ringback`: one command, a module for each of its verbs. Exit codes: 0 well, 1 something is wrong, 2 cannot start."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console.backfill import backfill
from console.cancel import cancel
from console.connect import connect
from console.demo.command import demo
from console.disconnect import disconnect
from console.doctor import doctor
from console.enrich import enrich
from console.erase import erase
from console.export import export
from console.migrate import migrate
from console.pause import pause
from console.prune import prune
from console.reconcile import reconcile
from console.release import release
from console.replay import replay
from console.resume import resume
from console.retry import retry
from console.status import status
from console.suppress import suppress
from console.up import up
from enrichment.process import open_closed_files

cli = typer.Typer(
    help="A CRM event comes in, the person's mobile number goes out.\n\n"
    "\b\nNew here?        ringback demo      everything against pretend vendors, no keys needed\n"
    "On one machine   ringback up        all processes, with a PostgreSQL of its own\n"
    "Something wrong  ringback doctor    says what, and what to do about it",
    epilog="Exit codes: 0 well, 1 something is wrong, 2 cannot start. Settings come from the environment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    migrate, up, demo, connect, disconnect, backfill, enrich, status, doctor, pause, resume,
    reconcile, export, retry, cancel, release, replay, suppress, erase, prune,
):  # fmt: skip
    cli.command()(verb)


def _version(wanted: bool) -> None:
    if wanted:
        from store.steps import program

        typer.echo("ringback {}, schema step {}".format(*program()))
        raise typer.Exit


@cli.callback()
def options(
    *, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False
) -> None:
    """Accept the options that come before the verb."""


def main() -> None:
    """Carry out the command. If it cannot start, say why in one message and exit with 2."""
    open_closed_files()
    try:
        cli(prog_name="ringback")
    except Exception as error:
        if not _is_told(error):
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _is_told(error: Exception) -> bool:
    """Tell whether the error's message names the remedy, so that a traceback would only hide it."""
    from enrichment.settings import SettingsError
    from rig.processes import NotRunning
    from store.database import DatabaseDown
    from store.installation import IdentityKeyError
    from store.steps import SchemaError

    return isinstance(error, DatabaseDown | IdentityKeyError | NotRunning | SchemaError | SettingsError)


if __name__ == "__main__":
    main()
