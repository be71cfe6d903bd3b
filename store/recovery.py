"""A CRM that answers again: what waits because its calls failed need not wait any longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from store.database import Db
from store.partitions import first_id

AT_ONCE = 1000  # rows of one statement
# What waits for longer uses up its tries: contacts that fail by themselves open the breaker again and again.
FORGIVEN_FOR = timedelta(days=1)


async def hasten(db: Db, crm: str) -> int:
    """Make the CRM's readings and deliveries due that wait after a failure (queued, due later -> now). Return how many.

    The failure was the CRM's, so it is no longer one of the tries: a CRM that comes and goes would use them up. What
    has waited for FORGIVEN_FOR counts it. A chunk is a commit, and the limits of the CRM pace what follows.
    """
    since = datetime.now(UTC) - FORGIVEN_FOR
    hastened = 0
    for statement, forgiven_from in ((_READINGS, since), (_DELIVERIES, first_id(since))):
        while True:
            rows = await db.fetch(statement, crm, AT_ONCE, forgiven_from)
            hastened += len(rows)
            if len(rows) < AT_ONCE:
                break
    return hastened


# Each kind by itself, as the index has them. A row whose contact is named or that ends meanwhile needs no help.
_READINGS = """
        WITH news AS MATERIALIZED (
            SELECT id
              FROM readings
             WHERE source = $1 AND (named_by = 'backfill') IS FALSE AND state = 'queued' AND due_at > now()
               AND error IS NOT NULL
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), backfill AS MATERIALIZED (
            SELECT id
              FROM readings
             WHERE source = $1 AND (named_by = 'backfill') IS TRUE AND state = 'queued' AND due_at > now()
               AND error IS NOT NULL
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), waiting AS (
            SELECT id FROM news UNION ALL SELECT id FROM backfill LIMIT $2
        )
        UPDATE readings
           SET due_at = now(), tries = GREATEST(tries - (named_at >= $3)::int, 0)
          FROM waiting
         WHERE readings.id = waiting.id
        RETURNING readings.id
"""

_DELIVERIES = """
        WITH waiting AS MATERIALIZED (
            SELECT id
              FROM deliveries
             WHERE channel = $1 AND state = 'queued' AND due_at > now() AND error IS NOT NULL
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        )
        UPDATE deliveries
           SET due_at = now(), tries = GREATEST(tries - (deliveries.id >= $3)::int, 0)
          FROM waiting
         WHERE deliveries.id = waiting.id
        RETURNING deliveries.id
"""
