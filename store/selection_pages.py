"""The pages of a preview: each looks at a bounded number of rows, and adds those that the filter finds.

A page is of lookups in the order of their ids: of some statuses, or of one record; or of deliveries. `Page` says where
the next one begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from enrichment.selection import FINAL, Wanted
from enrichment.wish import Policy
from store.database import Db
from store.partitions import first_id

LOOKED_AT = 5000  # rows of one page
OLDEST, NEWEST = UUID(int=0), UUID(int=2**128 - 1)
SLACK = timedelta(days=1)  # an answer that is reused now, and perhaps no longer when the selection is applied


@dataclass(frozen=True, slots=True)
class Page:
    """How many rows a page looked at and found, what those may cost, and its last row; None after the last page."""

    seen: int
    found: int
    most_credits: Decimal
    seen_to: UUID | None


async def add_page(
    db: Db, id: UUID, wanted: Wanted, seen_to: UUID | None, policy: Policy, prices: Mapping[str, Decimal]
) -> Page:
    """Add to selection *id* what the filter finds on the page after *seen_to*. Call inside a transaction."""
    given = wanted.filter
    after = max(seen_to or OLDEST, first_id(given.since) if given.since else OLDEST, _beside(given.id, -1) or OLDEST)
    before = min(first_id(given.until) if given.until else NEWEST, _beside(given.id, 1) or NEWEST)
    if wanted.action == "replay":
        row = await db.fetchrow(
            _DELIVERIES, id, after, before, LOOKED_AT, given.source, given.record_id, given.provider, given.reason,
            given.status, given.channel, list(wanted.states),
        )  # fmt: skip
    else:
        statement = _LOOKUPS.format(page=_BY_STATUS if given.record_id is None else _OF_RECORD)
        row = await db.fetchrow(
            statement, id, after, before, LOOKED_AT, given.source, given.record_id, given.provider, given.reason,
            list(wanted.statuses), [one for one in wanted.statuses if one in FINAL],
            any(one not in FINAL for one in wanted.statuses), wanted.action, list(policy.providers),
            policy.not_found - SLACK, list(prices), list(prices.values()),
        )  # fmt: skip
    assert row is not None  # noqa: S101  it counts
    return Page(row["seen"], row["found"], row["most_credits"], row["last"] if row["seen"] == LOOKED_AT else None)


def _beside(id: UUID | None, step: int) -> UUID | None:
    """Return the id before or after *id*: one item is the range between them."""
    return UUID(int=min(max(id.int + step, OLDEST.int), NEWEST.int)) if id else None


# ANY keeps the status as a sort key. Sorted by id alone, the planner would read all newer lookups of other statuses.
# Open lookups: those that searches began for are found by their jobs, the others have an index of their own.
_BY_STATUS = """
            SELECT id
              FROM (SELECT candidate.id
                      FROM unnest($10::final_status[]) AS wanted (status)
                     CROSS JOIN LATERAL (
                           SELECT id
                             FROM lookups
                            WHERE final_status = ANY (ARRAY[wanted.status])
                              AND id > $2
                              AND id < $3
                            ORDER BY final_status, id
                            LIMIT $4) AS candidate
                    UNION
                   (SELECT lookup_id
                      FROM jobs
                     WHERE $11::boolean
                       AND lookup_id > $2
                       AND lookup_id < $3
                     ORDER BY lookup_id
                     LIMIT $4)
                    UNION
                   (SELECT id
                      FROM lookups
                     WHERE $11::boolean
                       AND (reused_from IS NOT NULL OR insists) AND final_status IS NULL
                       AND id > $2
                       AND id < $3
                     ORDER BY id
                     LIMIT $4)) AS candidate
             ORDER BY id
             LIMIT $4
"""
_OF_RECORD = """
            SELECT id
              FROM lookups
             WHERE record_id = $6
               AND id > $2
               AND id < $3
               AND (final_status = ANY ($10::final_status[]) OR final_status IS NULL AND $11::boolean)
             ORDER BY record_id, id
             LIMIT $4
"""
# Of a retry, every provider may be asked that has not just said "no number"; of a release, those that its search has
# yet to ask. Lookups that share a search are counted once a page: the sum is the most that it can be.
_LOOKUPS = """
        WITH page AS MATERIALIZED ({page}), found AS MATERIALIZED (
            SELECT lookup.id,
                   CASE $12
                       WHEN 'retry' THEN ARRAY(
                            SELECT name
                              FROM unnest(lookup.providers) AS provider (name)
                             WHERE (name = ANY ($13::text[]) OR NOT lookup.providers && $13::text[])
                               AND NOT COALESCE(search.said ->> name = 'answered'
                                                AND search.ended_at > now() - $14::interval
                                                AND lookup.identifiers <@ search.asked, false))
                       WHEN 'release' THEN
                            CASE row_number() OVER (PARTITION BY lookup.search_id ORDER BY lookup.id)
                                WHEN 1 THEN job.provider || job.todo END
                   END AS asked
              FROM page
             CROSS JOIN LATERAL (
                   SELECT id, source, record_id, search_id, final_status, provider, providers, identifiers, reason
                     FROM lookups
                    WHERE lookups.id = page.id   -- one after the other, each in its month
                      AND ($5::text IS NULL OR source = $5)
                      AND ($6::text IS NULL OR record_id = $6)
                   OFFSET 0) AS lookup
              LEFT JOIN LATERAL (
                   SELECT state, held, error, provider, todo, place, attempt
                     FROM jobs
                    WHERE jobs.search_id = lookup.search_id
                      AND lookup.final_status IS NULL
                   OFFSET 0) AS job ON true
              LEFT JOIN LATERAL (
                   SELECT said, asked, ended_at
                     FROM searches
                    WHERE searches.id = lookup.search_id
                   OFFSET 0) AS search ON true
             WHERE ($8::text IS NULL
                    OR strpos(lower(concat_ws(' ', lookup.reason, job.held, job.error)), lower($8)) > 0)
               AND ($7::text IS NULL OR $7 IN (lookup.provider, job.provider) OR search.said ? $7)
               AND CASE WHEN lookup.final_status IS NOT NULL          THEN lookup.final_status::text
                        WHEN job.state IS NULL                      THEN 'queued'
                        WHEN job.held IS NOT NULL                   THEN 'held'
                        WHEN job.place = 0 AND job.attempt = 0      THEN 'queued'
                        ELSE 'running' END = ANY ($9::text[])       -- as the view lookup_status has it
        ), added AS (
            INSERT INTO selected (selection_id, item_id)
            SELECT $1, id FROM found
        )
        SELECT (SELECT count(*) FROM page) AS seen,
               (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last,
               (SELECT count(*) FROM found) AS found,
               (SELECT COALESCE(sum(price.credits), 0)
                  FROM found
                 CROSS JOIN LATERAL unnest(found.asked) AS turn (name)
                  JOIN unnest($15::text[], $16::numeric[]) AS price (name, credits) USING (name)) AS most_credits
"""
_DELIVERIES = """
        WITH page AS MATERIALIZED (
            SELECT id, lookup_id, channel, state, reason, error
              FROM deliveries
             WHERE id > $2
               AND id < $3
             ORDER BY id
             LIMIT $4
        ), found AS MATERIALIZED (
            SELECT page.id
              FROM page
              LEFT JOIN LATERAL (
                   SELECT source, record_id, search_id, final_status, provider
                     FROM lookups
                    WHERE lookups.id = page.lookup_id
                   OFFSET 0) AS lookup ON true
             WHERE page.state = ANY ($11::delivery_state[])
               AND ($10::text IS NULL OR page.channel = $10)
               AND ($8::text IS NULL OR strpos(lower(concat_ws(' ', page.reason, page.error)), lower($8)) > 0)
               AND ($5::text IS NULL OR lookup.source = $5)
               AND ($6::text IS NULL OR lookup.record_id = $6)
               AND ($9::text IS NULL OR lookup.final_status::text = $9)
               AND ($7::text IS NULL OR lookup.provider = $7
                    OR EXISTS (SELECT FROM searches WHERE searches.id = lookup.search_id AND searches.said ? $7))
        ), added AS (
            INSERT INTO selected (selection_id, item_id)
            SELECT $1, id FROM found
        )
        SELECT (SELECT count(*) FROM page) AS seen,
               (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last,
               (SELECT count(*) FROM found) AS found,
               0::numeric AS most_credits
"""
