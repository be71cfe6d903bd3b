"""The common part of retry, cancel, release and replay: preview what a filter finds, ask, and apply exactly that."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from uuid import UUID

import typer

from console import completing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from enrichment.selection import Action, Filter, Wanted
    from enrichment.settings import Settings
    from store.selections import Selection

STEP = 1.0  # seconds of work between two updates of the progress
IDLE = 0.2  # seconds to wait while other processes do the rest
PATIENCE = 60.0  # seconds without progress

Id = Annotated[str | None, typer.Option("--id", metavar="ID", help="One lookup; of a replay, one delivery.")]
Status = Annotated[
    str | None,
    typer.Option("--status", metavar="STATUS", help="Of the lookups.", autocompletion=completing.complete_statuses),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="NAME", help="Where their events came from.", autocompletion=completing.complete_sources
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Was asked, is to be asked next, or gave the number.",
        autocompletion=completing.complete_providers,
    ),
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Created then or later, in UTC.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Created before then, in UTC.")]
RecordId = Annotated[str | None, typer.Option("--record-id", metavar="ID", help="The CRM's id of the contact.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="A part of the reason, in any case.")]
Channel = Annotated[
    str | None,
    typer.Option(
        "--channel",
        metavar="NAME",
        help="webhook, or the CRM's name.",
        autocompletion=completing.complete_channels,
    ),
]
State = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE", help="Of the deliveries.", autocompletion=completing.complete_states),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Preview only.")]
Resume = Annotated[str | None, typer.Option("--resume", metavar="SELECTION", help="Go on with an earlier one.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs; without --yes, a preview only.")]


@dataclass(frozen=True, slots=True)
class Manner:
    """The options of a command about asking and output."""

    yes: bool
    dry_run: bool
    as_json: bool
    resume: str | None

    @property
    def only_previews(self) -> bool:
        """Tell whether to preview only."""
        return self.dry_run or (self.as_json and not self.yes)


def run(action: Action, manner: Manner, **given: str | None) -> None:
    """Preview *action* on what the filter *given* finds, show it, ask, apply it, and exit."""
    from enrichment.settings import Settings

    filled = {name: value for name, value in given.items() if value is not None}
    if manner.resume and filled:
        _refuse("--resume goes on with an earlier filter. Remedy: leave the other options out")
    wanted = _read(action, filled)
    _require_known(wanted.filter)
    try:
        code = asyncio.run(_run(Settings.load("console"), wanted, manner))
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. What was begun goes on in the reconciler; --resume shows how far it has come.", err=True
        )
        code = 1
    raise typer.Exit(code)


def read_filter(**given: str | None) -> Filter:
    """Read the filter of a command that changes nothing. Exit with 2, naming each unusable option."""
    from pydantic import ValidationError

    from enrichment.selection import Filter

    try:
        filter = Filter.model_validate(given)
    except ValidationError as error:
        _refuse("\n".join(_wrong(one["loc"], one["msg"]) for one in error.errors()))
    if filter.since and filter.until and filter.since >= filter.until:
        _refuse("--until must be later than --since")
    _require_known(filter)
    return filter


def _read(action: Action, given: dict[str, str]) -> Wanted:
    """Read the filter. Exit with 2, naming each unusable option."""
    from pydantic import ValidationError

    from enrichment.selection import Wanted

    try:
        return Wanted.model_validate({"action": action, "filter": given})
    except ValidationError as error:
        _refuse("\n".join(_wrong(one["loc"][1:], one["msg"]) for one in error.errors()))


def _wrong(options: Sequence[int | str], message: str) -> str:
    return " ".join((*(f"--{str(part).replace('_', '-')}:" for part in options), _words(message))).strip()


def _words(message: str) -> str:
    return message.removeprefix("Value error, ")


def _require_known(filter: Filter) -> None:
    """Refuse unknown names: such a filter would silently find nothing. Raise NotRunning."""
    from console.pause import require_known
    from enrichment.settings import CRM_NAMES, PROVIDER_NAMES, SOURCE_NAMES
    from enrichment.wish import WEBHOOK

    require_known("source", filter.source, SOURCE_NAMES)
    require_known("provider", filter.provider, PROVIDER_NAMES)
    require_known("channel", filter.channel, (WEBHOOK, *CRM_NAMES))


def _refuse(words: str) -> NoReturn:
    typer.echo(words, err=True)
    raise typer.Exit(2)


async def _run(settings: Settings, wanted: Wanted, manner: Manner) -> int:
    from console.database import embedded_exists, pooled

    if not embedded_exists(settings):
        typer.echo("There is no database yet, and nothing to change.", err=True)
        return 1
    async with pooled(settings) as pool:
        return await _select(_Driver(pool, settings), wanted, manner)


async def _select(driver: _Driver, wanted: Wanted, manner: Manner) -> int:
    from console.selection_report import ask, report, show
    from console.who import user
    from store import selections

    id = _id_of(manner.resume) if manner.resume else await selections.create(driver.pool, wanted, user())
    selection = await driver.work(await _find(driver, id, wanted.action))
    sample = await selections.sample(driver.pool, selection)
    if not manner.as_json:
        show(selection, sample)
    if selection.state == "previewed" and selection.found and not manner.only_previews:
        if not (manner.yes or ask(selection)):
            typer.echo(f"Nothing was changed. To do it later: ringback {wanted.action} --resume {id}")
            return 1
        await selections.begin(driver.pool, id, user())
        selection = await driver.work(await _find(driver, id, wanted.action))
    report(selection, sample, as_json=manner.as_json)
    return 1 if selection.state == "applying" or (wanted.filter.id and not selection.found) else 0


def _id_of(text: str) -> UUID:
    from rig.processes import NotRunning

    try:
        return UUID(text)
    except ValueError:
        raise NotRunning(f"{text!r} is no id. Remedy: --resume with the id that the preview showed") from None


async def _find(driver: _Driver, id: UUID, action: Action) -> Selection:
    """Return the selection. Raise NotRunning if it does not exist, or has another action."""
    from rig.processes import NotRunning
    from store import selections

    selection = await selections.find(driver.pool, id)
    if selection is None:
        raise NotRunning(f"There is no selection {id}. Remedy: --resume with the id that the preview showed")
    if selection.wanted.action != action:
        raise NotRunning(f"{id} is of another action. Remedy: ringback {selection.wanted.action} --resume {id}")
    return selection


class _Driver:
    """A worker on a selection, with a progress bar on a terminal."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings) -> None:
        from enrichment.providers import PROVIDERS
        from store.installation import Installation

        self.pool = pool
        self._installation = Installation(pool, settings)
        self._prices = {name: kind.from_settings(settings).price for name, kind in PROVIDERS.items()}

    async def work(self, selection: Selection) -> Selection:
        """Work until the selection is previewed or applied, or makes no progress for PATIENCE; return its last state.

        Other processes may work on it as well.
        """
        from rich.console import Console
        from rich.progress import Progress

        from store import notify, selections

        policy = await self._installation.policy()
        moved = time.monotonic()
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task(selection.state, total=None)
            while selection.is_under_way and time.monotonic() < moved + PATIENCE:
                before = _progress(selection)
                await selections.work(
                    self.pool, selection.id, policy, self._prices, seconds=STEP, after_each=lambda: None
                )
                await notify.hint(self.pool)
                selection = await _find(self, selection.id, selection.wanted.action)
                total = selection.found if selection.state in ("applying", "applied") else None
                progress.update(task, completed=selection.applied + selection.passed, total=total)
                if _progress(selection) != before:
                    moved = time.monotonic()
                elif selection.is_under_way:
                    await asyncio.sleep(IDLE)
        return selection


def _progress(selection: Selection) -> tuple[str, int, int]:
    return selection.state, selection.found, selection.applied + selection.passed
