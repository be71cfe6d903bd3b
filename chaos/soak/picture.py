"""The run as a picture: small charts over the same time, the thirds that are compared marked in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from chaos.soak.judge import BUSY, GROWING, per_lookup
from chaos.soak.sample import Sample

SIZE = (14.0, 14.0)  # inches
COLUMNS = 2
SMOOTH = 12  # samples that a rate is taken over
Curve = Sequence[tuple[float, float]]
Curves = Mapping[str, Curve]


def draw(figure: Any, title: str, samples: Sequence[Sample]) -> None:
    """Draw a chart for everything that could grow."""
    figure.suptitle(title)
    charts = list(_charts(samples)) if len(samples) > 1 else []
    for number, (name, curves) in enumerate(charts, 1):
        axes = figure.add_subplot(-(-len(charts) // COLUMNS), COLUMNS, number)
        axes.set_title(name, fontsize=10)
        for label, curve in curves.items():
            axes.plot([at / 60 for at, _ in curve], [value for _, value in curve], label=label)
        for third in range(4):
            axes.axvline(samples[-1].at / 60 * third / 3, color="gray", linestyle=":", linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes")
        axes.legend(fontsize=7)


def _charts(samples: Sequence[Sample]) -> Iterator[tuple[str, Curves]]:
    def curve(of: Callable[[Sample], float]) -> Curve:
        return [(sample.at, of(sample)) for sample in samples]

    def tables(names: Sequence[str], of: Callable[[Sample, str], float]) -> Curves:
        return {name: [(sample.at, of(sample, name)) for sample in samples] for name in names}

    def rate(of: Callable[[Sample, Sample], float]) -> Curve:
        step = max(1, min(SMOOTH, len(samples) // 5))
        pairs = zip(samples, samples[step:], strict=False)
        return [((one.at + two.at) / 2, of(one, two)) for one, two in pairs]

    def pace(one: Sample, two: Sample) -> float:
        return (two.finished - one.finished) / max(two.at - one.at, 0.001)

    names = samples[0].memory
    yield "memory, MB", {name: [(sample.at, sample.memory[name]) for sample in samples] for name in names}
    yield "lookups ended a second", {"ended": rate(pace)}
    yield "dead rows of the small tables", tables(BUSY, lambda sample, name: sample.tables[name].dead)
    yield "size of the small tables, MiB", tables(BUSY, lambda sample, name: sample.tables[name].total / 2**20)
    yield (
        "jobs, MiB",
        {
            "rows": curve(lambda sample: sample.tables["jobs"].size / 2**20),
            "indexes": curve(lambda sample: sample.tables["jobs"].indexes / 2**20),
        },
    )
    yield "history, MiB", tables(GROWING, lambda sample, name: sample.tables[name].total / 2**20)
    yield "WAL, bytes per lookup", {"WAL": rate(lambda one, two: per_lookup(one, two, lambda sample: sample.wal))}
    yield "lookups open", {"open": curve(lambda sample: sample.open)}
    yield "connections to PostgreSQL", {"ours": curve(lambda sample: sample.connections)}
