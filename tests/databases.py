"""Copies of a template database, one for each test; a thread makes the next one and drops the last one meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType

from rig.postgres import execute, url_of

SPARE = 2  # a test that only reads ends before one copy is made


class Databases:
    """Copies of *template*, made and dropped by a thread of its own; SPARE more than are used."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._numbers = itertools.count(1)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="databases")
        self._spare: deque[Future[str]] = deque()
        self._left: list[Future[None]] = []

    def __enter__(self) -> Databases:
        self._spare.extend(self._thread.submit(self._make) for _ in range(SPARE))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._spare:
            self._leave(self._spare.popleft().result())
        for dropped in self._left:
            dropped.result()  # raises what went wrong in the thread
        self._thread.shutdown()

    @asynccontextmanager
    async def for_a_test(self) -> AsyncIterator[str]:
        """Hold a new database inside the block; yield its URL."""
        name = await asyncio.wrap_future(self._take())
        yield url_of(self._server_url, name)
        self._leave(name)

    @contextmanager
    def for_a_module(self) -> Iterator[str]:
        """Hold a database inside the block for tests that share it and undo all they do; yield its URL."""
        name = self._take().result()
        yield url_of(self._server_url, name)
        self._leave(name)

    def _take(self) -> Future[str]:
        self._spare.append(self._thread.submit(self._make))
        return self._spare.popleft()

    def _leave(self, name: str) -> None:
        self._left.append(self._thread.submit(self._drop, name))

    def _make(self) -> str:
        name = f"ringback_test_{os.getpid()}_{next(self._numbers)}"
        create = f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY = FILE_COPY"
        asyncio.run(execute(self._server_url, create))
        return name

    def _drop(self, name: str) -> None:
        asyncio.run(execute(self._server_url, f"DROP DATABASE {name} WITH (FORCE)"))
