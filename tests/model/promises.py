"""What must hold after every step: the promises, said of rows and of the vendors' books.

nothing is lost      every accepted event has its lookups, every callback that got a 200 is stored
nothing paid twice   our ledger brackets the vendors' bill, person by person; see `excuse` for second questions
the rest             finished jobs stay as they are, statuses agree with jobs, followers with their leaders
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from store.database import Db
from tests.model.vendor import OTHER_REQUEST, PRICES, Question, Vendors

DOUBTFUL = ("unknown", "lost")
WITHOUT_NUMBER = ("not_found", "failed", "unresolved")


@dataclass(eq=False, slots=True)
class Wanted:
    """A lookup as the model knows it."""

    id: UUID
    human: int
    keys: frozenset[str]
    statuses: list[tuple[int, str]] = field(default_factory=list)  # (step, status), whenever it changed
    leads_since: int | None = None  # the step at which it was last given a first job
    retried_at: int | None = None  # by a person
    cancelled: bool = False  # by a person

    def status_at(self, step: int) -> str:
        """Its status after *step*."""
        return next((status for at, status in reversed(self.statuses) if at <= step), "open")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows, after a step."""

    lookups: dict[UUID, asyncpg.Record]
    jobs: dict[UUID, asyncpg.Record]
    finished: dict[UUID, asyncpg.Record]
    callbacks: set[tuple[UUID, bytes]]
    verdicts: set[str]
    ledger: list[asyncpg.Record]
    usage: list[asyncpg.Record]
    paused: set[str]
    shut: set[str]  # resting, or the breaker is open

    def jobs_in(self, *states: str) -> list[asyncpg.Record]:
        """The open jobs in one of these states."""
        return [row for row in self.jobs.values() if row["state"] in states]

    @property
    def left_behind(self) -> bool:
        """Whether somebody still follows a lookup that has its end."""
        leaders = [row["reused_from"] for row in self.lookups.values() if row["final_status"] is None]
        return any(self.lookups[id]["final_status"] is not None for id in leaders if id is not None)

    @property
    def open_lookups(self) -> list[UUID]:
        """The lookups without an end."""
        return [id for id, row in self.lookups.items() if row["final_status"] is None]

    def jobs_of(self, lookup_id: UUID) -> list[asyncpg.Record]:
        """The finished jobs of a lookup, oldest first."""
        return [row for row in self.finished.values() if row["lookup_id"] == lookup_id]

    def last_words(self, lookup_id: UUID) -> dict[str, asyncpg.Record]:
        """The last finished job of each provider: what a person asks again replaces what was said before."""
        return {row["provider"]: row for row in self.jobs_of(lookup_id)}


NOTHING = Snapshot({}, {}, {}, set(), set(), [], [], set(), set())


async def read_snapshot(db: Db, before: Snapshot) -> Snapshot:
    """The rows as they are now; finished jobs in the order in which they finished."""
    lookups = await db.fetch("SELECT *, final_status::text FROM lookups ORDER BY id")
    jobs = await db.fetch(
        "SELECT *, state::text, verdict::text, due_at <= now() AS is_due, lease_expires_at < now() AS is_expired "
        "FROM jobs ORDER BY lookup_id"
    )
    finished = await db.fetch("SELECT *, state::text FROM finished_jobs ORDER BY finished_at")
    callbacks = await db.fetch("SELECT job_id, body, verdict FROM callbacks")
    providers = await db.fetch(
        "SELECT name, paused_at IS NOT NULL AS paused, GREATEST(rest_until, open_until) > now() AS shut FROM providers"
    )
    by_id = {row["id"]: row for row in finished}
    return Snapshot(
        {row["id"]: row for row in lookups},
        {row["id"]: row for row in jobs},
        {id: by_id[id] for id in (*before.finished, *by_id)},
        {(row["job_id"], row["body"]) for row in callbacks},
        {row["verdict"] for row in callbacks},
        await db.fetch("SELECT * FROM ledger"),
        await db.fetch("SELECT provider, day, sum(reserved) AS reserved, sum(charged) AS charged, "
                       "sum(possible) AS possible FROM usage GROUP BY provider, day"),
        {row["name"] for row in providers if row["paused"]},
        {row["name"] for row in providers if row["shut"]},
    )  # fmt: skip


def check_nothing_lost(wanted: dict[UUID, Wanted], acknowledged: set[tuple[UUID, bytes]], now: Snapshot) -> None:
    """Whatever got a 2xx is there, and every open lookup has somebody who works for it."""
    assert set(wanted) == set(now.lookups), "a lookup of an accepted event is missing, or nobody's"
    assert acknowledged == now.callbacks, "a callback that got a 200 is missing, or nobody's"
    asked = {row["lookup_id"] for row in now.jobs.values()}
    for id in now.open_lookups:
        leader = now.lookups[id]["reused_from"]
        assert (id in asked) != (leader is not None), "an open lookup has a job, or it follows another"


def check_money(wanted: dict[UUID, Wanted], vendors: Vendors, now: Snapshot) -> None:
    """charged <= the vendor's bill <= charged + possible + reserved, for each person; and usage is the sum of it."""
    charged: defaultdict[tuple[str, int], int] = defaultdict(int)
    open_to: defaultdict[tuple[str, int], int] = defaultdict(int)
    days: defaultdict[tuple[str, Any], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COLUMNS, 0))
    for row in now.ledger:
        bill, day = (row["provider"], wanted[row["lookup_id"]].human), days[row["provider"], row["day"]]
        match row["kind"]:
            case "charged":
                charged[bill] += row["credits"]
                day["charged"] += row["credits"]
            case "possible" | "settled":
                signed = row["credits"] if row["kind"] == "possible" else -row["credits"]
                open_to[bill] += signed
                day["possible"] += signed
    for row in now.jobs.values():
        open_to[row["provider"], wanted[row["lookup_id"]].human] += row["reserved"]
        if row["reserved_on"] is not None:
            days[row["provider"], row["reserved_on"]]["reserved"] += row["reserved"]
    for row in now.finished.values():
        if row["request_id"] == OTHER_REQUEST:
            # DESIGN: before the 202, a callback of another request is believed; the bill for the right one may come.
            open_to[row["provider"], wanted[row["lookup_id"]].human] += PRICES[row["provider"]]
    for bill in {*charged, *open_to, *vendors.charged}:
        asked = vendors.charged[bill]
        assert charged[bill] <= asked <= charged[bill] + open_to[bill], (
            f"{bill[0]} bills {asked} for person {bill[1]}; our ledger: {charged[bill]} and perhaps {open_to[bill]}"
        )
    for row in now.usage:
        sums = {name: row[name] for name in _COLUMNS}
        assert sums == days.pop((row["provider"], row["day"]), dict.fromkeys(_COLUMNS, 0)), "usage is not the ledger's"
    assert not any(any(day.values()) for day in days.values()), "usage knows nothing of a day in the ledger"


_COLUMNS = ("reserved", "charged", "possible")
_MAY_CHANGE = {"check_request_id", "check_at", "polls"}  # it is asked once more about a request


def check_history(before: Snapshot, now: Snapshot) -> None:
    """Finished jobs stay as they are, but for a late answer; so do lookups that found a number."""
    for id, old in before.finished.items():
        new = now.finished[id]
        changed = {name for name in old.keys() if old[name] != new[name]} - _MAY_CHANGE  # noqa: SIM118  a record
        # A job that was answered may be again, where its callback was doubted and a poll brought a number.
        late = new["state"] == "answered" and (old["state"] != "answered" or old["check_request_id"] is not None)
        assert not changed or late, f"a finished job changed: {changed}"
    for id, old in before.lookups.items():
        if old["final_status"] == "found":
            same = ("final_status", "mobile", "provider", "finished_at")
            assert [old[name] for name in same] == [now.lookups[id][name] for name in same], "a found number changed"


def check_statuses(wanted: dict[UUID, Wanted], vendors: Vendors, now: Snapshot) -> None:
    """A lookup with an end ended as its jobs did, or as the lookup it follows."""
    still_asked = {row["lookup_id"] for row in now.jobs.values()}
    for id, row in now.lookups.items():
        status = row["final_status"]
        if status is None:
            continue
        human = wanted[id].human
        if status == "found":
            assert (row["provider"], human, row["mobile"]) in vendors.given, "a number that nobody gave"
        elif id in still_asked:
            raise AssertionError("a lookup without a number ended while somebody was asked for it")
        if row["reused_from"] is not None:
            assert row["credits"] == 0, "a follower cost something"
        elif status != "cancelled":
            _check_own_end(row, now, still_asked)
        else:
            assert wanted[id].cancelled, "cancelled by nobody"


def _check_own_end(row: asyncpg.Record, now: Snapshot, still_asked: set[UUID]) -> None:
    words = now.last_words(row["id"])
    states = {name: job["state"] for name, job in words.items()}
    doubtful = any(state in DOUBTFUL for state in states.values())
    match row["final_status"]:
        case "found":
            assert states[row["provider"]] == "answered", states
        case "not_found":
            assert states == dict.fromkeys(row["providers"], "answered"), states
        case "unresolved":
            # Where the doubt is gone by a late answer, a person decides whether the others are asked (`hold`).
            assert doubtful or states.keys() != set(row["providers"]), states
        case "failed":
            assert "failed" in states.values(), states
            assert not doubtful, states
    if row["id"] not in still_asked:
        assert row["credits"] == sum(job["credits"] for job in now.jobs_of(row["id"])), "its price is not its jobs'"


def check_followers(wanted: dict[UUID, Wanted], now: Snapshot, *, settled: bool) -> None:
    """Each follower ended as its leader did; once all is *settled*, a leader's late number is theirs as well."""
    for row in now.lookups.values():
        leader, status = row["reused_from"], row["final_status"]
        if leader is None or status in (None, "cancelled"):
            continue
        assert any(status == was for _, was in wanted[leader].statuses), "a follower ended as its leader never did"
        if settled and now.lookups[leader]["final_status"] == "found":
            assert status == "found", "a follower does not know of its leader's number"


def excuse(earlier: Question, later: Question, wanted: dict[UUID, Wanted], now: Snapshot) -> str | None:
    """Why a provider may be asked again about a person; None: it may not."""
    assert earlier.lookup_id is not None
    assert later.lookup_id is not None
    first, second = wanted[earlier.lookup_id], wanted[later.lookup_id]
    if earlier.nothing_done:
        return "nothing was done"
    if second.retried_at is not None and second.retried_at > earlier.step:
        return "a person asked for it"
    since = second.leads_since or 0
    if first is second:
        return None
    was = first.status_at(since)
    job = now.finished.get(earlier.job_id) if earlier.job_id else None
    in_doubt = job is None or job["state"] in DOUBTFUL or job["possible"] > 0
    if was == "cancelled" or (was == "failed" and not in_doubt):
        return "what was said before counts for nothing"
    if was in WITHOUT_NUMBER and not later.keys <= earlier.keys:
        return "it brings an identifier that the earlier one lacked"
    return None
