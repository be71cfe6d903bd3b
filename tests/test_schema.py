"""The database refuses impossible rows, each by the name of the rule it breaks; the view tells the open status."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from enrichment.states import DeliveryState, FinalStatus, JobEnd, JobState, LookupStatus, OpenJobState, SearchStatus
from tests.databases import Databases
from tests.factories import finished_job, job, lookup

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
    Break: TypeAlias = Callable[[Connection], Awaitable[Any]]

ROOT = Path(__file__).parent.parent
NOW = datetime.now(UTC)
ME = UUID(int=1)


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


def statement(sql: str, *values: Any) -> Break:
    """Runs *sql*."""

    async def run(db: Connection) -> None:
        await db.execute(sql, *values)

    return run


def a_lookup(**overrides: Any) -> Break:
    """Inserts a lookup."""
    return lambda db: lookup(db, **overrides)


def a_job(state: str, **overrides: Any) -> Break:
    """Inserts an open job."""
    return lambda db: job(db, state, **overrides)


def a_finished_job(state: str, **overrides: Any) -> Break:
    """Inserts a job that is over."""
    return lambda db: finished_job(db, state, **overrides)


def a_callback(verdict: str, flag: str | None) -> Break:
    """Inserts a callback."""
    return statement(
        "INSERT INTO callbacks (job_id, body_hash, provider, body, verdict, flag) VALUES ($1, 'x', 'nyne', '', $2, $3)",
        ME,
        verdict,
        flag,
    )


def an_entry(kind: str, credits: int) -> Break:
    """Inserts a row of the ledger."""
    return statement(
        "INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day) VALUES ($1, $1, 'nyne', $2, $3, now())",
        ME,
        kind,
        credits,
    )


def a_provider(reason: str | None, paused: datetime | None, check: datetime | None) -> Break:
    """Inserts a provider."""
    return statement(
        "INSERT INTO providers (name, paused_reason, paused_at, check_at) VALUES ('nyne', $1, $2, $3)",
        reason,
        paused,
        check,
    )


def a_limit(purpose: str, window: int, allowance: int) -> Break:
    """Inserts a limit."""
    return statement(
        """INSERT INTO limits (provider, purpose, "window", allowance) VALUES ('nyne', $1, $2, $3)""",
        purpose,
        window,
        allowance,
    )


def changed(make: Callable[[Connection], Awaitable[Any]], change: str, table: str) -> Break:
    """Insert a row, and change *table* so."""

    async def run(db: Connection) -> None:
        await make(db)
        await db.execute(f"UPDATE {table} SET {change}")  # noqa: S608

    return run


def a_search(change: str) -> Break:
    """Insert an open search, changed so."""
    return changed(lookup, change, "searches")


def a_reading(change: str) -> Break:
    """Insert a queued reading, changed so."""
    row = "INSERT INTO readings (id, source, record_id, named_by) VALUES ($1, 'hubspot', '1', 'event')"
    return changed(statement(row, ME), change, "readings")


def a_delivery(change: str) -> Break:
    """Insert a queued delivery, changed so."""
    row = "INSERT INTO deliveries (id, lookup_id, channel) VALUES ($1, $1, 'webhook')"
    return changed(statement(row, ME), change, "deliveries")


def a_suppression(change: str) -> Break:
    """Insert a suppression, changed so."""
    row = "INSERT INTO suppressions (id, kind, hash) VALUES ($1, 'email', decode(repeat('00', 16), 'hex'))"
    return changed(statement(row, ME), change, "suppressions")


def a_selection(change: str) -> Break:
    """Insert a selection that is being previewed, changed so."""
    row = "INSERT INTO selections (id, who, action, filter) VALUES ($1, 'ops', 'retry', '{}')"
    return changed(statement(row, ME), change, "selections")


async def negative_credits(db: Connection) -> None:
    """A job that was paid for less than nothing."""
    row = await finished_job(db)
    await db.execute("UPDATE finished_jobs SET possible = -1 WHERE id = $1", row["id"])


IMPOSSIBLE: list[tuple[str, Break]] = [
    ("a_contact_has_an_identifier", a_lookup(work_email=None, company="Acme")),
    ("a_provider_may_be_asked", a_lookup(providers=[], search_id=ME)),
    ("identifiers_are_keys", changed(lookup, "identifiers = ARRAY['x'::bytea]", "lookups")),
    ("identifiers_are_keys", changed(lookup, "identifiers = '{}'", "lookups")),
    ("finished_exactly_when_final", a_lookup(finished_at=NOW)),
    ("finished_exactly_when_final", a_lookup(final_status="failed", finished_at=None, search_id=ME)),
    ("mobile_exactly_when_found", a_lookup(mobile="+15551234567")),
    ("mobile_exactly_when_found", a_lookup(final_status="found", mobile=None)),
    ("mobile_exactly_when_found", a_lookup(final_status="not_found", mobile="+15551234567")),
    ("mobile_has_a_provider", a_lookup(final_status="found", provider=None, search_id=ME)),
    ("mobile_is_e164", a_lookup(final_status="found", mobile="5551234567")),
    ("mobile_is_e164", a_lookup(final_status="found", mobile="+1 555 123 4567")),
    ("reused_from_another", a_lookup(id=ME, reused_from=ME)),
    ("insists_only_while_open", a_lookup(final_status="failed", insists=True)),
    ("ended_exactly_with_a_status", a_search("ended_at = now()")),
    ("ended_exactly_with_a_status", a_search("status = 'failed'")),
    ("unswept_only_after_its_end", a_search("unswept = true")),
    ("a_search_asks_about_something", a_search("asked = '{}'")),
    ("a_search_asks_about_something", a_search("providers = '{}'")),
    ("key_is_a_hash", statement("INSERT INTO keys (key, searches) VALUES ('jane@acme.co', '{}')")),
    ("a_shared_key_leads_nowhere", changed(lookup, "shared = true", "keys")),
    ("fingerprint_is_a_hash", statement("INSERT INTO fingerprints VALUES ('evt-1', $1)", ME)),
    (
        "one_installation",
        statement("INSERT INTO installation (only_row, identity_fingerprint) VALUES (false, 'x')"),
    ),
    ("only_open_states", a_job("answered", reserved=0, reserved_on=None)),
    ("held_only_while_queued", a_job("awaiting", held="paused")),
    ("held_only_while_queued", a_job("queued", held="out of luck")),
    ("leased_exactly_while_submitting", a_job("queued", lease_expires_at=NOW)),
    ("leased_exactly_while_submitting", a_job("submitting", lease_expires_at=None)),
    ("reserved_exactly_while_asked", a_job("queued", reserved_on=NOW.date())),
    ("reserved_exactly_while_asked", a_job("awaiting", reserved=0, reserved_on=None)),
    ("reserved_needs_a_day", a_job("awaiting", reserved=-1)),
    ("asked_has_an_attempt", a_job("submitting", attempt=0)),
    ("asked_has_an_attempt", a_job("awaiting", submitted_at=None)),
    ("request_id_only_while_awaiting", a_job("submitting", request_id="req-1")),
    ("only_final_states", a_finished_job("awaiting")),
    ("answered_by_somebody", a_finished_job("answered", answered_by=None)),
    ("answered_by_somebody", a_finished_job("failed", answered_by="poll")),
    ("answered_by_somebody", a_finished_job("answered", answered_by="a little bird")),
    ("finished_credits_not_negative", negative_credits),
    ("checked_by_request_id", a_finished_job("answered", check_at=NOW)),
    ("callback_verdict", a_callback("believed", None)),
    ("flagged_says_why", a_callback("flagged", None)),
    ("flagged_says_why", a_callback("applied", "odd")),
    ("ledger_kind", an_entry("lost", 3)),
    ("ledger_credits_positive", an_entry("charged", 0)),
    ("paused_says_why", a_provider(None, NOW, NOW)),
    ("paused_says_why", a_provider("no credits", None, None)),
    ("paused_says_why", a_provider("no credits", NOW, None)),
    ("limit_purpose", a_limit("fun", 60, 100)),
    ("limit_positive", a_limit("any", 60, 0)),
    ("limit_positive", a_limit("any", 0, 100)),
    ("named_by_somebody", a_reading("named_by = 'a friend'")),
    ("read_under_a_lease", a_reading("state = 'reading'")),
    ("read_under_a_lease", a_reading("lease_expires_at = now()")),
    ("read_to_its_end", a_reading("ended_at = now()")),
    ("read_to_its_end", a_reading("state = 'skipped', reason = 'gone'")),
    ("skipped_says_why", a_reading("state = 'skipped', ended_at = now()")),
    ("skipped_says_why", a_reading("reason = 'gone'")),
    ("done_made_a_lookup", a_reading("state = 'done', ended_at = now()")),
    ("sent_under_a_lease", a_delivery("state = 'sending'")),
    ("sent_under_a_lease", a_delivery("lease_expires_at = now()")),
    ("delivered_to_its_end", a_delivery("ended_at = now()")),
    ("delivered_to_its_end", a_delivery("state = 'delivered'")),
    ("not_delivered_says_why", a_delivery("state = 'refused', ended_at = now()")),
    ("suppression_is_a_hash", a_suppression("hash = 'jane@acme.co'")),
    ("suppression_kind", a_suppression("kind = 'nickname'")),
    ("tombstone_is_a_hash", statement("INSERT INTO tombstones (job_hash) VALUES ('x')")),
    ("audit_action", statement("INSERT INTO audit (id, who, action) VALUES ($1, 'ops', 'look')", ME)),
    (
        "of_a_provider_or_of_a_source",
        statement(
            "INSERT INTO pauses (id, provider, source, reason, who) VALUES ($1, 'nyne', 'hubspot', 'odd', 'ops')", ME
        ),
    ),
    (
        "closed_exactly_at_an_id",
        statement(
            "INSERT INTO restores (id, since, began_at, began_id, who, closed_at)"
            " VALUES ($1, now(), now(), $1, 'ops', now())",
            ME,
        ),
    ),
    ("a_figure_is_named", statement("INSERT INTO vendor_figures (provider, charged) VALUES ('nyne', 0)")),
    ("selection_action", a_selection("action = 'love'")),
    ("previewed_before_it_is_applied", a_selection("state = 'applying'")),
    ("previewed_before_it_is_applied", a_selection("state = 'applied', previewed_at = now()")),
]


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
