"""An upgrade under load: the processes of the previous release and of this one side by side, on ever newer schemas."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rig.ports import free_port
from rig.settings import TOKEN, sandboxed
from tests.commands import ROOT, empty_database
from tests.next_schema import NEXT, with_steps
from tests.releases import (
    Release,
    check_out,
    described,
    newest_commit_of_the_previous_release,
    next_release,
    release,
)
from tests.sandbox_server import playing

LIMIT = "60000"  # a minute; neither vendor's limit is the subject here
PEOPLE = ("lm-found", "lm-none--ny-found", "lm-found", "lm-none--ny-none", "lm-none--ny-silent")
PAUSE = 0.03  # seconds between two events
PROCESSES = ("receiver", "submitter", "submitter.reconciler")
NEXT_STEPS = (
    (
        "a column of each busy table",
        """
        ALTER TABLE jobs ADD COLUMN novel text;
        ALTER TABLE jobs ADD CONSTRAINT novel_is_short CHECK (length(novel) < 9) NOT VALID;
        ALTER TABLE lookups ADD COLUMN novel integer NOT NULL DEFAULT 7;
        CREATE TABLE novels (id uuid NOT NULL PRIMARY KEY);
        """,
    ),
    (
        "indexes of busy tables (concurrently)",
        """
        ALTER TABLE jobs VALIDATE CONSTRAINT novel_is_short;
        CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_by_novel ON jobs (novel) WHERE novel IS NOT NULL;
        CREATE INDEX CONCURRENTLY IF NOT EXISTS lookups_by_novel ON lookups (novel, id);
        """,
    ),
)


class Load:
    """Contacts, sent one after another to the receivers in turn."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Send nothing yet."""
        self._session = session
        self.receivers: list[Release] = []
        self.answers: Counter[tuple[str, int]] = Counter()  # by release and status
        self.ids: dict[str, str] = {}  # the person of each lookup
        self.waits: list[float] = []

    async def run(self) -> None:
        """Send until cancelled."""
        clock = asyncio.get_running_loop().time
        for number in itertools.count():
            to = self.receivers[number % len(self.receivers)]
            person = f"{PEOPLE[number % len(PEOPLE)]}--{number}"
            contact = {"event_id": str(number), "profile_url": f"linkedin.com/in/{person}"}
            begun = clock()
            async with self._session.post(f"{to.url}/events/generic", json=contact) as response:
                self.answers[to.name, response.status] += 1
                if response.status == 202:
                    self.ids[(await response.json())["lookups"][0]["id"]] = person
            self.waits.append(clock() - begun)
            await asyncio.sleep(PAUSE)

    async def more(self, number: int) -> None:
        """Wait until every receiver in turn has answered so many more contacts."""
        goal = len(self.ids) + number * len(self.receivers)
        async with asyncio.timeout(20):
            while len(self.ids) < goal:
                await asyncio.sleep(PAUSE)


@asynccontextmanager
async def loaded(session: aiohttp.ClientSession, first: Release) -> AsyncIterator[Load]:
    """Send contacts during the block."""
    load = Load(session)
    load.receivers = [first]
    sending = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


@pytest.fixture
def vendors() -> Any:
    """Both vendors; Nyne's work takes so long that an upgrade comes between question and callback."""
    with ExitStack() as stack:
        yield {
            "leadmagic": stack.enter_context(playing("leadmagic", "--latency", "20", "--per-minute", LIMIT)),
            "nyne": stack.enter_context(playing("nyne", "--work-seconds", "0.7", "--per-minute", LIMIT)),
        }


@pytest.fixture
async def empty_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


async def all_ended(session: aiohttp.ClientSession, url: str, ids: list[str]) -> dict[str, str]:
    """Return the final status of each lookup, once all have one."""
    statuses: dict[str, str] = {}
    async with asyncio.timeout(30):
        for id in ids:
            while id not in statuses:
                async with session.get(f"{url}/v1/lookups/{id}") as response:
                    assert response.status == 200, await response.text()
                    found = await response.json()
                if found["finished_at"]:
                    statuses[id] = found["status"]
                else:
                    await asyncio.sleep(0.05)
    return statuses


async def paid(session: aiohttp.ClientSession, vendor: str) -> Counter[str]:
    """Return how often the vendor charged for each person, by its own books."""
    async with session.get(f"{vendor}/sandbox/ledger", params={"limit": "10000"}) as response:
        books = await response.json()
    charges = Counter(charge["person"] for charge in books["entries"])
    assert charges.total() == books["totals"]["charges"]
    return charges


async def test_releases_work_side_by_side(
    empty_url: str, vendors: dict[str, str], session: aiohttp.ClientSession, tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    """The previous release works on while this one migrates and starts beside it, and both while the next one migrates.

    No event is answered with an error, nothing is lost, every lookup ends as it must, and nothing is paid for twice.
    """
    commit = newest_commit_of_the_previous_release()
    if commit is None:
        pytest.skip("the history of the previous release is not here: no git, or a shallow clone")
    record_property("releases", f"{described(commit)} beside {described('HEAD')} and its working tree")
    print(f"{described(commit)} beside {described('HEAD')} and its working tree")

    folders = {
        "previous": check_out(commit, tmp_path / "previous"),
        "this": ROOT,
        "next": next_release(tmp_path / "next", with_steps(*NEXT_STEPS)),
    }
    async with AsyncExitStack() as stack:
        releases = []
        for name, folder in folders.items():
            port = free_port()
            settings = sandboxed(
                database=empty_url, public_url=f"http://127.0.0.1:{port}", **vendors,
                PORT=str(port), CALLBACK_GRACE_SECONDS="1", NYNE_PER_MINUTE=LIMIT, NYNE_PER_HOUR=LIMIT,
            )  # fmt: skip
            releases.append(await stack.enter_async_context(release(name, folder, **settings)))
        previous, this, following = releases

        await previous.migrate()
        await previous.start(*PROCESSES)
        async with loaded(session, previous) as load:
            await load.more(10)
            await this.migrate()
            await load.more(10)
            await this.start(*PROCESSES)
            load.receivers = [previous, this]
            await load.more(20)
            applied = await following.migrate()
            await load.more(20)

            # An older program restarts on the newer schema.
            load.receivers = [previous]
            await load.more(1)
            code = await this.processes["receiver"].ends(signal.SIGTERM)
            await this.start("receiver")
            load.receivers = [previous, this]
            await load.more(10)

            load.receivers = [this]
            await load.more(1)
            codes = await asyncio.gather(*(old.ends(signal.SIGTERM) for old in previous.processes.values()))
            await load.more(10)
        statuses = await all_ended(session, this.url, list(load.ids))
    charged = [await paid(session, vendor) for vendor in vendors.values()]

    done = [line.partition(",")[0] for line in applied if line.startswith("Applied")]
    assert done == [f"Applied: step {NEXT}", f"Applied: step {NEXT + 1}"]
    assert [code, *codes] == [0] * 4
    assert {status for _, status in load.answers} == {202}, load.answers
    assert len(load.ids) == load.answers.total()
    wrong = {
        person: statuses[id]
        for id, person in load.ids.items()
        if statuses[id] != ("not_found" if "ny-none" in person else "found")
    }
    assert wrong == {}
    assert [max(charges.values()) for charges in charged] == [1, 1]
    assert sum(map(len, charged)) == sum(status == "found" for status in statuses.values())
    assert max(load.waits) < 5, max(load.waits)
    print(f"{len(load.ids)} events {dict(load.answers)}, the longest wait {max(load.waits):.2f} s, {applied}")
