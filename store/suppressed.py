"""Check numbers, and drop searches, that a person has suppressed. `store/suppressions.py` has the list itself.

A contact is checked at intake (`store/intake.py`), its question at the claim, and its answer at the ending
(`store/finish.py`, `store/late.py`). `searches.asked` holds every hash under which a question can be suppressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from enrichment.decide import SUPPRESSED, World
from enrichment.suppression import number_hash
from enrichment.wish import Hasher, Policy
from store.columns import Columns
from store.database import Db
from store.deliveries import NEW_DELIVERIES
from store.searches import read_number


async def suppressed_numbers(db: Db, world: World, regions: Iterable[str | None], hash: Hasher) -> frozenset[str]:
    """Return the numbers of *world* that are suppressed, also those that one of *regions* makes readable."""
    kept = [number for search in world.searches.values() for number in search.numbers.values()]
    mobiles = {number.mobile for number in kept if number.mobile}
    for region in filter(None, set(regions)):
        read = (read_number(number.raw, region) for number in kept if number.needs_region and number.raw)
        mobiles.update(number.mobile for number in read if number and number.mobile)
    if not mobiles:
        return frozenset()
    hashes = {number_hash(mobile, hash): mobile for mobile in mobiles}
    return frozenset(hashes[one] for one in await suppressed_hashes(db, hashes))


async def suppressed_hashes(db: Db, hashes: Iterable[bytes]) -> frozenset[bytes]:
    """Return those of *hashes* that are suppressed."""
    rows = await db.fetch("SELECT hash FROM suppressions WHERE hash = ANY($1::bytea[])", list(hashes))
    return frozenset(row["hash"] for row in rows)


async def drop_questions(db: Db, searches: Sequence[UUID]) -> list[UUID]:
    """Drop these searches' queued jobs, whose questions are about suppressed people. Return the ended searches.

    Their lookups follow: those that the searches began for end as suppressed, and others that wait are decided anew,
    so that each asks about its own contact. Call inside a transaction; wait for a submitter that is claiming a job.
    """
    await db.execute(
        "SELECT FROM jobs WHERE search_id = ANY($1::uuid[]) AND state = 'queued' ORDER BY id FOR UPDATE", searches
    )
    rows = await db.fetch(
        """
        WITH dropped AS (
            DELETE FROM jobs
             WHERE search_id = ANY($1::uuid[])
               AND state = 'queued'
            RETURNING search_id
        ), locked AS MATERIALIZED (
            SELECT searches.id
              FROM searches
              JOIN dropped ON dropped.search_id = searches.id
             WHERE searches.ended_at IS NULL
             ORDER BY searches.id
               FOR NO KEY UPDATE OF searches
        )
        UPDATE searches
           SET status = 'suppressed',
               reason = $2,
               -- The status counts only the providers that were asked.
               providers = CASE WHEN said = '{}' THEN providers
                                ELSE ARRAY(SELECT wanted.provider
                                             FROM unnest(providers) WITH ORDINALITY AS wanted (provider, place)
                                            WHERE said ? wanted.provider
                                            ORDER BY wanted.place) END,
               ended_at = now(),
               unswept = true
          FROM locked
         WHERE searches.id = locked.id
        RETURNING searches.id
        """,
        searches,
        SUPPRESSED,
    )
    return [row["id"] for row in rows]


async def end_suppressed(db: Db, lookups: Sequence[UUID], policy: Policy) -> list[UUID]:
    """End those of these *lookups* that are open as suppressed; return the searches that they waited for.

    Call inside a transaction, after the locks on their jobs and searches.
    """
    rows = await db.fetch(
        f"WITH {OF_ENDED.cte('channel')}, {_END}, {NEW_DELIVERIES} {_ENDED}",
        lookups,
        SUPPRESSED,
        list(policy.channels),
    )
    return sorted({row["search_id"] for row in rows})


_ENDED = "SELECT search_id FROM changed_lookup"
OF_ENDED = Columns(3, name="text")
_END = """
    locked AS MATERIALIZED (
        SELECT id FROM lookups WHERE id = ANY($1::uuid[]) AND final_status IS NULL ORDER BY id FOR NO KEY UPDATE
    ), changed_lookup AS (
        UPDATE lookups
           SET final_status = 'suppressed', finished_at = now(), reason = $2, insists = false
          FROM locked
         WHERE lookups.id = locked.id
           AND lookups.final_status IS NULL
        RETURNING lookups.id, lookups.source, lookups.record_id, lookups.final_status, lookups.search_id
    )
"""
