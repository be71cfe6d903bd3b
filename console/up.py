"""`ringback up`: every process on this machine, kept running, stopped in order."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from console.processes import Child, Say
    from enrichment.settings import Settings

STEADY = 10.0  # seconds; a process that ran so long had started well
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two starts
WATCH_EVERY = 2.0  # seconds between two looks at the embedded PostgreSQL
DRAINING = 15.0  # seconds that a submitter needs after its last call was answered, or timed out
CLOSING = 50.0  # seconds that a receiver takes at most
COLOURS = {"receiver": "cyan", "submitter": "green", "reconciler": "yellow", "migrate": "magenta"}


def up(
    *,
    host: Annotated[str | None, typer.Option(help="Address the receiver listens on, instead of HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port, instead of PORT.")] = None,
) -> None:
    """Run receiver, submitter and reconciler on this machine until Ctrl-C.

    Without DATABASE_URL they share an embedded PostgreSQL under RINGBACK_HOME. A process that dies is started
    again. Ctrl-C or SIGTERM drains: what was asked is answered and stored first; a second one does not wait.

    \b
      API_TOKENS=... LEADMAGIC_API_KEY=... NYNE_API_KEY=... NYNE_API_SECRET=... ringback up --port 8000
    """
    from console.processes import CannotStart

    settings = _load(host, port)
    try:
        asyncio.run(_Machine(settings).run())
    except* CannotStart as errors:
        raise errors.exceptions[0] from None


def _load(host: str | None, port: int | None) -> Settings:
    """The settings of all processes, or every problem of any of them, in one SettingsError."""
    import os

    from enrichment.settings import Settings, SettingsError

    os.environ |= {name: str(value) for name, value in (("HOST", host), ("PORT", port)) if value is not None}
    problems: dict[str, None] = {}
    for role in ("receiver", "submitter"):
        try:
            settings = Settings.load(role)
        except SettingsError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise SettingsError(list(problems))
    return settings


class _Machine:
    """The processes of one machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._say = prefixed()
        self._embedded = settings.database_url is None
        self._started_database = False
        self._children: dict[str, Child] = {}

    async def run(self) -> None:
        """All processes run until a signal; then they have ended, and so has the PostgreSQL that was started."""
        from console.database import embedded_runs
        from console.processes import PROCESSES, stop_at_signals

        stop = stop_at_signals()
        self._started_database = self._embedded and not embedded_runs(self._settings.ringback_home)
        try:
            await self._migrate()
            self._say("up", self._where())
            async with asyncio.TaskGroup() as group:
                kept = [group.create_task(self._keep_running(name, module, stop)) for name, module in PROCESSES.items()]
                if self._embedded:
                    kept.append(group.create_task(self._keep_database(stop)))
                await self._first_end(stop, kept)
        finally:
            await self._stop_in_order()
            if self._started_database:
                self._stop_database()

    async def _migrate(self) -> None:
        """The schema is current, and the embedded PostgreSQL runs: the release phase, as the Procfile has it."""
        from console.processes import CannotStart, start

        child = await start("migrate", ["console", "migrate", "--leave-running"], self._say)
        try:
            code = await child.wait()
        finally:
            await child.stop()
        if code != 0:
            raise CannotStart("The database could not be prepared; the lines above say why.")

    async def _keep_running(self, name: str, module: str, stop: asyncio.Event) -> None:
        from console.processes import CannotStart, start

        pause, started_well, loop = FIRST_PAUSE / 2, False, asyncio.get_running_loop()
        while not stop.is_set():
            begun = loop.time()
            child = self._children[name] = await start(name, [module], self._say)
            self._say("up", f"the {name} runs as process {child.pid}")
            if stop.is_set():  # meanwhile
                child.send(signal.SIGTERM)
            code = await child.wait()
            if stop.is_set():
                return
            steady = loop.time() - begun >= STEADY
            started_well = started_well or steady
            if code == 2 and not started_well:
                raise CannotStart(f"The {name} cannot start; its lines above say why.")
            pause = FIRST_PAUSE if steady else min(pause * 2, LONGEST_PAUSE)
            self._say("up", f"the {name} ended with {code}; it starts again in {pause:.0f} s")
            await _passed(stop, pause)

    async def _keep_database(self, stop: asyncio.Event) -> None:
        from console.database import embedded_runs
        from console.processes import CannotStart

        while not await _passed(stop, WATCH_EVERY):
            if not embedded_runs(self._settings.ringback_home):
                self._say("up", "the embedded PostgreSQL is gone; it is started again")
                self._started_database = True
                try:
                    await self._migrate()
                except CannotStart as error:
                    self._say("up", str(error))

    async def _first_end(self, stop: asyncio.Event, kept: list[asyncio.Task[None]]) -> None:
        """A signal came; from now on, a second one kills."""
        await stop.wait()
        self._say("up", "stopping: what was asked is answered and stored first; Ctrl-C again does not wait")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._kill)
        await self._stop_in_order()
        await asyncio.wait(kept)

    async def _stop_in_order(self) -> None:
        """Whoever calls out first: callbacks still find the receiver while questions are being answered."""
        from console.processes import stop_all

        children = dict(self._children)
        receiver = [children.pop("receiver")] if "receiver" in children else []
        await stop_all(list(children.values()), self._settings.provider_timeout_seconds + DRAINING)
        await stop_all(receiver, CLOSING)

    def _kill(self) -> None:
        for child in self._children.values():
            child.send(signal.SIGKILL)

    def _stop_database(self) -> None:
        from store import embedded

        embedded.stop(self._settings.ringback_home)
        self._say("up", "the embedded PostgreSQL has stopped")

    def _where(self) -> str:
        host, port = self._settings.host, self._settings.port
        url = f"http://{'localhost' if host in {'0.0.0.0', '::'} else host}:{port}"  # noqa: S104  compared, not bound
        calls_back = self._settings.public_url or "nowhere, because PUBLIC_URL is not set: Nyne is polled"
        return f"listening on {url}; the API describes itself at {url}/docs; callbacks go to {calls_back}"


def prefixed() -> Say:
    """Says each line under the name of who said it; the names have colours on a terminal."""
    width = max(map(len, COLOURS))
    colourful = sys.stdout.isatty()

    def say(who: str, line: str) -> None:
        name = f"{who:<{width}} |"
        sys.stdout.write(f"{typer.style(name, fg=COLOURS.get(who, 'white')) if colourful else name} {line}\n")
        sys.stdout.flush()

    return say


async def _passed(stop: asyncio.Event, seconds: float) -> bool:
    """Whether *stop* came true within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False
