"""The results of a run: a report to read, the same as JSON, and a picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import picture
from chaos.journal import Journal
from chaos.plan import KINDS
from chaos.verdict import SHOWN, Verdict
from rig.picture import save


@dataclass(slots=True)
class Run:
    """One run, when it is over."""

    seed: int
    variant: str
    begun: float
    load: float  # seconds that events were sent
    settled: float  # seconds from the end of the faults until everything was final
    journal: Journal
    verdicts: Sequence[Verdict]
    accepted: Sequence[tuple[float, int]]  # (at, how many lookups were promised by then)
    ended: Sequence[tuple[float, int]]
    crm: Counter[str]
    surprises: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Tell whether every promise was kept, and every fault was caused."""
        return all(verdict.holds for verdict in self.verdicts) and not self.journal.failed

    @property
    def faults(self) -> Counter[str]:
        """Return how often each kind of fault was caused; 0 for those that were not."""
        done = Counter(one.name for one in self.journal.happened)
        return Counter({name: done[name] for name in (*(kind.name for kind in KINDS), *done)})


def write(run: Run, folder: Path) -> str:
    """Write report.txt, report.json and a picture into *folder*; return the text."""
    text = as_text(run)
    (folder / "report.txt").write_text(text)
    (folder / "report.json").write_text(json.dumps(as_json(run), indent=1))
    title = f"Ringback under chaos, seed {run.seed}: {_conclusion(run)}"
    curves = (picture.per_second(run.accepted, run.begun), picture.per_second(run.ended, run.begun))
    course = picture.Course(title, *curves, run.journal.happened, run.begun, run.load)
    save(folder / "report.svg", picture.SIZE, lambda figure: picture.draw(figure, course))
    return text


def as_text(run: Run) -> str:
    """Return the report to read."""
    total = run.accepted[-1][1] if run.accepted else 0
    lines = [
        f"Ringback under chaos, seed {run.seed}",
        f"  {run.variant}",
        f"  {total} lookups in {run.load:.0f} s ({total / max(run.load, 1):.0f} a second)",
        f"  settled {run.settled:.0f} s after the last fault",
        f"  {run.faults.total()} faults of {sum(1 for times in run.faults.values() if times)} kinds",
        "",
    ]
    for verdict in run.verdicts:
        lines.append(f"{'held  ' if verdict.holds else 'BROKEN'} {verdict.number}  {verdict.promise}")
        lines += [f"            {count:>8}  {what}" for what, count in verdict.counts.items()]
        lines += [f"                      {note}" for note in verdict.notes]
        lines += [f"          ! {offence}" for offence in verdict.offences[:SHOWN]]
        if len(verdict.offences) > SHOWN:
            lines.append(f"          ! and {len(verdict.offences) - SHOWN} more; report.json has them all")
    lines += ["", "The faults, and how often each was caused"]
    lines += [f"            {count:>8}  {name}" for name, count in run.faults.items()]
    lines += ["", "The answers to the CRM"]
    lines += [f"            {count:>8}  {what}" for what, count in run.crm.most_common()]
    if run.journal.failed:
        lines += ["", "Faults that could not be caused", *(f"          ! {failure}" for failure in run.journal.failed)]
    if run.surprises:
        lines += ["", "Surprises, which break no promise", *(f"          ? {one}" for one in run.surprises[:40])]
    lines += ["", _conclusion(run), ""]
    return "\n".join(lines)


def _conclusion(run: Run) -> str:
    if not all(verdict.holds for verdict in run.verdicts):
        return "A PROMISE WAS BROKEN."
    return "Every promise was kept." if run.holds else "Every promise was kept; some faults could not be caused."


def as_json(run: Run) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "seed": run.seed,
        "variant": run.variant,
        "holds": run.holds,
        "load_seconds": round(run.load, 1),
        "settled_seconds": round(run.settled, 1),
        "lookups": run.accepted[-1][1] if run.accepted else 0,
        "checks": [
            {
                "number": verdict.number,
                "promise": verdict.promise,
                "holds": verdict.holds,
                "counts": dict(verdict.counts),
                "notes": verdict.notes,
                "offences": verdict.offences,
            }
            for verdict in run.verdicts
        ],
        "faults": dict(run.faults),
        "failed_faults": run.journal.failed,
        "happened": [
            {
                "fault": one.name,
                "lane": one.lane,
                "from": round(one.began - run.begun, 2),
                "to": round(one.ended - run.begun, 2),
                "strength": one.fault.strength,
            }
            for one in run.journal.happened
        ],
        "crm": dict(run.crm),
        "surprises": run.surprises,
        "throughput": {
            "accepted": [[round(at - run.begun, 2), count] for at, count in run.accepted],
            "ended": [[round(at - run.begun, 2), count] for at, count in run.ended],
        },
    }
