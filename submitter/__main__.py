"""python -m submitter: ask the providers, one loop for each, and store their answers; tell CRMs and the webhook."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from enrichment.crms import CRMS
from store.connections import Connections
from store.group_commit import GroupCommit
from store.notify import Listener
from submitter.brake import BrakeView
from submitter.crm_callers import CrmCallers
from submitter.crm_desk import CrmDesk
from submitter.finishing import Finisher
from submitter.leased import LeasedWork
from submitter.outcomes import JobOutcome, OutcomeWriter
from submitter.process import Process, main
from submitter.results import ResultSender
from submitter.submit import Submitter

log = structlog.get_logger()

# After the last call was answered or timed out, writing its outcome may have to wait for the database.
WRITING_TIMEOUT = 10.0  # seconds


async def work(process: Process, stop: asyncio.Event) -> None:
    """Ask questions until *stop*; then wait for those in flight, and store their outcomes."""

    def wake() -> None:
        read()
        follow()

    def read() -> None:
        for desk in desks:
            desk.read()

    def follow() -> None:
        """Hint that lookups have begun: they are asked about, or have their answer already."""
        for submitter in submitters:
            submitter.loop.awake.set()
        deliver()

    def deliver() -> None:
        for desk in desks:
            desk.deliver()
        for sender in senders:
            sender.loop.awake.set()

    desks: list[CrmDesk] = []
    senders = [ResultSender(process)] if process.settings.result_webhook_url else []
    finisher = Finisher(process.pool, process.installation, wake, deliver)
    writer = OutcomeWriter(process.pool, process.settings, finisher)
    outcomes: GroupCommit[JobOutcome, None] = GroupCommit(writer.write, most=200, flushers=2)
    brake = BrakeView(process.pool)
    submitters = [
        Submitter(provider, process.pool, process.sessions[name], process.settings, outcomes, writer, brake)
        for name, provider in process.providers.items()
    ]
    listener = Listener(process.url, wake, name="submitter listener", braked=brake.expire, named=read)
    loops: list[LeasedWork[Any]] = [*(one.loop for one in submitters), *(one.loop for one in senders)]
    for loop in loops:
        loop.hears_hints = lambda: listener.is_listening
    connections = Connections(process.pool, process.settings)
    callers = CrmCallers(process.pool, process.settings, connections)
    desks += [CrmDesk(name, process, callers, connections, follow, lambda: listener.is_listening) for name in CRMS]
    listening = asyncio.create_task(listener.run())
    giving_up = asyncio.create_task(_give_up_after_draining(process, stop, writer))
    await asyncio.gather(
        *(submitter.loop.run(stop) for submitter in submitters),
        *(desk.run(stop) for desk in desks),
        *(sender.run(stop) for sender in senders),
    )
    await callers.close()
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
