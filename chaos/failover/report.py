"""The distribution of the times, and what was counted: a table to read, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chaos.failover.drill import Run
from chaos.failover.rounds import LOSSES, Round
from chaos.verdict import SHOWN

COLUMNS = ("rounds", "min", "p50", "p90", "max")
UNREADY = "ms until both /readyz said 503"


def distribution(times: Sequence[float]) -> dict[str, float]:
    """Return the count, and the seconds at the quantiles."""
    ordered = sorted(times)
    last = len(ordered) - 1
    at = {"min": 0, "p50": last // 2, "p90": round(0.9 * last), "max": last}
    return {"rounds": len(ordered)} | {name: round(ordered[place], 2) for name, place in at.items()}


def measured(run: Run) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield (kind of round, what was measured, its distribution)."""
    for kind in dict.fromkeys(one.kind for one in run.rounds):
        rounds = [one for one in run.rounds if one.kind == kind]
        for what, times in _series(run, rounds):
            if times:
                yield kind, what, distribution(times)


def _series(run: Run, rounds: list[Round]) -> Iterator[tuple[str, list[float]]]:
    if rounds[0].kind in LOSSES:
        yield "both /readyz say 503", [one.counts[UNREADY] / 1000 for one in rounds if UNREADY in one.counts]
    else:
        yield "a standby is promoted", [one.able - one.began for one in rounds]
    for number, way in enumerate(run.ways):
        yield f"next 2xx, {way}", [s for one in rounds if (s := one.receivers[number]) is not None]
    for number, way in enumerate(run.ways):
        yield f"next question stored, {way}", [s for one in rounds if (s := one.submitters[number]) is not None]


def as_text(run: Run) -> str:
    """Return the report to read."""
    lines = [f"Failover, seed {run.seed}: {len(run.rounds)} rounds in {run.seconds:.0f} s", ""]
    lines.append(f"{'seconds':<38}" + "".join(f"{column:>8}" for column in COLUMNS))
    seen = ""
    for kind, what, found in measured(run):
        if kind != seen:
            since = ", since a commit was possible again" if kind in LOSSES else ""
            lines.append(f"{kind}{since}")
            seen = kind
        lines.append(f"  {what:<36}" + "".join(f"{found[column]:>8g}" for column in COLUMNS))
    lines += ["", f"everything was final {run.settled:.0f} s after the load", ""]
    for verdict in run.verdicts:
        lines.append(f"{'held  ' if verdict.holds else 'BROKEN'} {verdict.number}  {verdict.promise}")
        lines += [f"            {count:>8}  {what}" for what, count in verdict.counts.items()]
        lines += [f"          ! {offence}" for offence in verdict.offences[:SHOWN]]
        if len(verdict.offences) > SHOWN:
            lines.append(f"          ! and {len(verdict.offences) - SHOWN} more")
    return "\n".join([*lines, "", "Every promise was kept." if run.holds else "A PROMISE WAS BROKEN.", ""])


def as_json(run: Run) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "seed": run.seed,
        "holds": run.holds,
        "seconds": round(run.seconds, 1),
        "settled_seconds": round(run.settled, 1),
        "distributions": [{"kind": kind, "what": what} | found for kind, what, found in measured(run)],
        "rounds": [
            {"kind": one.kind, "promoted": round(one.able - one.began, 3), "receivers": one.receivers,
             "submitters": one.submitters, "counts": one.counts}
            for one in run.rounds
        ],
        "checks": [
            {"number": verdict.number, "promise": verdict.promise, "holds": verdict.holds,
             "counts": dict(verdict.counts), "offences": verdict.offences}
            for verdict in run.verdicts
        ],
    }  # fmt: skip
