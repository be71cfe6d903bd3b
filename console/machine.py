"""The processes of one machine, kept running for `ringback up`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from functools import partial

import typer

from enrichment import lines
from enrichment.settings import Settings
from rig.kept import Kept
from rig.processes import MODULES, NotRunning, python, start
from rig.signals import stop_at_signals
from store import embedded

CANNOT_START = 2  # the exit code of a process that says why it cannot start; another try would fail too
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two starts
WATCH_EVERY = 2.0  # seconds between two looks at the embedded PostgreSQL
DRAINING = 15.0  # seconds that a submitter needs after its last call was answered, or timed out
CLOSING = 50.0  # seconds that a receiver takes at most
COLOURS = {"receiver": "cyan", "submitter": "green", "reconciler": "yellow", "migrate": "magenta"}


class Machine:
    """The processes of one machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._say = prefixed()
        self._embedded = settings.database_url is None
        self._started_database = False
        self._kept = {name: self._keep(name, module) for name, module in MODULES.items()}

    async def run(self) -> None:
        """Run all processes until a signal, then stop them, and PostgreSQL if it was started here."""
        stop = stop_at_signals()
        # Platforms signal every process of a group, some of them twice: only a keyboard's second signal is a person's.
        # https://devcenter.heroku.com/articles/dyno-shutdown-behavior
        self._started_database = self._embedded and not embedded.runs(self._settings.ringback_home)
        try:
            if not await self._migrated(stop):
                return
            self._say("up", self._where())
            for kept in self._kept.values():
                await kept.start()
            async with asyncio.TaskGroup() as group:
                for kept in self._kept.values():
                    group.create_task(kept.wait())
                if self._embedded:
                    group.create_task(self._keep_database(stop))
                await stop.wait()
                self._say("up", "stopping: open questions are answered and stored first; Ctrl-C again stops at once")
                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._kill)
                for kept in self._kept.values():
                    kept.start_no_more()
                await self._stop_in_order()
        finally:
            await self._stop_in_order()
            if self._started_database:
                self._stop_database()

    def _keep(self, name: str, module: str) -> Kept:
        return Kept(
            name,
            python(module),
            partial(self._say, name),
            first_pause=FIRST_PAUSE,
            longest_pause=LONGEST_PAUSE,
            hopeless={CANNOT_START},
            report=partial(self._say, "up"),
        )

    async def _migrated(self, stop: asyncio.Event) -> bool:
        """Apply the missing steps; return False if *stop* is set first. Raises NotRunning."""
        migrating, stopped = asyncio.create_task(self._migrate()), asyncio.create_task(stop.wait())
        await asyncio.wait([migrating, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.is_set():
            migrating.cancel()
            await asyncio.wait([migrating])
            return False
        await migrating
        return True

    async def _migrate(self) -> None:
        """Apply the missing steps of the schema, as the release line of the Procfile does; start the embedded server.

        Raises NotRunning.
        """
        child = await start(python("console", "migrate", "--leave-running"), output=partial(self._say, "migrate"))
        try:
            code = await child.wait()
        finally:
            await child.stop()
        if code != 0:
            raise NotRunning("The database could not be prepared; the lines above say why.")

    async def _keep_database(self, stop: asyncio.Event) -> None:
        while not await _passed(stop, WATCH_EVERY):
            if not embedded.runs(self._settings.ringback_home):
                self._say("up", "the embedded PostgreSQL has ended; starting it again")
                self._started_database = True
                try:
                    await self._migrate()
                except NotRunning as error:
                    self._say("up", str(error))

    async def _stop_in_order(self) -> None:
        """Stop what calls out first: callbacks still find the receiver while questions are being answered."""
        calling_out = [kept for name, kept in self._kept.items() if name != "receiver"]
        patience = self._settings.provider_timeout_seconds + DRAINING
        await asyncio.gather(*(kept.stop(patience) for kept in calling_out))
        await self._kept["receiver"].stop(CLOSING)

    def _kill(self) -> None:
        for kept in self._kept.values():
            kept.send(signal.SIGKILL)

    def _stop_database(self) -> None:
        embedded.stop(self._settings.ringback_home)
        self._say("up", "the embedded PostgreSQL has stopped")

    def _where(self) -> str:
        host, port = self._settings.host, self._settings.port
        url = f"http://{'localhost' if host in {'0.0.0.0', '::'} else host}:{port}"  # noqa: S104  compared, not bound
        calls_back = self._settings.public_url or "nowhere, because PUBLIC_URL is not set: Nyne is polled"
        return (
            f"listening on {url}; the dashboard is there, for who has one of API_TOKENS; "
            f"the API describes itself at {url}/docs; callbacks go to {calls_back}"
        )


def prefixed() -> Callable[[str, str], None]:
    """Return a function that writes a line under a name; on a terminal the names have colours.

    A terminal or pipe that is not read holds no process up: the processes are looked after, and their output is read.
    """
    width = max(map(len, COLOURS))
    colourful = sys.stdout is not None and sys.stdout.isatty()  # None: it was closed at the start

    def text(who: str, line: str) -> str:
        name = f"{who:<{width}} |"
        return f"{typer.style(name, fg=COLOURS.get(who, 'white')) if colourful else name} {line}\n"

    def say(who: str, line: str) -> None:
        lines.stdout.write(text(who, line))

    lines.stdout.say_dropped = lambda count: text("up", f"{count} lines were dropped: they were not read in time")
    return say


async def _passed(stop: asyncio.Event, seconds: float) -> bool:
    """Tell whether *stop* was set within *seconds*."""
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False
