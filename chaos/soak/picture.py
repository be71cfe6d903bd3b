"""The run as a picture: small charts over the same time, the thirds that are compared marked in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from chaos.soak.judge import BUSY, GROWING, per_lookup
from chaos.soak.sample import Sample

WIDTH, HEIGHT = 560, 190  # of one chart, with all that is around it
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 44, 24
COLUMNS, MARGIN, TITLE = 2, 16, 46
COLOURS = ("#1a5fb4", "#b35c00", "#1b7f4d", "#8a4baf", "#b3261e", "#54606b")
SMOOTH = 12  # samples that a rate is taken over
Curve = Sequence[tuple[float, float]]
Curves = Mapping[str, Curve]


def draw(title: str, samples: Sequence[Sample]) -> str:
    """An SVG."""
    charts = list(_charts(samples)) if len(samples) > 1 else []
    rows = -(-len(charts) // COLUMNS)
    width, height = COLUMNS * WIDTH + 2 * MARGIN, TITLE + rows * HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"',
        f' font-size="11" role="img"><title>{escape(title)}</title>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="28" font-size="16">{escape(title)}</text>',
    ]
    for number, (name, curves) in enumerate(charts):
        x, y = MARGIN + number % COLUMNS * WIDTH, TITLE + number // COLUMNS * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_chart(name, curves, samples[-1].at), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


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


def _chart(name: str, curves: Curves, seconds: float) -> Iterator[str]:
    most = max((value for curve in curves.values() for _, value in curve), default=0) * 1.1 or 1
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at: float) -> float:
        return round(LEFT + wide * at / seconds, 1)

    def y(value: float) -> float:
        return round(TOP + high * (1 - value / most), 1)

    yield f'<text x="{LEFT}" y="14" font-weight="600">{escape(name)}</text>'
    yield f'<rect x="{LEFT}" y="{TOP}" width="{wide}" height="{high}" fill="#f6f8fa"/>'
    for part in (0, 0.5, 1):
        at = y(most * part)
        yield f'<line x1="{LEFT}" y1="{at}" x2="{LEFT + wide}" y2="{at}" stroke="#dee2e6"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{_number(most * part)}</text>'
    for third in range(4):
        at = x(seconds * third / 3)
        yield f'<line x1="{at}" y1="{TOP}" x2="{at}" y2="{TOP + high}" stroke="#adb5bd" stroke-dasharray="3 3"/>'
        yield f'<text x="{at}" y="{HEIGHT - 8}" text-anchor="middle">{_time(seconds * third / 3, seconds)}</text>'
    for number, (label, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(at)},{y(value)}" for at, value in curve)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        yield f'<text x="{LEFT + number * wide / 6:.0f}" y="32" fill="{colour}">{escape(label)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(at: float, seconds: float) -> str:
    return f"{at / 60:.3g} min" if seconds >= 180 else f"{at:.3g} s"
