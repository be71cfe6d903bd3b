"""Nyne's callbacks: one unsigned attempt each, ten seconds at most, and every way in which one can fail.

https://api.nyne.ai/documentation/person/phone says only that the completed payload is POSTed.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import time
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from sandbox.faults import Chaos
from sandbox.ledger import Callback, Ledger
from sandbox.nyne_answers import GARBAGE, finished, told
from sandbox.nyne_jobs import Job, Jobs
from sandbox.people import mobile_e164

DEADLINE = aiohttp.ClientTimeout(total=10)
CONNECTIONS = 200
PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa")


class Parcel(NamedTuple):
    """One callback to send."""

    kind: str
    url: str
    body: bytes


class Callbacks:
    """A sender of callbacks that records the status each one gets."""

    def __init__(self, ledger: Ledger, jobs: Jobs, chaos: Chaos, late_seconds: float) -> None:
        """Prepare the sender; it needs open() before it can send."""
        self.session: aiohttp.ClientSession | None = None
        self._ledger = ledger
        self._jobs = jobs
        self._chaos = chaos
        self._late_seconds = late_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the session for sending."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        self.session = aiohttp.ClientSession(timeout=DEADLINE, connector=connector)

    async def close(self) -> None:
        """Cancel every callback and close the session."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.session is not None:
            await self.session.close()

    def cancel(self) -> None:
        """Give up every callback that waits or is under way."""
        for task in self._tasks:
            task.cancel()

    def pending(self) -> int:
        """Count the jobs whose callbacks wait or are under way."""
        return len(self._tasks)

    def start(self, job: Job) -> None:
        """Send the job's callbacks in a task, after their delay."""
        if job.callback_url is not None and job.row.callback != "never" and not job.forgotten:
            task = asyncio.get_running_loop().create_task(self.send(job, self._delay(job)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def send(self, job: Job, delay: float = 0) -> None:
        """Wait *delay* seconds, then send the job's callbacks one after the other and record each."""
        if job.callback_url is None or job.row.callback == "never" or job.forgotten:
            return
        parcels = self._parcels(job, job.callback_url)
        if delay:
            await asyncio.sleep(delay)
        for parcel in parcels:
            status, error = None, None
            if parcel.kind != "dropped":
                status, error = await self._post(parcel)
            forged = parcel.kind == "forged"
            self._ledger.called_back(
                Callback(
                    time.time(), job.subject.key, job.request_id, parcel.kind, forged=forged, status=status, error=error
                )
            )

    def _parcels(self, job: Job, url: str) -> list[Parcel]:
        faults, how = self._chaos.faults, job.row.callback
        parcels = []
        if how == "forged" or self._chaos.strikes(faults.forge_callbacks):
            parcels.append(Parcel("forged", wrong_token(url), self._false(job, job.request_id)))
        main = Parcel("due", url, finished(job))
        if how == "other" or self._chaos.strikes(faults.wrong_job_callbacks):
            main = Parcel("other_job", url, self._false(job, self._jobs.another(job)))
        elif how == "unreadable" or self._chaos.strikes(faults.unreadable_callbacks):
            main = Parcel("unreadable", url, GARBAGE)
        if self._chaos.strikes(faults.drop_callbacks):
            return [*parcels, main._replace(kind="dropped")]
        parcels.append(main)
        if how == "twice" or self._chaos.strikes(faults.duplicate_callbacks):
            parcels.append(main._replace(kind=f"{main.kind}_again"))
        return parcels

    def _delay(self, job: Job) -> float:
        return self._chaos.callback_delay() + (self._late_seconds if job.row.callback == "late" else 0)

    def _false(self, job: Job, request_id: str) -> bytes:
        number = false_number(job.subject.key)
        return told(job.row, request_id, number, job.created_at, job.finished_at)

    async def _post(self, parcel: Parcel) -> tuple[int | None, str | None]:
        if self.session is None:
            return None, "closed"
        headers = {"Content-Type": "application/json"}
        try:
            async with self.session.post(
                parcel.url, data=parcel.body, headers=headers, allow_redirects=False
            ) as response:
                return response.status, None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            return None, type(exc).__name__


def false_number(key: str) -> str:
    """Return the false number that callbacks about the person *key* carry: valid, never the true one."""
    return mobile_e164(f"false:{key}")


def wrong_token(url: str) -> str:
    """Return the callback URL with another last path segment, as long as the old one but at least 8 characters."""
    parts = urlsplit(url)
    front, slash, token = parts.path.rpartition("/")
    other = hashlib.sha256(token.encode()).hexdigest() * (len(token) // 64 + 1)
    return urlunsplit(parts._replace(path=front + slash + other[: max(len(token), 8)]))


def refused_because(url: str, *, private: bool) -> str | None:
    """Return what is wrong with this callback_url, None if nothing is; *private* refuses private hosts too."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "callback_url is no URL"
    if parts.scheme not in {"http", "https"} or not host:
        return "callback_url is not an http or https URL"
    return "callback_url names a private host" if private and _is_private(host) else None


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(PRIVATE_NAMES)
