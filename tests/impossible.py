"""Rows that the database must refuse, each with the name of the rule that it breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg

from tests.factories import finished_job, job, lookup

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
    Break: TypeAlias = Callable[[Connection], Awaitable[Any]]

NOW = datetime.now(UTC)
ME = UUID(int=1)


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


def a_campaign(change: str) -> Break:
    """Insert a campaign whose rows are being read, changed so."""
    row = "INSERT INTO campaigns (id, name, who, digest) VALUES ($1, 'a.csv', 'ops', decode(repeat('00', 32), 'hex'))"
    return changed(statement(row, ME), change, "campaigns")


def a_campaign_row(change: str) -> Break:
    """Insert a row of a campaign that may cost something, changed so."""
    row = (
        "INSERT INTO campaign_rows (campaign_id, number, verdict, keys, content) VALUES ($1, 1, 'new', '{key}', 'hash')"
    )
    return changed(statement(row, ME), change, "campaign_rows")


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
    ("campaign_digest_is_sha256", a_campaign("digest = 'x'")),
    ("read_from_a_whole_file", a_campaign("digest = NULL")),
    ("read_as_it_was_looked_at", a_campaign("is_uploaded = true")),
    ("campaign_read_to_its_end", a_campaign("state = 'read'")),
    ("asked_with_a_limit", a_campaign("begun = 1")),
    ("asked_with_a_limit", a_campaign("state = 'sampling', read_at = now(), sample = 50")),
    ("sampled_to_a_size", a_campaign("state = 'sampling', read_at = now(), approved_credits = 1")),
    (
        "quoted_with_a_quote",
        a_campaign("state = 'quoted', read_at = now(), approved_credits = 1, sample = 50"),
    ),
    ("run_after_an_approval", a_campaign("state = 'running', read_at = now(), approved_credits = 1")),
    ("campaign_done_exactly_at", a_campaign("done_at = now()")),
    ("stopped_says_why", a_campaign("state = 'stopped'")),
    ("stopped_says_why", a_campaign("reason = 'a person stopped it'")),
    ("row_verdict", a_campaign_row("verdict = 'odd', keys = '{}', content = NULL")),
    ("unusable_row_says_why", a_campaign_row("verdict = 'unusable', keys = '{}', content = NULL")),
    ("unusable_row_says_why", a_campaign_row("reason = 'odd'")),
    ("a_usable_row_has_keys", a_campaign_row("keys = '{}'")),
    ("a_usable_row_has_keys", a_campaign_row("verdict = 'erased', content = NULL")),
    ("a_usable_row_has_keys", a_campaign_row("verdict = 'erased', keys = '{}'")),
    ("only_new_rows_cost", a_campaign_row("verdict = 'known', most = 5")),
    (
        "only_usable_rows_begin",
        a_campaign_row("verdict = 'erased', keys = '{}', content = NULL, lookup_id = campaign_id"),
    ),
    ("a_row_ends_after_its_beginning", a_campaign_row("status = 'found', credits = 5")),
    ("a_row_ends_after_its_beginning", a_campaign_row("lookup_id = campaign_id, status = 'found'")),
    ("a_row_ends_after_its_beginning", a_campaign_row("lookup_id = campaign_id, credits = 5")),
    ("a_piece_is_small", statement("INSERT INTO campaign_files VALUES ($1, 0, '')", ME)),
]
