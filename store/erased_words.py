"""Erase people from words: those of vendors about a question, and those that people typed."""

from __future__ import annotations

from collections.abc import Sequence

from enrichment.forgetting import Person
from store.database import Db
from store.erased_searches import Plan

WORDS_ERASED = "(erased)"


async def forget_texts(db: Db, plans: Sequence[Plan], person: Person) -> None:
    """Clear the reasons and errors of shared searches, and of others' lookups, in which the person occurs."""
    kept = [plan.id for plan in plans if plan.is_kept]
    others = sorted({id for plan in plans for id in plan.others})
    patterns = _patterns(person)
    await db.execute(
        "UPDATE searches SET reason = NULL WHERE id = ANY($1::uuid[]) AND lower(reason) LIKE ANY ($2::text[])",
        kept,
        patterns,
    )
    await db.execute(
        """
        UPDATE finished_jobs
           SET error = NULL
         WHERE lookup_id = ANY($1::uuid[])
           AND search_id = ANY($2::uuid[])
           AND lower(error) LIKE ANY ($3::text[])
        """,
        others,
        kept,
        patterns,
    )
    await db.execute(
        """
        UPDATE lookups
           SET reason = CASE WHEN lower(reason) LIKE ANY ($2::text[]) THEN NULL ELSE reason END,
               refused = ARRAY(SELECT number FROM unnest(refused) AS number WHERE number <> ALL ($3::text[]))
         WHERE id = ANY($1::uuid[])
           AND (lower(reason) LIKE ANY ($2::text[]) OR refused && $3::text[])
        """,
        others,
        patterns,
        sorted(person.numbers),
    )


async def forget_words(db: Db, person: Person) -> None:
    """Replace what people typed about *person*: notes, reasons of pauses, and reasons that a selection looks for."""
    patterns = _patterns(person)
    if not patterns:
        return
    # A filter without its reason would find more: it keeps one that nothing has.
    await db.execute(
        """
        WITH note AS (
            UPDATE suppressions SET note = NULL WHERE lower(note) LIKE ANY ($1::text[])
        ), paused AS (
            UPDATE pauses SET reason = $2 WHERE lower(reason) LIKE ANY ($1::text[])
        ), filtered AS (
            UPDATE selections
               SET filter = jsonb_set(filter, '{reason}', to_jsonb($2::text))
             WHERE lower(filter ->> 'reason') LIKE ANY ($1::text[])
        )
        UPDATE audit
           SET detail = jsonb_set(detail, '{reason}', to_jsonb($2::text))
         WHERE lower(detail ->> 'reason') LIKE ANY ($1::text[])
        """,
        patterns,
        WORDS_ERASED,
    )


def _patterns(person: Person) -> list[str]:
    return [f"%{needle.translate(_LITERAL)}%" for needle in person.needles()]


_LITERAL = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})
