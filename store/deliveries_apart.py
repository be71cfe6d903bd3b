"""Claim deliveries to a CRM: one to a record at a time, whatever process sends it.

Of two that are sent to one record at once, each would find what the other wrote, and take it for a person's.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from store.crm_permits import CAN_BE_CALLED
from store.database import Db
from store.deliveries import DeliveryClaim, as_claim


async def claim_apart(db: Db, crm: str, *, most: int, lease: timedelta, claim_id: UUID) -> DeliveryClaim:
    """Claim deliveries as `claim` does, but none to a record that another is being sent to."""
    return as_claim(await db.fetch(_CLAIM.format(can_be_called=CAN_BE_CALLED), crm, most, lease, claim_id), most)


_CLAIM = """
        WITH in_hand AS MATERIALIZED (
            SELECT record_id FROM records_in_hand($1) AS record_id WHERE record_id IS NOT NULL
        ), due AS MATERIALIZED (
            SELECT deliveries.id, due_at,
                   COALESCE(deliveries.record_id, lookups.record_id, deliveries.id::text) AS goes_to
              FROM deliveries
              LEFT JOIN lookups ON lookups.id = deliveries.lookup_id
             WHERE channel = $1 AND state = 'queued' AND due_at <= now()
               AND {can_be_called}
               AND COALESCE(deliveries.record_id, lookups.record_id, deliveries.id::text)
                   NOT IN (SELECT record_id FROM in_hand)
             ORDER BY due_at, deliveries.id
             LIMIT $2
               FOR UPDATE OF deliveries SKIP LOCKED
        ), apart AS MATERIALIZED (
            SELECT DISTINCT ON (goes_to) id FROM due ORDER BY goes_to, due_at, id
        ), claimed AS (
            UPDATE deliveries
               SET state = 'sending',
                   attempt = attempt + 1,
                   lease_expires_at = clock_timestamp() + $3,
                   claimed_by = $4
              FROM apart
             WHERE deliveries.id = apart.id
            RETURNING deliveries.id, lookup_id, attempt, tries, record_id
        )
        SELECT claimed.*, (SELECT count(*) FROM due) AS due, first.due_in
          FROM (SELECT EXTRACT(epoch FROM min(due_at) - now())::float8 AS due_in   -- before this claim
                  FROM deliveries
                 WHERE channel = $1 AND state = 'queued') AS first
          LEFT JOIN claimed ON true
"""
