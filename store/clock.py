"""Mend what waits for a time that the database's clock, which went back, will not reach for long.

store/gate.py mends permits and rests when they are read. Here are leases, questions and polls: one that is further
ahead than any honest wait is due now. Nothing is asked twice for it, because states and attempts stay the same. What
failed at a CRM or at the webhook may honestly wait for a day, so it waits for the clock as well.
"""

from __future__ import annotations

from datetime import timedelta

from store.database import Db

# None of them is longer: a Retry-After is cut to an hour, a lease lasts an hour at most, a backoff ten minutes.
FURTHEST = timedelta(minutes=70)

_QUESTIONS = """
    UPDATE jobs
       SET due_at = now()
     WHERE state = 'queued'
       AND id IN (SELECT id FROM jobs
                   WHERE provider = ANY (ARRAY(SELECT name FROM providers))
                     AND state = 'queued' AND held IS NULL AND tries = 0 AND due_at > now() + $1
                   LIMIT $2
                     FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
_REPEATED_QUESTIONS = _QUESTIONS.replace("tries = 0", "tries > 0")
_POLLS = """
    UPDATE jobs
       SET due_at = now()
     WHERE state = 'awaiting'
       AND id IN (SELECT id FROM jobs
                   WHERE provider = ANY (ARRAY(SELECT name FROM providers))
                     AND state = 'awaiting' AND request_id IS NOT NULL AND due_at > now() + $1
                   LIMIT $2
                     FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
# The holder of a lease counts it on a clock of its own, from before it was written: it is over within $3.
_LEASES_OF_JOBS = """
    UPDATE jobs SET lease_expires_at = clock_timestamp() + $3
     WHERE id IN (SELECT id FROM jobs
                   WHERE state = 'submitting' AND lease_expires_at > now() + $1
                   LIMIT $2
                     FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
_LEASES_OF_READINGS = _LEASES_OF_JOBS.replace("jobs", "readings").replace("submitting", "reading")
_LEASES_OF_DELIVERIES = _LEASES_OF_JOBS.replace("jobs", "deliveries").replace("submitting", "sending")


async def bring_back(db: Db, *, lease: timedelta, grace: timedelta, limit: int) -> dict[str, int]:
    """Make due what is further ahead than FURTHEST, up to *limit* rows of a kind; return how many, by kind.

    *lease*: the longest of a job, a reading or a delivery. *grace*: the longest before a first poll.
    """
    questions = await db.fetch(_QUESTIONS, FURTHEST, limit)
    questions += await db.fetch(_REPEATED_QUESTIONS, FURTHEST, limit)
    found = {
        "questions": questions,
        "polls": await db.fetch(_POLLS, FURTHEST + grace, limit),
        "leases": [
            row
            for statement in (_LEASES_OF_JOBS, _LEASES_OF_READINGS, _LEASES_OF_DELIVERIES)
            for row in await db.fetch(statement, FURTHEST, limit, lease)
        ],
    }
    return {kind: len(rows) for kind, rows in found.items() if rows}
