"""One CRM's readings and deliveries in one process, for as long as the CRM can be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

from store.connections import Connections
from store.database import UNREACHABLE
from submitter.crm_callers import CrmCallers
from submitter.crm_calls import CrmCaller
from submitter.failures import log_failure
from submitter.leased import LeasedWork, first_of
from submitter.process import Process
from submitter.readings import Reader
from submitter.write_back import WriteBack

log = structlog.get_logger()

# A connection is read again when it is 8 seconds old: so a token, a field or a disconnection is noticed within 10.
NOTICE_EVERY = 2.0  # seconds


class CrmDesk:
    """Starts the work for one CRM when it is connected and has a token, and stops it when that is over."""

    def __init__(
        self,
        name: str,
        process: Process,
        callers: CrmCallers,
        connections: Connections,
        wake: Callable[[], None],
        hears_hints: Callable[[], bool],
    ) -> None:
        self._name = name
        self._process = process
        self._callers = callers
        self._connections = connections
        self._wake = wake
        self._hears_hints = hears_hints
        self._loops: list[LeasedWork[Any]] = []
        self._reader: Reader | None = None
        self._write_back: WriteBack | None = None
        self._caller: CrmCaller | None = None

    @property
    def is_working(self) -> bool:
        """Tell whether the CRM can be called, and its work is claimed."""
        return bool(self._loops)

    def read(self) -> None:
        """Hint that readings may be due."""
        if self._reader is not None:
            self._reader.loop.awake.set()

    def deliver(self) -> None:
        """Hint that deliveries may be due."""
        if self._write_back is not None:
            self._write_back.loop.awake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop*; then wait for the calls in flight, and store what came of them."""
        while not stop.is_set():
            caller = await self._find()
            if caller is None:
                await first_of(stop.wait(), timeout=NOTICE_EVERY)
            else:
                await self._work(caller, stop)

    async def _work(self, caller: CrmCaller, stop: asyncio.Event) -> None:
        self._reader = reader = Reader(caller, self._process, self._connections, self._wake)
        self._write_back = write_back = WriteBack(caller, self._process)
        self._loops = [reader.loop, write_back.loop]
        for loop in self._loops:
            loop.hears_hints = self._hears_hints
        log.info("crm_work_started", crm=self._name)
        done = asyncio.Event()
        working = asyncio.gather(reader.loop.run(done), write_back.loop.run(done))
        while not stop.is_set() and await self._find() is caller:
            await first_of(stop.wait(), timeout=NOTICE_EVERY)
        done.set()
        await working
        self._loops = []
        await reader.close()
        await write_back.close()
        log.info("crm_work_stopped", crm=self._name)

    async def _find(self) -> CrmCaller | None:
        """Return the CRM's caller with what is known of the CRM now; while that cannot be read, the one of before."""
        try:
            self._caller = await self._callers.of(self._name)
        except (asyncpg.PostgresError, *UNREACHABLE) as error:
            log_failure(error, crm=self._name)
        return self._caller
