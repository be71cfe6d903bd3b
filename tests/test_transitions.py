"""The table: where every outcome leads from every state, in every way it can arrive.

A new outcome or a new state fails the tests at the end until each of its cells is decided.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import asyncpg
import pytest

from enrichment.contact import Contact
from enrichment.outcome import (
    Accepted,
    Answered,
    Forgotten,
    Outcome,
    Pause,
    Refused,
    Retry,
    Running,
    Unclear,
    Unreadable,
)
from enrichment.providers.base import HttpResponse
from enrichment.providers.nyne import Nyne
from store.claim import ClaimedJob
from submitter.outcomes import JobOutcome, Withheld
from submitter.poll import Poller
from tests.at_work import NO_LIMITS, AtWork, at_work
from tests.factories import finished_job, job, lookup
from tests.fake_provider import FakeProvider, Reply, playing

if TYPE_CHECKING:
    from tests.conftest import MakeSettings

SAID: dict[str, Outcome | Withheld] = {
    "number": Answered("+15551234567"),
    "no number": Answered(None),
    "unusable": Answered("call me"),
    "accepted": Accepted("req-1"),
    "hidden": Accepted(None),
    "running": Running(),
    "refused": Refused("no"),
    "unreadable": Unreadable("odd"),
    "retry": Retry("HTTP 503"),
    "throttled": Retry("HTTP 429", throttled=True),
    "pause": Pause("HTTP 402"),
    "unclear": Unclear("no answer in time"),
    "forgotten": Forgotten("HTTP 404"),
    "not asked": Withheld("frozen"),
}
BY_WIRE = [name for name in SAID if name != "not asked"]

# The state of a job before the outcome arrives, and its lookup's, as lookup_status shows them.
BEFORE = {
    "queued": "queued running",
    "submitting": "submitting running",
    "awaiting": "awaiting running",
    "awaiting nobody": "awaiting running",  # the 202 was lost: no request_id
    "answered": "answered not_found",
    "failed": "failed failed",
    "unknown": "unknown unresolved",
    "lost": "lost unresolved",
}
FINAL = ("answered", "failed", "unknown", "lost")
SAME = "unchanged"
ENDS = {
    "number": "answered found",
    "no number": "answered not_found",
    "unusable": "answered not_found",
    "refused": "failed failed",
    "forgotten": "lost unresolved",
}
NOTHING = dict.fromkeys(SAID, SAME)
AGAIN = "queued running"


# A job that ended without an answer gets one: its lookup ends as if it had come in time.
LATE = {name: ENDS[name] for name in ("number", "no number", "unusable")}

# In the answer to the question itself; the job's state is what another process has made of it meanwhile.
INLINE: dict[tuple[str, str], dict[str, str]] = {
    ("leadmagic", "submitting"): ENDS
    | {
        "accepted": "awaiting(req-1) running",
        "hidden": "awaiting running",
        "running": "unknown unresolved",
        "unreadable": "unknown unresolved",
        "retry": AGAIN,
        "throttled": AGAIN,
        "pause": AGAIN,
        "unclear": "unknown unresolved",
        "not asked": AGAIN,
    },
    ("nyne", "submitting"): ENDS
    | {
        "accepted": "awaiting(req-1) running",
        "hidden": "awaiting running",
        "running": "unknown unresolved",
        "unreadable": "awaiting running",  # its callback will tell
        "retry": AGAIN,
        "throttled": AGAIN,
        "pause": AGAIN,
        "unclear": "awaiting running",
        "not asked": AGAIN,
    },
    ("nyne polled", "submitting"): ENDS
    | {
        "accepted": "awaiting(req-1) running",
        "hidden": "awaiting running",
        "running": "unknown unresolved",
        "unreadable": "unknown unresolved",  # no callback will come
        "retry": AGAIN,
        "throttled": AGAIN,
        "pause": AGAIN,
        "unclear": "unknown unresolved",
        "not asked": AGAIN,
    },
    # An older attempt's submitter, slow or frozen: the fence.
    ("nyne", "next attempt"): NOTHING,
    # The same attempt's submitter, after others gave it up.
    ("nyne", "queued"): NOTHING | ENDS | {"running": "unknown unresolved"},
    ("nyne", "awaiting"): NOTHING | ENDS | {"running": "unknown unresolved"},
    ("nyne", "awaiting nobody"): NOTHING
    | ENDS
    | {"accepted": "awaiting(req-1) running", "running": "unknown unresolved", "not asked": AGAIN},
    ("nyne", "answered"): NOTHING,
    # It was over before its 202 was stored: now it can be asked about.
    ("nyne", "failed"): NOTHING | LATE | {"accepted": "failed failed, polled"},
    ("nyne", "unknown"): NOTHING | LATE | {"accepted": "unknown unresolved, polled", "not asked": "failed failed"},
    ("nyne", "lost"): NOTHING | LATE | {"accepted": "lost unresolved, polled"},
}

# In a callback, whose verdict is shown as well. Only a plain yes or no counts; a doubted one is polled.
IGNORED = dict.fromkeys(BY_WIRE, f"{SAME}, ignored") | {"unreadable": f"{SAME}, flagged"}
APPLIED = {name: f"{ENDS[name]}, applied" for name in ("number", "no number", "unusable", "refused")}
CALLBACK: dict[str, dict[str, str]] = {
    "queued": IGNORED | APPLIED,
    "submitting": IGNORED | APPLIED,
    "awaiting": IGNORED | APPLIED | {"unreadable": f"{SAME}, flagged, polled"},
    "awaiting nobody": IGNORED | APPLIED,
    "another request": IGNORED
    | dict.fromkeys(["number", "no number", "unusable", "refused", "unreadable"], f"{SAME}, flagged, polled"),
    "answered": IGNORED,
    **{
        state: IGNORED | {name: f"{said}, late" for name, said in LATE.items()}
        for state in ("failed", "unknown", "lost")
    },
}

# In the answer to a poll; the job's state is the one when the answer comes.
POLL: dict[str, dict[str, str]] = {
    "awaiting": dict.fromkeys(BY_WIRE, SAME) | ENDS | {"unclear": "unknown unresolved"},
    "answered": dict.fromkeys(BY_WIRE, SAME),
    "failed": dict.fromkeys(BY_WIRE, SAME) | LATE,
    "unknown": dict.fromkeys(BY_WIRE, SAME) | LATE,
    "lost": dict.fromkeys(BY_WIRE, SAME) | LATE,
}


class Saying(Nyne):
    """Nyne, whose poll reads to a given outcome."""

    said: Outcome

    def read_poll(self, response: HttpResponse) -> Outcome:
        """Return the given outcome."""
        return self.said


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    """The provider's server."""
    async with playing() as server:
        yield server


@pytest.fixture
async def world(fake: FakeProvider, make_settings: MakeSettings, database_url: str) -> AsyncIterator[AtWork]:
    """A process at work."""
    settings = make_settings(
        database_url=database_url, leadmagic_base_url=fake.url, nyne_base_url=fake.url, **NO_LIMITS
    )
    async with at_work(settings, database_url) as working:
        yield working


async def made(world: AtWork, state: str, **more: Any) -> asyncpg.Record:
    """Make a job in *state*, whose lookup asks no other provider."""
    providers = [more.get("provider", "nyne")]
    if state in FINAL:
        final_status = BEFORE[state].split()[1]
        row = await lookup(world.pool, providers=providers, final_status=final_status)
        return await finished_job(world.pool, state, lookup_id=row["id"], **more)
    more["lookup_id"] = (await lookup(world.pool, providers=providers))["id"]
    if state == "queued":
        return await job(world.pool, "queued", attempt=1, tries=1, **more)
    if state == "awaiting nobody":
        return await job(world.pool, "awaiting", **more | {"request_id": None})
    return await job(world.pool, state, **more)


async def now(world: AtWork, job_id: UUID) -> str:
    """Return the job's state, with a new request_id; its lookup's status; and whether to poll it at once."""
    row = await world.pool.fetchrow(
        """
        SELECT all_jobs.*, status
          FROM (SELECT id, lookup_id, state::text, request_id,
                       state = 'awaiting' AND request_id IS NOT NULL AND due_at <= now() AS polled
                  FROM jobs
                UNION ALL
                SELECT id, lookup_id, state::text, NULL, check_at <= now() + interval '1 minute'
                  FROM finished_jobs) AS all_jobs
          JOIN lookup_status ON lookup_status.id = all_jobs.lookup_id
         WHERE all_jobs.id = $1
        """,
        job_id,
    )
    assert row is not None
    learnt = "(req-1)" if row["request_id"] == "req-1" else ""
    return f"{row['state']}{learnt} {row['status']}" + (", polled" if row["polled"] else "")


def shown(said: str, before: str) -> str:
    """Return *said*, or SAME for an unchanged state."""
    return said.replace(before, SAME) if said.startswith(before) and not said.endswith(", polled") else said


@pytest.mark.parametrize(("provider", "state"), INLINE)
async def test_what_the_answer_to_the_question_does(world: AtWork, provider: str, state: str) -> None:
    """From this state, each outcome leads where the table says."""
    name = provider.removesuffix(" polled")
    asked: dict[str, Any] = {"provider": name} | ({"request_id": "req-0"} if state == "awaiting" else {})
    if state == "next attempt":
        asked["attempt"] = 2
    led = {}

    for said, outcome in SAID.items():
        row = await made(world, "submitting" if state == "next attempt" else state, **asked)
        before = await now(world, row["id"])
        claimed = ClaimedJob(
            row["id"], row["search_id"], row["lookup_id"], 1, 0, Contact(work_email="jane@acme.co"), 0.0
        )
        told = JobOutcome(world.process.providers[name], claimed, outcome, b"{}", callback_expected=provider == "nyne")
        await world.writer.write([told])
        await world.finisher.sweeper.close()
        led[said] = shown(await now(world, row["id"]), before)

    assert led == INLINE[provider, state]


@pytest.mark.parametrize("state", CALLBACK)
async def test_what_a_callback_does(world: AtWork, state: str) -> None:
    """From this state, each callback leads where the table says, and is recorded with that verdict."""
    led = {}

    for said in BY_WIRE:
        outcome = SAID[said]
        assert not isinstance(outcome, Withheld)
        if isinstance(outcome, Answered | Refused):
            outcome = replace(outcome, request_id="req-1" if state != "another request" else "req-2")
        known = {"request_id": "req-1"} if state in ("awaiting", "another request", *FINAL) else {}
        row = await made(world, "awaiting" if state == "another request" else state, **known)
        before = await now(world, row["id"])
        recorded = await world.call_back(row["id"], outcome)
        after = await now(world, row["id"])
        polled = ", polled" if after.endswith(", polled") else ""
        led[said] = (
            f"{shown(after.removesuffix(', polled'), before).replace('(req-1)', '')}, {recorded.verdict}{polled}"
        )

    assert led == CALLBACK[state]


@pytest.mark.parametrize("state", POLL)
async def test_what_a_poll_does(world: AtWork, fake: FakeProvider, state: str) -> None:
    """When the job is in this state by the time its poll is answered, each outcome leads where the table says."""
    settings = world.process.settings
    assert settings.nyne.api_key
    assert settings.nyne.api_secret
    nyne = Saying(settings.nyne.api_key, settings.nyne.api_secret, fake.url)
    poller = Poller(nyne, world.process, world.finisher)
    led = {}

    for said in BY_WIRE:
        outcome = SAID[said]
        assert not isinstance(outcome, Withheld)
        nyne.said = outcome
        row = await made(world, "awaiting", request_id="req-0", due_at=await long_ago(world))

        async def meanwhile(_: object, id: UUID = row["id"]) -> None:
            await overtaken(world, id, state)

        fake.polls.extend([Reply(before=meanwhile)])
        assert await poller.poll_once() == 1
        fake.polls.clear()
        led[said] = shown(await now(world, row["id"]), BEFORE[state])
        await world.pool.execute("UPDATE providers SET paused_at = NULL, paused_reason = NULL, check_at = NULL")
        await world.pool.execute("UPDATE providers SET rest_until = NULL")

    assert led == POLL[state]


async def long_ago(world: AtWork) -> Any:
    """A moment that is over."""
    return await world.pool.fetchval("SELECT now() - $1::interval", timedelta(hours=1))


async def overtaken(world: AtWork, job_id: UUID, state: str) -> None:
    """End the awaiting job as *state*, as another process would."""
    if state == "awaiting":
        return
    row = await world.pool.fetchrow("DELETE FROM jobs WHERE id = $1 RETURNING *", job_id)
    assert row is not None
    await world.pool.execute(
        "UPDATE usage SET reserved = reserved - $2 WHERE provider = $1", row["provider"], row["reserved"]
    )
    await finished_job(world.pool, state, id=job_id, lookup_id=row["lookup_id"], request_id=row["request_id"])
    status = BEFORE[state].split()[1]
    await world.pool.execute(
        "UPDATE searches SET status = $2::text::search_status, ended_at = now() WHERE id = $1",
        row["search_id"],
        status,
    )
    await world.pool.execute(
        "UPDATE lookups SET final_status = $2::text::final_status, finished_at = now() WHERE id = $1",
        row["lookup_id"],
        status,
    )


def test_every_outcome_is_in_the_table() -> None:
    """A new outcome fails this until its cells are decided."""
    assert {type(outcome) for outcome in SAID.values()} == {*get_args(Outcome), Withheld}
    for row in INLINE.values():
        assert row.keys() == SAID.keys()
    for row in (*CALLBACK.values(), *POLL.values()):
        assert row.keys() == set(BY_WIRE)


async def test_every_state_is_in_the_table(world: AtWork) -> None:
    """A new state fails this until its cells are decided."""
    labels = await world.pool.fetch("SELECT unnest(enum_range(NULL::job_state))::text AS state")
    states = {row["state"] for row in labels}

    assert {state.split()[0] for state in BEFORE} == states
    assert states <= {state for provider, state in INLINE if provider == "nyne"}
    assert states <= set(CALLBACK)
    assert set(POLL) == {"awaiting", *FINAL}  # nothing else has ever been polled
