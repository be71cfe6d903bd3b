"""The run as a picture: lookups a second over time, and below it every fault as a bar in its lane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from chaos.journal import Happened
from chaos.plan import LANES

WIDTH, LEFT, RIGHT = 1200, 110, 20
TOP, CHART, BAR, GAP = 70, 260, 11, 4
COLOURS = {
    "processes": "#b3261e",
    "database": "#1a5fb4",
    "network": "#8a4baf",
    "leadmagic": "#b35c00",
    "nyne": "#1b7f4d",
    "callbacks": "#54606b",
}
Curve = Sequence[tuple[float, float]]  # seconds from the start, lookups a second


def draw(title: str, accepted: Curve, ended: Curve, happened: Sequence[Happened], begun: float, load: float) -> str:
    """An SVG; *load* is when the events stopped, in seconds from *begun*."""
    seconds = max([load, *(at for at, _ in (*accepted, *ended)), 1.0])
    most = max([10.0, *(rate for _, rate in (*accepted, *ended))]) * 1.1
    lanes = {lane: _rows([one for one in happened if one.lane == lane]) for lane in LANES}
    height = TOP + CHART + 50 + sum((len(rows) * (BAR + 1)) + GAP + 6 for rows in lanes.values()) + 30

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * at / seconds, 1)

    def y(rate: float) -> float:
        return round(TOP + CHART * (1 - rate / most), 1)

    def line(curve: Curve, colour: str) -> str:
        points = " ".join(f"{x(at)},{y(rate)}" for at, rate in curve)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="26" font-size="16">{escape(title)}</text>',
        f'<text x="{LEFT}" y="48" fill="#1a5fb4">lookups accepted a second</text>',
        f'<text x="{LEFT + 170}" y="48" fill="#1b7f4d">lookups ended a second</text>',
        f'<rect x="{x(load)}" y="{TOP}" width="{x(seconds) - x(load)}" height="{CHART}" fill="#f1f3f5"/>',
        f'<text x="{x(load) + 4}" y="{TOP + 12}" fill="#54606b">settling</text>',
        *_axes(x, y, seconds, most),
        line(accepted, "#1a5fb4"),
        line(ended, "#1b7f4d"),
    ]
    top = TOP + CHART + 40
    for lane, rows in lanes.items():
        parts.append(f'<text x="{LEFT - 8}" y="{top + BAR}" text-anchor="end" fill="{COLOURS[lane]}">{lane}</text>')
        for row in rows:
            for one in row:
                start, end = x(one.began - begun), x((one.ended or one.began) - begun)
                parts.append(
                    f'<rect x="{start}" y="{top}" width="{max(2.5, round(end - start, 1))}" height="{BAR}"'
                    f' fill="{COLOURS[lane]}" opacity="0.8"><title>{escape(one.name)}</title></rect>'
                    f'<text x="{start}" y="{top + BAR - 2}" font-size="7" fill="#000">{escape(_short(one))}</text>'
                )
                parts.append(
                    f'<line x1="{start}" y1="{TOP}" x2="{start}" y2="{TOP + CHART}" stroke="{COLOURS[lane]}"'
                    ' stroke-width="0.5" opacity="0.35"/>'
                )
            top += BAR + 1
        top += GAP + 6
    return "\n".join([*parts, "</svg>", ""])


def _axes(x: object, y: object, seconds: float, most: float) -> Iterator[str]:
    assert callable(x)
    assert callable(y)
    for rate in _ticks(most):
        yield f'<line x1="{LEFT}" y1="{y(rate)}" x2="{WIDTH - RIGHT}" y2="{y(rate)}" stroke="#dee2e6"/>'
        yield f'<text x="{LEFT - 8}" y="{y(rate) + 4}" text-anchor="end">{rate:g}</text>'
    for at in _ticks(seconds):
        yield f'<text x="{x(at)}" y="{TOP + CHART + 16}" text-anchor="middle">{at:g} s</text>'


def _ticks(most: float) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if most / step <= 12)
    return [float(step * n) for n in range(int(most / step) + 1)]


def _rows(happened: Sequence[Happened]) -> list[list[Happened]]:
    """Faults of one lane follow one another: two rows, in turn, leave room for their names."""
    return [list(happened[0::2]), list(happened[1::2])]


def _short(one: Happened) -> str:
    name = one.name.removeprefix(f"{one.lane} ")
    return name[:26]


def per_second(counts: Sequence[tuple[float, int]], begun: float, smooth: int = 3) -> list[tuple[float, float]]:
    """How fast a count grew, as (seconds from *begun*, growth a second), over *smooth* samples."""
    curve = []
    for (t0, n0), (t1, n1) in zip(counts, counts[smooth:], strict=False):
        if t1 > t0:
            curve.append((round((t0 + t1) / 2 - begun, 2), max(0.0, (n1 - n0) / (t1 - t0))))
    return curve
