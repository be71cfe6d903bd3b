"""Read the figures of the page "Over time", each from what bounds its cost among millions of lookups.

Credits are sums that `usage` keeps. Ended lookups are counted in an index. What needs the rows themselves (how answers
arrive, how long a number takes, what it costs) is read from all lookups of the span up to MOST of them, and above that
from a random sample of their pages. A lookup counts where it was created, with all its questions; a credit counts on
the day whose budget it used. Periods are numbered from 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg

from store.database import ACQUIRE_TIMEOUT, Connection
from store.partitions import Month, first_id

MOST = 50_000  # lookups whose rows are read; with their questions, about a second
MOST_PAGES_OF = 500_000  # lookups on the pages that a sample is taken from: a month is sampled for one week as well
# For each statement. A visitor waits less, and finds the result when he comes again.
PATIENCE = "SET LOCAL statement_timeout = '12s'; SET LOCAL work_mem = '32MB'"


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive days or months in UTC: when each begins, and when the last one ends."""

    begins: tuple[datetime, ...]
    end: datetime

    @classmethod
    def of_days(cls, count: int, now: datetime) -> Span:
        """Return the last *count* days, with today."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days = [today + timedelta(days=day) for day in range(1 - count, 2)]
        return cls(tuple(days[:-1]), days[-1])

    @classmethod
    def of_months(cls, count: int, now: datetime) -> Span:
        """Return the last *count* months, with this one."""
        first = Month.of(now).number - count + 12 * Month.of(now).year
        months = [Month((first + step) // 12, (first + step) % 12 + 1) for step in range(count + 1)]
        return cls(tuple(month.begin for month in months[:-1]), months[-1].begin)


@dataclass(frozen=True, slots=True)
class Lookups:
    """Ended lookups, by their final status."""

    found: int = 0
    not_found: int = 0
    failed: int = 0
    unresolved: int = 0
    suppressed: int = 0
    cancelled: int = 0

    @property
    def tried(self) -> int:
        """Count those that were neither suppressed nor cancelled."""
        return self.found + self.not_found + self.failed + self.unresolved

    @property
    def rate(self) -> float | None:
        return self.found / self.tried if self.tried else None


@dataclass(frozen=True, slots=True)
class Questions:
    """Ended questions to providers, how they were answered, and what their numbers cost."""

    asked: int = 0
    inline: int = 0
    callback: int = 0
    poll: int = 0
    numbers: int = 0  # those that their lookup has
    charged: Decimal = Decimal(0)
    possible: Decimal = Decimal(0)

    @property
    def rate(self) -> float | None:
        return self.numbers / self.asked if self.asked else None

    @property
    def cost(self) -> Decimal | None:
        """Return the credits charged per number, for the questions without a number as well."""
        return self.charged / self.numbers if self.numbers else None


@dataclass(frozen=True, slots=True)
class Waits:
    """From the creation of a lookup to its number, in seconds; and how many lookups asked no provider.

    *numbers*: the lookups that waited. Those that took an answer of another lookup's search are *reused* instead.
    """

    numbers: int = 0
    reused: int = 0
    half: float | None = None  # half of them waited no longer than this
    most: float | None = None  # nor 95 % of them than this


@dataclass(frozen=True, slots=True)
class Credits:
    """Credits by what became of them."""

    charged: Decimal = Decimal(0)
    possible: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class History:
    """The figures of one span. Keys of each group: `period`, `provider`, `source`, `place` or `all`, then its name."""

    span: Span
    lookups: Mapping[str, Mapping[str, Lookups]]  # by period, source, all
    questions: Mapping[str, Mapping[str, Questions]]  # by period, provider, source, place, all
    waits: Mapping[str, Mapping[str, Waits]]  # by period, provider, source, all
    credits: Mapping[str, Mapping[str, Credits]]  # by period, all
    reserved: Decimal  # now
    share: float  # of the lookups whose rows were read for questions and waits


async def read_history(
    pool: asyncpg.Pool[Any], span: Span, *, sources: Sequence[str], provider: str | None, source: str | None
) -> History:
    """Read the figures of *span*: of one provider and of one source, or of all. *sources*: the names that exist.

    Raise asyncpg.QueryCanceledError when a statement takes too long.
    """
    async with (
        pool.acquire(timeout=ACQUIRE_TIMEOUT) as db,
        db.transaction(isolation="repeatable_read", readonly=True),
    ):
        await db.execute(PATIENCE)
        credits, reserved = await _credits(db, span, provider, source)
        ended = await _ended(db, span, sources)
        share = await _share(db, span, sum(row["lookups"] for row in ended))
        wanted = [[first_id(begin) for begin in span.begins], first_id(span.end), provider, source]
        return History(
            span=span,
            lookups=_by_status(ended, source),
            questions=_grouped(Questions, await _sampled(db, _QUESTIONS, wanted, share)),
            waits=_grouped(Waits, await _sampled(db, _WAITS, wanted, share)),
            credits=credits,
            reserved=reserved,
            share=share,
        )


async def _credits(
    db: Connection, span: Span, provider: str | None, source: str | None
) -> tuple[Mapping[str, Mapping[str, Credits]], Decimal]:
    """Return the credits by period, and those that are reserved now, whatever the day."""
    rows = await db.fetch(
        """
        SELECT width_bucket(day, $1::date[]) - 1 AS period,
               sum(charged) AS charged, sum(possible) AS possible, sum(reserved) AS reserved
          FROM usage
         WHERE ($3::text IS NULL OR provider = $3)
           AND ($4::text IS NULL OR source = $4)
           AND day < $2
         GROUP BY 1
        """,
        [begin.date() for begin in span.begins],
        span.end.date(),
        provider,
        source,
    )
    within = [row for row in rows if row["period"] >= 0]
    total = Credits(
        sum((row["charged"] for row in within), Decimal(0)), sum((row["possible"] for row in within), Decimal(0))
    )
    periods = {str(row["period"]): Credits(row["charged"], row["possible"]) for row in within}
    return {"period": periods, "all": {"": total}}, sum((row["reserved"] for row in rows), Decimal(0))


async def _ended(db: Connection, span: Span, sources: Sequence[str]) -> list[asyncpg.Record]:
    """Count the lookups by period, source and final status: one range of an index for each, without their rows."""
    ids = [first_id(moment) for moment in (*span.begins, span.end)]
    rows: list[asyncpg.Record] = await db.fetch(
        """
        SELECT period.number - 1 AS period, source.name AS source, ended.status::text, counted.lookups
          FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS period (first, after, number)
         CROSS JOIN unnest($3::text[]) AS source (name)
         CROSS JOIN unnest(enum_range(NULL::final_status)) AS ended (status)
         CROSS JOIN LATERAL (
               SELECT count(*) AS lookups
                 FROM lookups
                WHERE lookups.source = source.name
                  AND lookups.final_status = ended.status
                  AND lookups.id >= period.first
                  AND lookups.id < period.after) AS counted
         WHERE counted.lookups > 0
        """,
        ids[:-1],
        ids[1:],
        list(sources),
    )
    return rows


def _by_status(rows: Iterable[asyncpg.Record], source: str | None) -> Mapping[str, Mapping[str, Lookups]]:
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        if source in (None, row["source"]):
            for group in (("period", str(row["period"])), ("source", row["source"]), ("all", "")):
                counts[group][row["status"]] += row["lookups"]
    found: dict[str, dict[str, Lookups]] = defaultdict(dict)
    for (by, name), statuses in counts.items():
        found[by][name] = Lookups(**statuses)
    return found


async def _share(db: Connection, span: Span, ended: int) -> float:
    """Return which share of the lookups is to be read: 1 up to MOST, or so much less that both limits hold."""
    if ended <= MOST:
        return 1.0
    months = {Month.of(begin).partition_of("lookups") for begin in span.begins}
    there: float = await db.fetchval(
        "SELECT COALESCE(sum(reltuples) FILTER (WHERE reltuples > 0), 0) FROM pg_class WHERE relname = ANY($1::text[])",
        [*months, "lookups_default"],
    )
    return min(MOST / ended, MOST_PAGES_OF / max(there, 1.0))


async def _sampled(db: Connection, statement: str, wanted: list[Any], share: float) -> list[asyncpg.Record]:
    """Fetch from all lookups of the span, or from a *share* of them: the same in each statement of a transaction."""
    if share == 1.0:
        every: list[asyncpg.Record] = await db.fetch(statement.format(share=""), *wanted)
        return every
    some: list[asyncpg.Record] = await db.fetch(
        statement.format(share="TABLESAMPLE SYSTEM ($5) REPEATABLE (0)"), *wanted, 100 * share
    )
    return some


_QUESTIONS = """
    WITH sample AS MATERIALIZED (
        SELECT id, width_bucket(id, $1::uuid[]) - 1 AS period, source, search_id,
               CASE WHEN final_status = 'found' AND reused_from IS NULL THEN provider END AS number_of
          FROM lookups {share}
         WHERE id >= ($1::uuid[])[1]
           AND id < $2
           AND final_status IS NOT NULL
           AND ($4::text IS NULL OR source = $4)
    ), question AS (
        SELECT sample.period, sample.source, job.provider, job.answered_by, job.credits, job.possible,
               job.search_id = sample.search_id AND job.provider = sample.number_of AS has_number,
               -- One open job per search, so their ids are in the order in which the providers were asked.
               row_number() OVER (PARTITION BY job.search_id ORDER BY job.id) AS place
          FROM sample
         CROSS JOIN LATERAL (
               SELECT id, search_id, provider, answered_by, credits, possible
                 FROM finished_jobs
                WHERE finished_jobs.lookup_id = sample.id
               OFFSET 0) AS job   -- forces the index, whatever the planner expects of the sample
    )
    SELECT CASE WHEN GROUPING(period) = 0 THEN 'period' WHEN GROUPING(provider) = 0 THEN 'provider'
                WHEN GROUPING(source) = 0 THEN 'source' WHEN GROUPING(place) = 0 THEN 'place' ELSE 'all' END AS by,
           COALESCE(period::text, provider, source, place::text, '') AS name,
           count(*) AS asked,
           count(*) FILTER (WHERE answered_by = 'inline') AS inline,
           count(*) FILTER (WHERE answered_by = 'callback') AS callback,
           count(*) FILTER (WHERE answered_by = 'poll') AS poll,
           count(*) FILTER (WHERE has_number) AS numbers,
           COALESCE(sum(credits), 0) AS charged,
           COALESCE(sum(possible), 0) AS possible
      FROM question
     WHERE $3::text IS NULL OR provider = $3
     GROUP BY GROUPING SETS ((period), (provider), (source), (place), ())
"""

_WAITS = """
    WITH sample AS MATERIALIZED (
        SELECT width_bucket(id, $1::uuid[]) - 1 AS period, source, provider,
               reused_from IS NOT NULL AND final_status IN ('found', 'not_found') AS is_reused,
               CASE WHEN final_status = 'found' AND reused_from IS NULL
                    THEN EXTRACT(epoch FROM finished_at - created_at)::float8 END AS seconds
          FROM lookups {share}
         WHERE id >= ($1::uuid[])[1]
           AND id < $2
           AND final_status IS NOT NULL
           AND ($3::text IS NULL OR provider = $3)
           AND ($4::text IS NULL OR source = $4)
    ), wait AS (
        SELECT period, source, provider, count(seconds) AS numbers, count(*) FILTER (WHERE is_reused) AS reused,
               percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) AS seconds,
               GROUPING(period) AS p, GROUPING(provider) AS v, GROUPING(source) AS s
          FROM sample
         GROUP BY GROUPING SETS ((period), (provider), (source), ())
    )
    SELECT CASE WHEN p = 0 THEN 'period' WHEN v = 0 THEN 'provider' WHEN s = 0 THEN 'source' ELSE 'all' END AS by,
           COALESCE(period::text, provider, source, '') AS name,
           numbers, reused, seconds[1] AS half, seconds[2] AS most
      FROM wait
     WHERE v = 1 OR provider IS NOT NULL   -- without a number, no provider is named
"""

Figure = TypeVar("Figure", Questions, Waits)


def _grouped(kind: type[Figure], rows: Iterable[asyncpg.Record]) -> Mapping[str, Mapping[str, Figure]]:
    found: dict[str, dict[str, Figure]] = defaultdict(dict)
    for row in rows:
        found[row["by"]][row["name"]] = kind(**{field.name: row[field.name] for field in fields(kind)})
    return found
