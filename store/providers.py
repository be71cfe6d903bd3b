"""The state of each provider, shared by all processes: registered, limited, paused, resumed, resting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from enrichment.providers.base import Limit, LimitNews
from store.database import Db

# A paused provider whose free endpoint reveals nothing is asked a question again after so many checks: 10 minutes.
MOST_UNTOLD = 20


async def register_provider(db: Db, name: str, limits: Iterable[Limit], ceilings: Mapping[int, int]) -> None:
    """Store the provider and its limits; *ceilings* come from the settings, by window in seconds.

    Polls have a second limit, half of the common one, in force while questions wait. An allowance that headers
    corrected stays until the configured one changes: a process that starts knows no better.
    """
    allowances = {limit.window: limit.allowance for limit in limits} | dict(ceilings)
    await db.execute("INSERT INTO providers (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
    for window, allowance in sorted(allowances.items()):
        for purpose, share in (("any", allowance), ("poll", max(1, allowance // 2))):
            await db.execute(
                """
                INSERT INTO limits (provider, purpose, "window", allowance, configured, ceiling)
                VALUES ($1, $2, $3, $4, $4, $5)
                    ON CONFLICT (provider, purpose, "window") DO UPDATE
                   SET allowance = CASE WHEN limits.configured = excluded.configured
                                        THEN LEAST(limits.allowance, excluded.ceiling)
                                        ELSE excluded.allowance END,
                       configured = excluded.configured,
                       ceiling = excluded.ceiling
                """,
                name,
                purpose,
                window,
                share,
                share if window in ceilings else None,
            )
    await db.execute('DELETE FROM limits WHERE provider = $1 AND "window" <> ALL($2::int[])', name, list(allowances))


async def correct_limits(db: Db, name: str, news: LimitNews) -> None:
    """Set the allowance that the headers name, below the configured ceiling, and the rest that they ask for."""
    if news.allowance is not None:
        await db.execute(
            """
            UPDATE limits
               SET allowance = GREATEST(1, LEAST(ceiling, CASE purpose WHEN 'any' THEN $3::int ELSE $3::int / 2 END))
             WHERE provider = $1
               AND "window" = $2
               AND allowance <> GREATEST(1, LEAST(ceiling, CASE purpose WHEN 'any' THEN $3::int ELSE $3::int / 2 END))
            """,
            name,
            news.window,
            news.allowance,
        )
    if news.rest:
        await db.execute(
            """
            UPDATE providers
               SET rest_until = GREATEST(rest_until, now() + $2::interval)
             WHERE name = $1
            """,
            name,
            timedelta(seconds=news.rest),
        )


async def pause(db: Db, name: str, reason: str, check_after: timedelta, *, said: timedelta = timedelta(0)) -> bool:
    """Pause the provider, and schedule a check of its free endpoint after *check_after*. Return True if it was active.

    *said*: how long ago the provider gave the reason. Return False if it was resumed since then.
    A provider that is paused again soon after it was resumed is checked later: its free endpoint sees less than its
    paid one.
    """
    row = await db.fetchrow(
        """
        UPDATE providers
           SET paused_reason = $2, paused_at = now(), untold = 0,
               check_at = now() + $3::interval
                                * CASE WHEN resumed_at > now() - 2 * interval '1 minute' THEN 20 ELSE 1 END
         WHERE name = $1
           AND paused_at IS NULL
           AND (resumed_at IS NULL OR resumed_at <= now() - $4::interval)
        RETURNING name
        """,
        name,
        reason,
        check_after,
        said,
    )
    return row is not None


async def claim_check(db: Db, name: str, next_after: timedelta) -> bool:
    """Claim the due check of a paused provider, and schedule the next. Return False when none is due."""
    row = await db.fetchrow(
        """
        UPDATE providers
           SET check_at = now() + $2
         WHERE name = $1
           AND paused_at IS NOT NULL
           AND check_at <= now()
        RETURNING name
        """,
        name,
        next_after,
    )
    return row is not None


async def note_untold(db: Db, name: str) -> bool:
    """Count a check that revealed nothing about the paused provider. Return True after the last: then resume it.

    The next question reveals more: if the account still cannot ask, it pauses the provider again, for longer.
    """
    untold = await db.fetchval(
        "UPDATE providers SET untold = untold + 1 WHERE name = $1 AND paused_at IS NOT NULL RETURNING untold", name
    )
    return untold is not None and untold >= MOST_UNTOLD


async def resume(db: Db, name: str) -> bool:
    """Resume the provider, so that the lookups that it held go on. Return False when it was not paused."""
    row = await db.fetchrow(
        """
        UPDATE providers
           SET paused_reason = NULL, paused_at = NULL, check_at = NULL, rest_until = NULL, untold = 0,
               resumed_at = now()
         WHERE name = $1
           AND paused_at IS NOT NULL
        RETURNING name
        """,
        name,
    )
    return row is not None


async def find_providers(db: Db) -> dict[str, str | None]:
    """Return for each registered provider the reason of its pause, or None."""
    rows = await db.fetch("SELECT name, paused_reason FROM providers ORDER BY name")
    return {row["name"]: row["paused_reason"] for row in rows}


async def pass_turns(db: Db, name: str, limit: int = 500) -> int:
    """Move the queued jobs of a paused provider to their next provider that is not paused; else hold them.

    The paused provider then comes last. No job is moved to a provider that a person paused. Return how many jobs were
    moved or held.
    """
    rows = await db.fetch(
        """
        WITH paused AS MATERIALIZED (
            SELECT name FROM providers WHERE name = $1 AND paused_at IS NOT NULL
        ), fresh AS MATERIALIZED (
            SELECT jobs.id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0 AND EXISTS (SELECT FROM paused)
             ORDER BY due_at, id   -- in index order: jobs that were moved are not read again
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        ), again AS MATERIALIZED (
            SELECT jobs.id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries > 0 AND EXISTS (SELECT FROM paused)
             ORDER BY due_at, id
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        )
        SELECT id FROM fresh
         UNION ALL
        SELECT id FROM again
         LIMIT $2
        """,
        name,
        limit,
    )
    if not rows:
        return 0
    await db.execute(
        """
        UPDATE jobs
           -- A provider that was asked under an id may still answer under it: the next provider gets a new id.
           SET id = CASE WHEN turn.provider IS NULL OR jobs.attempt = 0 THEN jobs.id ELSE moved.new_id END,
               provider = COALESCE(turn.provider, jobs.provider),
               todo = CASE WHEN turn.provider IS NULL THEN jobs.todo
                           ELSE array_append(array_remove(jobs.todo, turn.provider), jobs.provider) END,
               held = CASE WHEN turn.provider IS NULL THEN 'paused' END,
               tries = CASE WHEN turn.provider IS NULL THEN jobs.tries ELSE 0 END,
               due_at = now()
          FROM unnest($1::uuid[], $2::uuid[]) AS moved (id, new_id)
          JOIN jobs AS old ON old.id = moved.id
          LEFT JOIN LATERAL (
               SELECT wanted.provider
                 FROM unnest(old.todo) WITH ORDINALITY AS wanted (provider, place)
                 LEFT JOIN providers ON providers.name = wanted.provider
                WHERE providers.paused_at IS NULL
                  AND NOT EXISTS (SELECT
                                    FROM pauses
                                   WHERE pauses.source IS NULL
                                     AND (pauses.provider IS NULL OR pauses.provider = wanted.provider))
                ORDER BY wanted.place
                LIMIT 1) AS turn ON true
         WHERE jobs.id = moved.id
           AND jobs.provider = $3   -- not when another process has moved it meanwhile
           AND jobs.state = 'queued'
           AND jobs.held IS NULL
        """,
        [row["id"] for row in rows],
        # As old as the id before: at every turn it would be young again, and never be given up.
        [UUID(bytes=row["id"].bytes[:6] + uuid7().bytes[6:]) for row in rows],
        name,
    )
    return len(rows)


async def release_paused(db: Db, name: str, limit: int) -> int:
    """Queue up to *limit* jobs held for a paused provider that this one can answer, oldest first; return how many.

    None is released while this provider is paused by its account or by a person. A job held at another provider is
    queued there, and `pass_turns` moves it.
    """
    rows = await db.fetch(
        """
        UPDATE jobs
           SET held = NULL
         WHERE id IN (SELECT jobs.id
                        FROM jobs
                        JOIN providers ON providers.name = $1
                       WHERE jobs.held = 'paused'
                         AND (jobs.provider = $1 OR $1 = ANY(jobs.todo))
                         AND providers.paused_at IS NULL
                         AND NOT EXISTS (SELECT
                                           FROM pauses
                                          WHERE source IS NULL AND (pauses.provider IS NULL OR pauses.provider = $1))
                       ORDER BY jobs.due_at, jobs.id
                       LIMIT $2
                         FOR UPDATE OF jobs SKIP LOCKED)
        RETURNING id
        """,
        name,
        limit,
    )
    return len(rows)
