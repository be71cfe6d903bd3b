"""Check numbers, and drop searches, that a person has suppressed. `store/suppressions.py` has the list itself.

A contact is checked at intake (`store/intake.py`), its question at the claim, and its answer at the ending
(`store/finish.py`, `store/late.py`). `searches.asked` holds every hash under which a question can be suppressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from enrichment.decide import SUPPRESSED, World
from enrichment.suppression import number_hash
from enrichment.wish import Hasher
from store.database import Db
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
    rows = await db.fetch("SELECT hash FROM suppressions WHERE hash = ANY($1::bytea[])", list(hashes))
    return frozenset(hashes[row["hash"]] for row in rows)


async def drop_questions(db: Db, searches: Sequence[UUID]) -> list[UUID]:
    """Drop these searches' queued jobs: their questions are about suppressed people. Return the ended searches.

    The lookups that the searches began for end as suppressed. Others that wait for them are decided anew, so that
    each asks about its own contact. Call inside a transaction; wait for a submitter that is claiming a job.
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
           SET status = CASE WHEN said = '{}' THEN 'dropped' ELSE search_verdict(said, is_doubtful) END,
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
        RETURNING searches.id, searches.begun_for
        """,
        searches,
    )
    await end_suppressed(db, [row["begun_for"] for row in rows])
    return [row["id"] for row in rows]


async def end_suppressed(db: Db, lookups: Sequence[UUID]) -> list[UUID]:
    """End those of these *lookups* that are open as suppressed; return the searches that they waited for.

    Call inside a transaction, after the locks on their jobs and searches.
    """
    rows = await db.fetch(
        """
        WITH locked AS MATERIALIZED (
            SELECT id FROM lookups WHERE id = ANY($1::uuid[]) AND final_status IS NULL ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE lookups
           SET final_status = 'suppressed', finished_at = now(), reason = $2, insists = false
          FROM locked
         WHERE lookups.id = locked.id
           AND lookups.final_status IS NULL
        RETURNING lookups.search_id
        """,
        lookups,
        SUPPRESSED,
    )
    return sorted({row["search_id"] for row in rows})
