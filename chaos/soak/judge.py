"""The judgement of a soak. Every rule compares the last third of the run with the middle one.

The first third is warm-up, and is not judged: pools, caches and allocators fill up, and tables reach the size at
which their rows come and go. What leaks goes on after that, and shows as a last third that lies above the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from chaos.soak.sample import Sample

BUSY = ("jobs", "usage", "limits", "providers", "counters")  # small; their rows change all the time
# History, and the keys to it: they always grow.
GROWING = ("lookups", "searches", "finished_jobs", "ledger", "keys", "fingerprints", "events", "callbacks")

NAP = 60.0  # seconds between two looks of autovacuum
SHORTEST_THIRD = 2 * NAP  # in less, a table may not have been vacuumed at all
THRESHOLD = 2000  # dead rows below which autovacuum skips a table: that of `jobs`, the largest of the small

# Medians, so that a short peak does not count; a tenth, because an allocator keeps some of what it was given.
MEMORY = 1.10
# Dead rows rise until vacuum comes, at a time that we cannot tell: so medians, with room, and a bound for the peaks.
DEAD, NAPS = 1.5, 3
# A table that was vacuumed late has grown by some pages, and keeps them; it uses them again the next time. What every
# ended lookup leaves behind, be it thirty bytes, is more than a tenth of such a small table in ten minutes.
SIZE, PAGES = 1.10, 256 * 1024
OPEN = 1.25
CONNECTIONS = 3  # more: a pool opens them as it needs them, up to DATABASE_POOL
# Pages of an index split in waves, all of them about when the table has doubled; the sum of all is steadier.
ONE_TABLE, ALL_TABLES = 1.5, 1.2
# After a checkpoint the first change of a page logs all of it; keys are hashes, so ever more pages are touched.
WAL = 1.25
CHECKPOINTS = 300.0  # seconds between two; with none in one of the thirds there is nothing to compare

SETTLES_WITHIN = 60.0  # seconds from the last event until everything has ended
LOAD = 0.9  # of the wanted events; with less, the machine was too slow for a judgement


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement of one thing; *holds* is None when the run was too short to tell."""

    about: str
    rule: str
    found: str
    holds: bool | None


def judge(samples: Sequence[Sample]) -> list[Finding]:
    """Judge whether everything that should be flat was flat."""
    parts = thirds(samples)
    if parts is None:
        return [Finding("flatness", f"three thirds of {SHORTEST_THIRD:.0f} s or more", "the run was too short", None)]
    middle, last = parts
    return [*_memory(middle, last), *_dead(middle, last), *_sizes(middle, last), *_level(middle, last),
            *_growth(middle, last)]  # fmt: skip


def judge_course(asked_for: float, answers: Mapping[str, int], settled: Sample) -> list[Finding]:
    """Judge what must hold in a run of any length; *settled* is the last sample, after the load."""
    sent = sum(answers.values())
    told = ", ".join(f"{count:,} × {answer}" for answer, count in answers.items())
    return [
        Finding("answers to events", "202 and nothing else", told or "none", set(answers) == {"202"}),
        Finding(
            "load",
            f"{LOAD:.0%} of the events that were wanted, give or take what chance does in a few seconds",
            f"{sent:,} of about {asked_for:,.0f}",
            sent >= LOAD * asked_for - 3 * asked_for**0.5,
        ),
        Finding(
            "lookups without an end",
            f"none, {SETTLES_WITHIN:.0f} s after the last event",
            f"{settled.open} of {settled.accepted:,}",
            settled.open == 0 < settled.accepted,
        ),
    ]


def thirds(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]] | None:
    """Return the middle and the last third, by time; None when they are too short."""
    if not samples or samples[-1].at < 3 * SHORTEST_THIRD:
        return None
    end = samples[-1].at
    middle = [sample for sample in samples if end / 3 <= sample.at < end * 2 / 3]
    last = [sample for sample in samples if sample.at >= end * 2 / 3]
    return (middle, last) if min(len(middle), len(last)) > 2 else None


def _memory(middle: Sequence[Sample], last: Sequence[Sample]) -> Iterable[Finding]:
    for process in middle[0].memory:
        before, after = (median(sample.memory[process] for sample in part) for part in (middle, last))
        yield Finding(
            f"memory of {process}",
            f"median of the last third ≤ {MEMORY:.2f} × that of the middle third",
            f"{before:.1f} MB, then {after:.1f} MB",
            after <= MEMORY * before,
        )


def _dead(middle: Sequence[Sample], last: Sequence[Sample]) -> Iterable[Finding]:
    begun, ended = middle[0], last[-1]
    for name in BUSY:
        before, after = (median(sample.tables[name].dead for sample in part) for part in (middle, last))
        peak = max(sample.tables[name].dead for sample in (*middle, *last))
        changes = (ended.tables[name].changes - begun.tables[name].changes) / (ended.at - begun.at)
        most = THRESHOLD + NAPS * NAP * changes
        yield Finding(
            f"dead rows of {name}",
            f"median of the last third ≤ {DEAD} × that of the middle third, or {THRESHOLD:,}; "
            f"never more than {NAPS} naps of autovacuum let lie ({most:,.0f})",
            f"{before:,.0f}, then {after:,.0f}; at most {peak:,}",
            after <= max(DEAD * before, THRESHOLD) and peak <= most,
        )


def _sizes(middle: Sequence[Sample], last: Sequence[Sample]) -> Iterable[Finding]:
    for name in BUSY:
        before, after = (max(sample.tables[name].total for sample in part) for part in (middle, last))
        finished = last[-1].finished - middle[-1].finished
        yield Finding(
            f"size of {name} with its indexes",
            f"peak of the last third ≤ {SIZE} × that of the middle third and {PAGES // 1024} KiB",
            f"{_bytes(before)}, then {_bytes(after)}, while {finished:,} lookups ended",
            after <= SIZE * before + PAGES,
        )


def _level(middle: Sequence[Sample], last: Sequence[Sample]) -> Iterable[Finding]:
    before, after = (median(sample.open for sample in part) for part in (middle, last))
    per_second = (last[-1].finished - middle[0].finished) / (last[-1].at - middle[0].at)
    yield Finding(
        "lookups open",
        f"median of the last third ≤ {OPEN} × that of the middle third and two seconds' worth ({2 * per_second:.0f})",
        f"{before:.0f}, then {after:.0f}",
        after <= OPEN * before + 2 * per_second,
    )
    before, after = (max(sample.connections for sample in part) for part in (middle, last))
    yield Finding(
        "connections to PostgreSQL",
        f"peak of the last third ≤ that of the middle third and {CONNECTIONS}",
        f"{before}, then {after}",
        after <= before + CONNECTIONS,
    )


def _growth(middle: Sequence[Sample], last: Sequence[Sample]) -> Iterable[Finding]:
    def of(name: str) -> Callable[[Sample], int]:
        return lambda sample: sample.tables[name].total

    for name in GROWING:
        yield _constant(f"bytes per lookup in {name}", ONE_TABLE, of(name), middle, last)
    yield _constant(
        "bytes per lookup in all of these", ALL_TABLES,
        lambda sample: sum(sample.tables[name].total for name in GROWING), middle, last,
    )  # fmt: skip
    wal = _constant("bytes of WAL per lookup", WAL, lambda sample: sample.wal, middle, last)
    yield wal if last[-1].at >= 3 * CHECKPOINTS else replace(wal, holds=None)


def _constant(
    about: str, factor: float, of: Callable[[Sample], int], middle: Sequence[Sample], last: Sequence[Sample]
) -> Finding:
    """Judge something that grows with every lookup: as much in the last third as in the middle one."""
    before = per_lookup(middle[0], last[0], of)
    after = per_lookup(last[0], last[-1], of)
    return Finding(
        about,
        f"last third ≤ {factor} × middle third and one page per thousand lookups",
        f"{before:,.0f}, then {after:,.0f}",
        after <= factor * before + 8.192,
    )


def per_lookup(first: Sample, then: Sample, of: Callable[[Sample], int]) -> float:
    """Return how much it grew between the two samples, for each lookup that ended meanwhile."""
    return (of(then) - of(first)) / max(1, then.finished - first.finished)


def _bytes(number: float) -> str:
    return f"{number / 2**20:,.2f} MiB"
