"""The database refuses impossible rows, each by the name of the rule it breaks; the view tells the open status."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.states import DeliveryState, FinalStatus, JobEnd, JobState, LookupStatus, OpenJobState, SearchStatus
from tests.databases import Databases
from tests.factories import job, lookup
from tests.impossible import IMPOSSIBLE, ME, an_entry

if TYPE_CHECKING:
    from tests.impossible import Break

    Connection: TypeAlias = asyncpg.Connection[Any]

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def scratch_url(databases: Databases) -> Iterator[str]:
    """One database for the whole module: every test undoes its changes."""
    with databases.for_a_module() as url:
        yield url


@pytest.fixture
async def db(scratch_url: str) -> AsyncIterator[Connection]:
    """A transaction that is rolled back."""
    connection = await asyncpg.connect(scratch_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.mark.parametrize(
    ("name", "break_it"), IMPOSSIBLE, ids=[f"{name}-{n}" for n, (name, _) in enumerate(IMPOSSIBLE)]
)
async def test_an_impossible_row_is_refused_by_name(db: Connection, name: str, break_it: Break) -> None:
    """An impossible row is refused, and the message names the rule."""
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await break_it(db)

    assert refused.value.as_dict()["constraint_name"] == name


async def test_every_rule_has_its_impossible_row(db: Connection) -> None:
    """A new CHECK fails this until a row shows what it refuses."""
    rows = await db.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )

    assert {row["conname"] for row in rows} == {name for name, _ in IMPOSSIBLE}


async def test_a_search_has_one_open_question_at_most(db: Connection) -> None:
    """A second open job of one search is refused."""
    row = await job(db)

    with pytest.raises(asyncpg.UniqueViolationError, match="one_open_job_per_search"):
        await job(db, lookup_id=row["lookup_id"])


async def test_one_job_is_charged_once(db: Connection) -> None:
    """A second charge for one job is refused by the schema."""
    await an_entry("charged", 3)(db)

    with pytest.raises(asyncpg.UniqueViolationError, match=r"ledger_\w+_pkey"):
        await an_entry("charged", 3)(db)


async def test_an_event_has_one_lookup(db: Connection) -> None:
    """The same fingerprint cannot lead to a second lookup."""
    insert = "INSERT INTO fingerprints VALUES (decode(repeat('00', 16), 'hex'), $1)"
    await db.execute(insert, ME)

    with pytest.raises(asyncpg.UniqueViolationError, match="fingerprints_pkey"):
        await db.execute(insert, uuid7())


async def labels(db: Connection, enum: str) -> list[str]:
    """The values of an enum, in their order."""
    return [row[0] for row in await db.fetch(f"SELECT unnest(enum_range(NULL::{enum}))::text")]


@pytest.mark.parametrize(
    ("enum", "known"),
    [
        ("job_state", JobState),
        ("final_status", FinalStatus),
        ("search_status", SearchStatus),
        ("delivery_state", DeliveryState),
    ],
)
async def test_the_code_knows_exactly_the_states_of_the_database(db: Connection, enum: str, known: Any) -> None:
    """enrichment/states.py and schema.sql name the same states, in the same order."""
    assert await labels(db, enum) == list(get_args(known))


def test_a_state_is_open_or_an_end() -> None:
    """Every state of a job is one or the other, and every final status is one of a lookup."""
    assert get_args(JobState) == get_args(OpenJobState) + get_args(JobEnd)
    assert get_args(LookupStatus) == ("queued", "running", "held", *get_args(FinalStatus))


@pytest.mark.parametrize(
    ("said", "is_doubtful", "verdict"),
    [
        ({"leadmagic": "answered", "nyne": "answered"}, False, "not_found"),
        ({"leadmagic": "answered", "nyne": "answered"}, True, "unresolved"),
        ({"leadmagic": "failed", "nyne": "answered"}, False, "failed"),
        ({"leadmagic": "failed", "nyne": "unknown"}, False, "unresolved"),
        ({"leadmagic": "lost", "nyne": "failed"}, False, "unresolved"),
        ({}, False, "not_found"),
    ],
)
async def test_the_worst_word_decides_how_a_search_ends(
    db: Connection, said: dict[str, str], is_doubtful: bool, verdict: str
) -> None:
    """A doubt outweighs a failure, and that outweighs "no number"."""
    assert await db.fetchval("SELECT search_verdict($1, $2)::text", json.dumps(said), is_doubtful) == verdict


@pytest.mark.parametrize(
    ("state", "overrides", "status"),
    [
        ("queued", {}, "queued"),
        ("queued", {"held": "budget"}, "held"),
        ("queued", {"held": "paused", "place": 1}, "held"),
        ("queued", {"attempt": 1, "tries": 1}, "running"),
        ("queued", {"place": 1}, "running"),
        ("submitting", {}, "running"),
        ("awaiting", {}, "running"),
    ],
)
async def test_an_open_lookup_is_as_its_job_is(
    db: Connection, state: str, overrides: dict[str, Any], status: str
) -> None:
    """The open status is read off the open job, so that the two cannot disagree."""
    row = await job(db, state, **overrides)

    told = await db.fetchval("SELECT status FROM lookup_status WHERE id = $1", row["lookup_id"])

    assert told == status


@pytest.mark.parametrize("final", ["found", "not_found", "failed", "unresolved", "suppressed", "cancelled"])
async def test_a_final_status_is_told_whatever_is_still_asked(db: Connection, final: str) -> None:
    """A lookup that has ended shows its final status, even while a question of it is in flight."""
    row = await job(db, "awaiting", lookup_id=(await lookup(db, final_status=final))["id"])

    told = await db.fetchval("SELECT status FROM lookup_status WHERE id = $1", row["lookup_id"])

    assert told == final


@pytest.mark.parametrize(("state", "status"), [("queued", "queued"), ("awaiting", "running"), (None, "queued")])
async def test_a_lookup_that_joined_is_as_the_job_of_its_search_is(
    db: Connection, state: str | None, status: str
) -> None:
    """It shares the job of the search that it waits for; when that has ended, it is queued to be decided anew."""
    first = await lookup(db)
    if state is not None:
        await job(db, state, lookup_id=first["id"])
    row = await lookup(db, search_id=first["search_id"], reused_from=first["id"])

    told = await db.fetchval("SELECT status FROM lookup_status WHERE id = $1", row["id"])

    assert told == status
