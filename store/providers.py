"""How each provider is, for all processes: registered, paused and well again, resting, its breaker open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from uuid_utils.compat import uuid7

from enrichment.providers.base import Limit, LimitNews
from store.database import Db

# The breaker: so many failures in a row open it, for a second at first, doubling up to a minute.
FAILURES_TO_TRIP = 10


async def register_provider(db: Db, name: str, limits: Iterable[Limit], ceilings: Mapping[int, int]) -> None:
    """The provider and its limits are there; *ceilings* are a person's settings, by window in seconds.

    Polls have a limit of their own beside the common one: half of it, in force while questions wait.
    """
    allowances = {limit.window: limit.allowance for limit in limits} | dict(ceilings)
    await db.execute("INSERT INTO providers (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
    for window, allowance in sorted(allowances.items()):
        for purpose, share in (("any", allowance), ("poll", max(1, allowance // 2))):
            await db.execute(
                """
                INSERT INTO limits (provider, purpose, "window", allowance, ceiling)
                VALUES ($1, $2, $3, $4, $5)
                    ON CONFLICT (provider, purpose, "window") DO UPDATE
                   SET allowance = excluded.allowance, ceiling = excluded.ceiling
                """,
                name,
                purpose,
                window,
                share,
                share if window in ceilings else None,
            )
    await db.execute('DELETE FROM limits WHERE provider = $1 AND "window" <> ALL($2::int[])', name, list(allowances))


async def correct_limits(db: Db, name: str, news: LimitNews) -> None:
    """The allowance is what the provider's headers say, below a person's ceiling; and it rests when told to."""
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
    """The provider is paused, and its free endpoint is asked *check_after* that.  False when it was already.

    *said*: how long ago.  Since then it may have been asked how it is, and have been well.
    One that is paused again soon after it was well is asked later: its free endpoint sees less than its paid one.
    """
    row = await db.fetchrow(
        """
        UPDATE providers
           SET paused_reason = $2, paused_at = now(),
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
    """Whether the paused provider's free endpoint is to be asked now, by us; the next time is scheduled."""
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


async def resume(db: Db, name: str) -> bool:
    """The provider is well again, and the lookups that it held go on.  False when it was not paused."""
    row = await db.fetchrow(
        """
        UPDATE providers
           SET paused_reason = NULL, paused_at = NULL, check_at = NULL, rest_until = NULL,
               resumed_at = now()
         WHERE name = $1
           AND paused_at IS NOT NULL
        RETURNING name
        """,
        name,
    )
    return row is not None


async def note_failures(db: Db, name: str, failures: int, *, probed: bool) -> bool:
    """So many more failures in a row; at FAILURES_TO_TRIP the breaker opens.  True when it opened now.

    Open, it opens for longer only when the question that was let through failed (*probed*): the others were asked
    before it opened.
    """
    opens: bool | None = await db.fetchval(
        """
        WITH before AS (
            SELECT name, failures + $2 >= $3 AND (trips = 0 OR $4) AS opens
              FROM providers
             WHERE name = $1
               FOR UPDATE
        )
        UPDATE providers
           SET failures = failures + $2,
               trips = trips + opens::int,
               open_until = CASE WHEN opens THEN now() + LEAST(interval '1 second' * power(2, LEAST(trips, 10)),
                                                               interval '1 minute')
                                 ELSE open_until END
          FROM before
         WHERE providers.name = before.name
        RETURNING opens
        """,
        name,
        failures,
        FAILURES_TO_TRIP,
        probed,
    )
    return bool(opens)


async def note_success(db: Db, name: str) -> None:
    """The breaker is closed, and the failures are forgotten."""
    await db.execute(
        """
        UPDATE providers
           SET failures = 0, trips = 0, open_until = NULL
         WHERE name = $1
           AND (failures > 0 OR trips > 0)
        """,
        name,
    )


async def pass_turns(db: Db, name: str, limit: int = 500) -> int:
    """queued at a paused provider -> queued at the next one that is not paused, which it follows; else held.

    Return how many were moved or held.
    """
    rows = await db.fetch(
        """
        WITH paused AS MATERIALIZED (
            SELECT name FROM providers WHERE name = $1 AND paused_at IS NOT NULL
        ), fresh AS MATERIALIZED (
            SELECT jobs.id
              FROM jobs
             WHERE provider = $1 AND state = 'queued' AND held IS NULL AND tries = 0 AND EXISTS (SELECT FROM paused)
             ORDER BY due_at, id   -- as its index has them: those whose turn was passed are not read again
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
           -- Whoever was asked under an id may still answer under it: the next one gets another.
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
                ORDER BY wanted.place
                LIMIT 1) AS turn ON true
         WHERE jobs.id = moved.id
           AND jobs.provider = $3   -- not when somebody else has passed its turn meanwhile
           AND jobs.state = 'queued'
           AND jobs.held IS NULL
        """,
        [row["id"] for row in rows],
        [uuid7() for _ in rows],
        name,
    )
    return len(rows)


async def release_held(db: Db, name: str, held: str, limit: int) -> int:
    """held -> queued: up to *limit* jobs that this provider can answer, the oldest first.

    Nothing held as `paused` is released while the provider still is.  A job held at another provider is queued
    there, and passed on by `pass_turns`.
    """
    rows = await db.fetch(
        """
        UPDATE jobs
           SET held = NULL
         WHERE id IN (SELECT jobs.id
                        FROM jobs
                        JOIN providers ON providers.name = $1
                       WHERE jobs.held = $2
                         AND (jobs.provider = $1 OR jobs.held = 'paused' AND $1 = ANY(jobs.todo))
                         AND (jobs.held <> 'paused' OR providers.paused_at IS NULL)
                       ORDER BY jobs.due_at, jobs.id
                       LIMIT $3
                         FOR UPDATE OF jobs SKIP LOCKED)
        RETURNING id
        """,
        name,
        held,
        limit,
    )
    return len(rows)
