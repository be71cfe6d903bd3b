"""python -m submitter: ask the providers, one loop for each, and store their answers."""

from __future__ import annotations

import asyncio

import structlog

from store.group_commit import GroupCommit
from store.notify import Listener
from submitter.brake import BrakeView
from submitter.finishing import Finisher
from submitter.outcomes import JobOutcome, OutcomeWriter
from submitter.process import Process, main
from submitter.submit import Submitter

log = structlog.get_logger()

# After the last call was answered or timed out, writing its outcome may have to wait for the database.
WRITING_TIMEOUT = 10.0  # seconds


async def work(process: Process, stop: asyncio.Event) -> None:
    """Ask questions until *stop*; then wait for those in flight, and store their outcomes."""

    def wake() -> None:
        for submitter in submitters:
            submitter.loop.awake.set()

    finisher = Finisher(process.pool, process.installation, wake)
    writer = OutcomeWriter(process.pool, process.settings, finisher)
    outcomes: GroupCommit[JobOutcome, None] = GroupCommit(writer.write, most=200, flushers=2)
    brake = BrakeView(process.pool)
    submitters = [
        Submitter(provider, process.pool, process.sessions[name], process.settings, outcomes, writer, brake)
        for name, provider in process.providers.items()
    ]
    listener = Listener(process.url, wake, name="submitter listener", braked=brake.expire)
    for submitter in submitters:
        submitter.loop.hears_hints = lambda: listener.is_listening
    listening = asyncio.create_task(listener.run())
    giving_up = asyncio.create_task(_give_up_after_draining(process, stop, writer))
    await asyncio.gather(*(submitter.loop.run(stop) for submitter in submitters))
    await outcomes.close()
    await finisher.sweeper.close()
    giving_up.cancel()
    listening.cancel()


async def _give_up_after_draining(process: Process, stop: asyncio.Event, writer: OutcomeWriter) -> None:
    await stop.wait()
    log.info("draining")
    await asyncio.sleep(process.settings.provider_timeout_seconds + WRITING_TIMEOUT)
    writer.giving_up.set()


if __name__ == "__main__":
    main("submitter", work)
