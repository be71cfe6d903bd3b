"""A database with months of history and many open rows, for tests of what a statement reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from store.partitions import ensure_partitions
from store.providers import register_provider

if TYPE_CHECKING:
    from tests.explained import Db

NOW = datetime.now(UTC)
DAYS = 120  # how far back the history goes
FINISHED = 50_000
OF_EACH = 20_000  # open jobs: queued, submitting, awaiting
JOINED_EACH = 600  # one in so many open lookups is joined by another
PART = 50  # rows of one batch
LEFT_EACH = 5_000  # one in so many searches ended without ending a lookup that waits for it

# A number determines everything in a row: an id of its time, a person, a record. Each tenth lookup of the past took the
# answer of the one before it.
SEED = """
CREATE FUNCTION pg_temp.id(at timestamptz, number bigint, kind text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(number || kind), 1, 3)
                || '8' || substr(md5(number || kind), 4, 15))::uuid
$$;
CREATE FUNCTION pg_temp.keys(number bigint, kind text) RETURNS bytea[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY[decode(md5(number || kind || 'e-mail'), 'hex'), decode(md5(number || kind || 'question'), 'hex')]
$$;

CREATE TEMP TABLE past AS
SELECT number, own, pg_temp.id(at, number, 'lookup') AS lookup_id, pg_temp.id(at, number, 'job') AS job_id,
       pg_temp.id(at, number, 'search') AS search_id, pg_temp.keys(own, 'old') AS keys, at,
       CASE WHEN own % 5000 = 7 THEN 'cancelled' WHEN own % 500 = 8 THEN 'unresolved' WHEN own % 3 = 0 THEN 'not_found'
            ELSE 'found' END AS status
  FROM (SELECT number, number - (number % 10 = 0)::int AS own,
               now() - make_interval(secs => 3600 + 86400.0 * {days} * (1 - number / {finished}.0)) AS at
          FROM generate_series(1, {finished}) AS numbers (number)) AS numbers;

INSERT INTO lookups (id, event_id, source, record_id, work_email, providers, keys, identifiers, search_id, created_at,
                     final_status, finished_at, mobile, provider, reused_from)
SELECT past.lookup_id, past.lookup_id, 'generic', 'crm-' || past.number % 10000, 'old-' || past.own || '@acme.co',
       '{{leadmagic,nyne}}', past.keys, past.keys[1:1], first.search_id, past.at, past.status::final_status, past.at,
       CASE past.status WHEN 'found' THEN '+15551234567' END, CASE past.status WHEN 'found' THEN 'nyne' END,
       NULLIF(first.lookup_id, past.lookup_id)
  FROM past JOIN past AS first ON first.number = past.own;

INSERT INTO searches (id, begun_for, keys, asked, providers, names, said, numbers, status, ended_at, unswept)
SELECT search_id, lookup_id, keys, keys[1:1], '{{leadmagic,nyne}}', ARRAY['Jane Doe'],
       jsonb_build_object('nyne', CASE status WHEN 'unresolved' THEN 'lost' ELSE 'answered' END),
       CASE status WHEN 'found' THEN '{{"nyne": {{"mobile": "+15551234567"}}}}'::jsonb ELSE '{{}}' END,
       CASE status WHEN 'cancelled' THEN 'dropped' ELSE status END::search_status, at, number % {left_each} = 1
  FROM past WHERE number = own;

INSERT INTO keys (key, searches) SELECT unnest(keys), ARRAY[search_id] FROM past WHERE number = own;
INSERT INTO fingerprints SELECT decode(md5('event' || number), 'hex'), lookup_id FROM past;

INSERT INTO finished_jobs (id, search_id, lookup_id, source, provider, state, answered_by, attempt, polls, credits,
                           possible, submitted_at, finished_at)
SELECT job_id, search_id, lookup_id, 'generic', CASE number % 2 WHEN 0 THEN 'nyne' ELSE 'leadmagic' END,
       CASE status WHEN 'unresolved' THEN 'lost' ELSE 'answered' END::job_state,
       CASE status WHEN 'unresolved' THEN NULL ELSE 'inline' END, 1, 0, 3, 0, at, at
  FROM past WHERE number = own;

INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
SELECT job_id, lookup_id, 'nyne', 'charged', 3, at::date FROM past WHERE number = own;

INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict)
SELECT job_id, 'x', 'nyne', lookup_id, '', 'applied' FROM past WHERE number % 2 = 0;

CREATE TEMP TABLE present AS
SELECT number, pg_temp.id(at, number, 'open lookup') AS lookup_id, pg_temp.id(at, number, 'open job') AS job_id,
       pg_temp.id(at, number, 'open search') AS search_id, pg_temp.keys(number, 'new') AS keys, at,
       CASE number % 2 WHEN 0 THEN 'nyne' ELSE 'leadmagic' END AS provider,
       (ARRAY['queued', 'submitting', 'awaiting'])[1 + number % 3] AS state
  FROM (SELECT number, now() - make_interval(secs => 3600 * (1 - number / ({open} + 1.0))) AS at
          FROM generate_series(1, {open}) AS numbers (number)) AS numbers;

INSERT INTO lookups (id, event_id, source, record_id, work_email, providers, keys, identifiers, search_id, created_at)
SELECT lookup_id, lookup_id, 'generic', 'crm-' || number % 10000, 'new-' || number || '@acme.co', '{{leadmagic,nyne}}',
       keys, keys[1:1], search_id, at
  FROM present;

INSERT INTO searches (id, begun_for, keys, asked, providers, names)
SELECT search_id, lookup_id, keys, keys[1:1], '{{leadmagic,nyne}}', ARRAY['Jane Doe'] FROM present;

INSERT INTO keys (key, searches) SELECT unnest(keys), ARRAY[search_id] FROM present;
INSERT INTO fingerprints SELECT decode(md5('open event' || number), 'hex'), lookup_id FROM present;

INSERT INTO jobs (id, search_id, lookup_id, source, provider, state, held, todo, place, attempt, tries, due_at,
                  submitted_at, lease_expires_at, request_id, reserved, reserved_on)
SELECT job_id, search_id, lookup_id, 'generic', provider, state::job_state,
       CASE WHEN state = 'queued' AND number % 100 = 0 THEN 'budget' END, '{{nyne}}', 0,
       CASE WHEN state = 'queued' AND number % 10 <> 1 THEN 0 ELSE 1 END,
       CASE WHEN state = 'queued' AND number % 10 = 1 THEN 1 ELSE 0 END,
       -- A few are due; most of what was asked is not.
       CASE WHEN state <> 'queued' AND number % 300 > 3 THEN now() + interval '1 hour' ELSE at END,
       CASE WHEN state <> 'queued' OR number % 10 = 1 THEN at END,
       CASE WHEN state = 'submitting' THEN now() + CASE WHEN number % 300 < 3 THEN '-1 s' ELSE '20 s' END::interval END,
       CASE WHEN state = 'awaiting' THEN 'req-' || number END,
       CASE WHEN state <> 'queued' THEN 3 ELSE 0 END, CASE WHEN state <> 'queued' THEN now()::date END
  FROM present;

-- Open lookups that joined: searches that are open, some that have ended, and some that are gone.
INSERT INTO lookups (id, event_id, source, work_email, providers, keys, identifiers, search_id, reused_from)
SELECT pg_temp.id(at, number, 'joined'), lookup_id, 'generic', 'new-' || number || '@acme.co', ARRAY['nyne'],
       keys, keys[1:1], search_id, lookup_id
  FROM present WHERE number % {joined_each} = 0
 UNION ALL
SELECT pg_temp.id(now(), number, 'joined'), lookup_id, 'generic', 'old-' || number || '@acme.co', ARRAY['nyne'],
       keys, keys[1:1], search_id, lookup_id
  FROM past WHERE number % {left_each} = 1
 UNION ALL
SELECT pg_temp.id(now(), number, 'stray'), lookup_id, 'generic', 'old-' || number || '@acme.co', ARRAY['nyne'],
       keys, keys[1:1], pg_temp.id(at, number, 'erased'), lookup_id
  FROM past WHERE number % {left_each} = 2;

INSERT INTO usage (provider, source, day, slot, charged)
SELECT provider, 'generic', now()::date - age, slot, 3
  FROM unnest(ARRAY['leadmagic', 'nyne']) AS names (provider), generate_series(1, {days}) AS days (age),
       generate_series(0, 15) AS slots (slot);
"""


async def seed(url: str) -> None:
    """Fill the database at *url*, and analyze it as autovacuum does: partition by partition."""
    connection = await asyncpg.connect(url, server_settings={"synchronous_commit": "off"})
    try:
        await ensure_partitions(connection, since=NOW - timedelta(days=DAYS + 1))
        for provider in ("leadmagic", "nyne"):
            await register_provider(connection, provider, (), {60: 1_000_000_000})
        numbers = {"days": DAYS, "finished": FINISHED, "open": 3 * OF_EACH}
        await connection.execute(SEED.format(**numbers, joined_each=JOINED_EACH, left_each=LEFT_EACH))
        tables = await connection.fetch("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid > 16383")
        for row in tables:
            await connection.execute(f"VACUUM (ANALYZE) {row[0]}")
    finally:
        await connection.close()


async def some(db: Db, state: str, provider: str = "nyne") -> list[asyncpg.Record]:
    """Return jobs of that state, from all over the table."""
    rows: list[asyncpg.Record] = await db.fetch(
        "/* the test's own */ SELECT id, search_id, lookup_id, attempt, request_id FROM jobs"
        " WHERE state = $1::text::job_state AND provider = $2"
        " ORDER BY md5(id::text) LIMIT $3",
        state,
        provider,
        PART,
    )
    return rows
