"""The page "Over time" as questions, each with a chart whose figures are the table below it, and with breakdowns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeVar

from receiver.dashboard.counted import Wanted
from receiver.dashboard.rendering import as_amount, as_duration, as_share
from store.history import Credits, History, Lookups, Questions, Waits

Drawing = Literal["lines", "stack"]
Unit = Literal["share", "seconds", "credits"]

ORDINALS = {"1": "first", "2": "second", "3": "third"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure as people read it, and as the chart draws it: None leaves a gap."""

    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one period, or of one provider, source or place."""

    name: str
    cells: tuple[Cell, ...]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures. Of a chart's table, the first *drawn* columns are its series."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    drawn: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """One question, its answer for the whole span in *figures*, its chart over time, and its breakdowns."""

    id: str
    title: str
    figures: tuple[tuple[str, str], ...]  # and what each is
    note: str  # what has to be known to read it
    drawing: Drawing
    unit: Unit
    chart: Table
    breakdowns: tuple[Table, ...] = ()


def is_empty(history: History) -> bool:
    """Tell whether there is nothing to show for the span."""
    total = history.credits["all"][""]
    return not (history.lookups or history.questions["all"][""].asked or total.charged or total.possible)


def questions_of(history: History, wanted: Wanted) -> list[Question]:
    """Return the questions of the page, in its order."""
    return [
        _found(history, wanted.provider),
        _answered(history),
        _waited(history),
        _credits(history),
        _cost(history),
    ]


Figure = TypeVar("Figure")
Cells = Callable[[Figure], tuple[Cell, ...]]


def _over_time(
    history: History, title: str, figures: Mapping[str, Figure], nothing: Figure, cells: Cells[Figure],
    columns: tuple[str, ...], drawn: int,
) -> Table:  # fmt: skip
    """Return one row for each period, the newest first."""
    monthly = _is_monthly(history)
    rows = [
        Row(begin.strftime("%b %Y") if monthly else f"{begin.day} {begin:%b}", cells(figures.get(str(number), nothing)),
            begin)
        for number, begin in enumerate(history.span.begins)
    ]  # fmt: skip
    return Table(title, ("Month" if monthly else "Day", *columns), tuple(reversed(rows)), drawn)


def _by(
    title: str, name: str, figures: Mapping[str, Figure], cells: Cells[Figure], columns: tuple[str, ...],
    names: Mapping[str, str] | None = None,
) -> Table:  # fmt: skip
    """Return one row for each provider, source or place."""
    rows = [Row((names or {}).get(key, key), cells(figures[key])) for key in sorted(figures)]
    return Table(title, (name, *columns), tuple(rows))


def _is_monthly(history: History) -> bool:
    begins = history.span.begins
    return len(begins) > 1 and (begins[1] - begins[0]).days > 1


def _found(history: History, provider: str | None) -> Question:
    def of_lookups(one: Lookups) -> tuple[Cell, ...]:
        stopped = one.cancelled + one.suppressed
        counts = (one.found, one.not_found, one.unresolved, one.failed, stopped)
        return (_share(one.rate), *(Cell(as_amount(count)) for count in counts))

    def of_questions(one: Questions) -> tuple[Cell, ...]:
        return _share(one.rate), _about(history, one.numbers), _about(history, one.asked)

    lookups, questions = history.lookups, history.questions
    ended = ("Found rate", "Found", "Not found", "Unresolved", "Failed", "Stopped")
    asked = ("Found rate", "Numbers", "Questions")
    by_provider = _by("By provider asked", "Provider", questions.get("provider", {}), of_questions, asked)
    if provider is not None:
        every = questions["all"][""]
        return Question(
            "found",
            f"How many questions to {provider} bring a number?",
            ((as_share(every.rate), "bring a number"), (_about(history, every.asked).text, "questions")),
            "Of the questions about lookups that were created then and have ended.",
            "lines",
            "share",
            _over_time(history, "Questions", questions.get("period", {}), Questions(), of_questions, asked, 1),
            (by_provider, _by("By source", "Source", questions.get("source", {}), of_questions, asked)),
        )
    total = lookups.get("all", {}).get("", Lookups())
    return Question(
        "found",
        "How many lookups find a number?",
        ((as_share(total.rate), "find one"), (as_amount(total.found), "found"), (as_amount(total.tried), "tried")),
        "Of the lookups that were created then and have ended. Stopped ones, cancelled or suppressed, were not tried.",
        "lines",
        "share",
        _over_time(history, "Lookups", lookups.get("period", {}), Lookups(), of_lookups, ended, 1),
        (by_provider, _by("By source", "Source", lookups.get("source", {}), of_lookups, ended)),
    )


def _answered(history: History) -> Question:
    questions, waits = history.questions.get("period", {}), history.waits.get("period", {})
    every = {
        number: _ways(questions.get(number, Questions()), waits.get(number, Waits())) for number in {*questions, *waits}
    }
    ways = ("Inline", "Callback", "Poll", "Reused")
    total = _ways(history.questions["all"][""], history.waits["all"][""])

    def cells(counts: tuple[int, ...]) -> tuple[Cell, ...]:
        return *(_share(share) for share in _shares(counts)), _about(history, sum(counts))

    return Question(
        "answered",
        "How do answers arrive?",
        tuple((as_share(share), way.lower()) for way, share in zip(ways, _shares(total), strict=True) if share),
        "Inline: with the question itself. Reused: taken from an earlier lookup of the same person, without asking.",
        "stack",
        "share",
        _over_time(history, "Answers", every, (0,) * len(ways), cells, (*ways, "Answers"), len(ways)),
    )


def _ways(questions: Questions, waits: Waits) -> tuple[int, ...]:
    return questions.inline, questions.callback, questions.poll, waits.reused


def _shares(counts: tuple[int, ...]) -> list[float | None]:
    return [count / sum(counts) if any(counts) else None for count in counts]


def _waited(history: History) -> Question:
    def cells(one: Waits) -> tuple[Cell, ...]:
        return (
            Cell(as_duration(one.half), one.half),
            Cell(as_duration(one.most), one.most),
            _about(history, one.numbers),
        )

    columns = ("Half within", "95 % within", "Numbers")
    waits = history.waits
    total = waits["all"][""]
    return Question(
        "waited",
        "How long does a number take?",
        ((as_duration(total.half), "half within"), (as_duration(total.most), "95 % within")) if total.numbers else (),
        "From the creation of a lookup to its number. Reused answers take no time, and are left out.",
        "lines",
        "seconds",
        _over_time(history, "Times to a number", waits.get("period", {}), Waits(), cells, columns, 2),
        (
            _by("By provider whose number it is", "Provider", waits.get("provider", {}), cells, columns),
            _by("By source", "Source", waits.get("source", {}), cells, columns),
        ),
    )


def _credits(history: History) -> Question:
    def cells(one: Credits) -> tuple[Cell, ...]:
        return Cell(_money(one.charged), float(one.charged)), Cell(_money(one.possible), float(one.possible))

    total = history.credits["all"][""]
    return Question(
        "credits",
        "What became of the credits?",
        (
            (as_amount(total.charged), "charged"),
            (as_amount(total.possible), "possibly charged"),
            (as_amount(history.reserved), "reserved now"),
        ),
        "On the day whose budget they used. Possibly charged: the outcome of the question is not known.",
        "stack",
        "credits",
        _over_time(history, "Credits", history.credits["period"], Credits(), cells, ("Charged", "Possibly charged"), 2),
    )


def _cost(history: History) -> Question:
    def cells(one: Questions) -> tuple[Cell, ...]:
        return (
            Cell(_money(one.cost), None if one.cost is None else float(one.cost)),
            _about(history, one.numbers),
            _about(history, one.charged),
            _about(history, one.possible),
        )

    columns = ("Per number", "Numbers", "Charged", "Possibly charged")
    questions = history.questions
    total = questions["all"][""]
    places = {key: f"asked {ORDINALS.get(key, key + 'th')}" for key in questions.get("place", {})}
    return Question(
        "cost",
        "What does a number cost?",
        ((_money(total.cost), "credits per number"),) if total.numbers else (),
        "Credits charged for all questions about the lookups created then, with those that found nothing, for each "
        "number that a lookup got.",
        "lines",
        "credits",
        _over_time(history, "Credits per number", questions.get("period", {}), Questions(), cells, columns, 1),
        (
            _by("By provider", "Provider", questions.get("provider", {}), cells, columns),
            _by("By source", "Source", questions.get("source", {}), cells, columns),
            _by("By place in the chain", "Place", questions.get("place", {}), cells, columns, places),
        ),
    )


def _share(share: float | None) -> Cell:
    return Cell(as_share(share), share)


def _money(credits: Decimal | None) -> str:
    """Write credits with two decimals, so that they stand below one another."""
    return "" if credits is None else f"{credits:,.2f}"


def _about(history: History, counted: int | Decimal) -> Cell:
    """Write a count or credits, or of a sample what they stand for."""
    if history.share == 1.0 or not counted:
        return Cell(as_amount(counted) if isinstance(counted, int) else _money(counted))
    about = float(counted) / history.share
    return Cell(f"≈ {as_amount(round(about, -max(0, len(str(round(about))) - 3)))}")
