"""The demo's table of contacts: each with its number and where it came from."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from console.demo.crm_books import Story
from console.demo.crm_cast import HAD
from console.demo.show import STATUSES, answered_by


def contacts(stories: Sequence[Story], most: int) -> Table:
    """Tabulate up to *most* contacts, the unusual ones first."""
    shown = sorted(stories, key=lambda story: not story.contact.remark)[:most]
    table = Table(title="Contacts in HubSpot, and the numbers on them", title_justify="left")
    for column in ("contact", "number", "source"):
        table.add_column(column, no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("what was unusual")
    for story in shown:
        after = "" if story.seconds is None else f"{story.seconds:.1f} s"
        table.add_row(story.contact.name, story.number or "", _source(story), after, story.contact.remark)
    if len(shown) < len(stories):
        table.caption = f"and {len(stories) - len(shown)} more; `ringback demo --crm hubspot` shows all"
        table.caption_justify = "left"
    return table


def summary(stories: Sequence[Story]) -> str:
    """Say how many contacts got their number from us, and how long that took."""
    took = [story.seconds for story in stories if story.seconds is not None]
    if not took:
        return f"None of {len(stories)} contacts has a number of ours."
    middle = statistics.median(took)
    return (
        f"{len(took)} of {len(stories)} contacts got a number; from the contact to the number on it: "
        f"p50 {middle:.2f} s, longest {max(took):.2f} s."
    )


def _source(story: Story) -> Text:
    if story.contact.remark == HAD:
        return Text("a person", style="dim")
    if story.lookup is None:
        return Text("")
    status = story.lookup["status"]
    said = f"{story.lookup['provider']}, {answered_by(story.lookup)}" if status == "found" else status
    return Text(said, style=STATUSES.get(status, "red"))
