"""The results of a run: a report to read, the same as JSON, and a picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from chaos.soak import picture
from chaos.soak.judge import BUSY, GROWING, per_lookup
from chaos.soak.run import Run
from chaos.soak.sample import Sample
from rig.picture import save

MARKS = {True: "held  ", False: "BROKEN", None: "-     "}


def write(run: Run) -> str:
    """Write report.txt, report.json and a picture into the run's folder; return the text."""
    text, folder = as_text(run), run.order.folder
    (folder / "report.txt").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(as_json(run), indent=1, ensure_ascii=False), encoding="utf-8")
    save(folder / "report.svg", picture.SIZE, lambda figure: picture.draw(figure, _title(run), run.samples))
    return text


def as_text(run: Run) -> str:
    """Return the report to read."""
    lines = [_title(run), ""]
    for finding in run.findings:
        lines.append(f"{MARKS[finding.holds]}  {finding.about}: {finding.found}")
        lines.append(f"          {finding.rule}")
    if run.samples:
        last = run.samples[-1]
        lines += ["", f"At the end of the load ({last.finished:,} lookups had ended, {last.open:,} were open)"]
        for name in (*BUSY, *GROWING):
            table = last.tables[name]
            lines.append(
                f"            {name:<14} {table.total / 2**20:>8.2f} MiB, indexes {table.indexes / 2**20:.2f}; "
                f"{table.dead:,} dead rows; vacuumed {table.vacuums} times"
            )
        lines += [f"            {name:<14} {mb:>8.1f} MB" for name, mb in last.memory.items()]
    lines += ["", _verdict(run), ""]
    return "\n".join(lines)


def as_json(run: Run) -> dict[str, Any]:
    """Return the report for programs."""
    order = run.order
    return {
        "seed": order.seed,
        "seconds": round(order.seconds, 1),
        "rate": order.rate,
        "receivers": order.receivers,
        "holds": run.holds,
        "judged": not any(finding.holds is None for finding in run.findings),
        "findings": [asdict(finding) for finding in run.findings],
        "answers": run.answers,
        "duplicates": run.duplicates,
        "bytes_per_lookup": _per_lookup(run),
        "machine": run.machine,
        "samples": [asdict(sample) | {"at": round(sample.at, 2)} for sample in run.samples],
    }


def _per_lookup(run: Run) -> dict[str, float]:
    """Return the bytes that one lookup adds, over the whole run, from before the first to when all have ended."""
    if not run.samples or run.settled is None:
        return {}
    first, last = run.samples[0], run.settled

    def of(name: str) -> float:
        def total(sample: Sample) -> int:
            return sample.tables[name].total

        return round(per_lookup(first, last, total), 1)

    return {name: of(name) for name in GROWING} | {"wal": round(per_lookup(first, last, lambda one: one.wal), 1)}


def _title(run: Run) -> str:
    order = run.order
    return (
        f"Ringback at work for {order.seconds / 60:.3g} minutes, {order.rate:g} events a second, seed {order.seed}, "
        f"{order.receivers} {'receiver' if order.receivers == 1 else 'receivers'}"
    )


def _verdict(run: Run) -> str:
    if not run.holds:
        return "IT WAS NOT FLAT."
    if untold := [finding.about for finding in run.findings if finding.holds is None]:
        return f"Nothing was found; the run was too short to judge {', '.join(untold)}."
    return "It was flat."
