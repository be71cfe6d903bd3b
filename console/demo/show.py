"""The demo's output: bars while it runs, then a table, then hints for what to try next."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from console.demo.books import Json
from console.demo.stage import Stage
from console.demo.verdict import Verdict

STATUSES = {
    "queued": "white",
    "running": "cyan",
    "held": "magenta",
    "found": "green",
    "not_found": "yellow",
    "failed": "red",
    "unresolved": "red",
}
DIFFERENCES_SHOWN = 20


def progress(lookups: Sequence[Json], expected: int, stats: dict[str, Json], seconds: float) -> RenderableType:
    """Draw the number of lookups in each status."""
    counts = Counter(lookup["status"] for lookup in lookups)
    bars = Table.grid(padding=(0, 2))
    for status, colour in STATUSES.items():
        if counts[status] or status in {"queued", "running", "found", "not_found"}:
            many = counts[status]
            bar = ProgressBar(expected, many, width=40, complete_style=colour, finished_style=colour)
            bars.add_row(Text(status, style=colour), bar, f"{many:>4}")
    asked = ", ".join(f"{name} asked {told['posts']} times" for name, told in stats.items())
    nyne = stats.get("nyne", {})
    return Group(
        bars,
        Text(
            f"{seconds:4.1f} s: {asked}; {nyne.get('callbacks_sent', 0)} callbacks, {nyne.get('polls', 0)} polls",
            style="dim",
        ),
    )


def table(lookups: Sequence[Json]) -> Table:
    """Tabulate lookups, credits and times by status and by the way they were answered."""
    groups: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for lookup in lookups:
        groups[lookup["status"], answered_by(lookup)].append(lookup)
    title = "How the lookups ended, and how long it took from the event to the end"
    shown = Table(title=title, title_justify="left", show_footer=True)
    totals = (len(lookups), sum(one["credits"] for one in lookups), _possibly(lookups))
    shown.add_column("status", footer="all")
    shown.add_column("answered by")
    for name, total in zip(("lookups", "credits", "possibly"), totals, strict=True):
        shown.add_column(name, justify="right", footer=f"{total:g}")
    for name, share in (("p50", 50), ("p99", 99)):
        shown.add_column(name, justify="right", footer=f"{percentile(lookups, share):.2f} s")
    order = list(STATUSES)
    for (status, how), group in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        shown.add_row(
            Text(status, style=STATUSES[status]),
            how,
            str(len(group)),
            f"{sum(one['credits'] for one in group):g}",
            f"{_possibly(group):g}",
            *(f"{percentile(group, share):.2f} s" for share in (50, 99)),
        )
    return shown


def numbers(lookups: Sequence[Json]) -> str:
    """Say how long it took to get a number that a provider was asked for."""
    found = [lookup for lookup in lookups if lookup["status"] == "found" and lookup["reused_from"] is None]
    times = ", ".join(f"p{share} {percentile(found, share):.2f} s" for share in (50, 99))
    return f"From the event to the number: {times} ({len(found)} numbers that a provider was asked for)."


def answered_by(lookup: Json) -> str:
    """Return inline, callback or poll; `reused` for another lookup's answer, `no answer` where none came."""
    if lookup["reused_from"] is not None:
        return "reused"
    last = [job for job in lookup["jobs"] if lookup["provider"] in {None, job["provider"]}][-1:]
    return next((job["answered_by"] for job in last if job["answered_by"]), "no answer")


def percentile(lookups: Iterable[Json], share: int) -> float:
    """Return the seconds from the event to the end that *share* percent of these lookups did not exceed."""
    took = sorted(_seconds(lookup) for lookup in lookups if lookup["finished_at"])
    if len(took) < 2:
        return took[0] if took else 0.0
    return statistics.quantiles(took, n=100, method="inclusive")[share - 1]


def _seconds(lookup: Json) -> float:
    begun, ended = (datetime.fromisoformat(lookup[name]) for name in ("created_at", "finished_at"))
    return (ended - begun).total_seconds()


def _possibly(lookups: Iterable[Json]) -> float:
    total: float = sum(job["possibly_charged"] for lookup in lookups for job in lookup["jobs"])
    return total


def verdict_text(verdict: Verdict) -> Text:
    """List what was compared, and what differs."""
    compared = "".join(f"  {count:>5} {what}\n" for what, count in verdict.compared.items())
    if not verdict.differences:
        return Text(f"All is as the vendors' own books say:\n{compared}", style="green")
    text = Text(f"Compared:\n{compared}{len(verdict.differences)} differences:\n", style="red")
    for difference in verdict.differences[:DIFFERENCES_SHOWN]:
        text.append(f"  {difference}\n")
    if len(verdict.differences) > DIFFERENCES_SHOWN:
        text.append(f"  and {len(verdict.differences) - DIFFERENCES_SHOWN} more\n")
    return text


def where_next(stage: Stage, *, kept: bool) -> str:
    """Say what to look at, and what to try by hand while it runs."""
    if not kept:
        return (
            "Where next: `ringback demo --keep` (`make demo KEEP=1`) leaves it running, to try things by hand, as the "
            'README\'s\n"Try it" says. With keys of your own: `ringback doctor`, then `ringback up`.'
        )
    leadmagic, nyne, hubspot = (stage.vendors[name] for name in ("leadmagic", "nyne", "hubspot"))
    return f"""It goes on running until Ctrl-C. In another terminal:

  URL={stage.url}
  TOKEN={stage.token}
  KEY={stage.key}
  HUBSPOT={hubspot}

  # a person that LeadMagic knows; then one that Nyne calls back about (with ny-silent it never does)
  curl -s "$URL/events/generic" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
       -d '{{"event_id": "mine-1", "record_id": "crm-me-1", "profile_url": "linkedin.com/in/lm-found--me"}}'
  curl -s "$URL/events/generic" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
       -d '{{"event_id": "mine-2", "record_id": "crm-me-2", "profile_url": "linkedin.com/in/lm-none--ny-found--me"}}'

  # a contact in HubSpot, whose number will be on it; then all contacts
  curl -s "$HUBSPOT/sandbox/contacts" -d '{{"properties": {{"email": "lm-found--me@acme.test"}}}}'
  curl -s "$HUBSPOT/sandbox/contacts"

  # what became of it, and what everything cost
  curl -s "$URL/v1/lookups?record_id=crm-me-2" -H "Authorization: Bearer $TOKEN"
  curl -s "$URL/v1/usage" -H "Authorization: Bearer $TOKEN"

  The dashboard                    {stage.url}  (log in with TOKEN)
  How to call back by hand         "Try it" in the README
  The API describes itself         {stage.url}/docs
  What identifiers can ask for     {leadmagic}/sandbox/behaviours  {nyne}/sandbox/behaviours
                                   {hubspot}/sandbox/behaviours
  What the vendors charged         {leadmagic}/sandbox/ledger      {nyne}/sandbox/ledger"""
