"""`make soak`: it runs, and its judgement is one: each of its rules can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from chaos.soak.judge import BUSY, GROWING, judge, judge_course
from chaos.soak.load import events
from chaos.soak.sample import Sample, Table
from rig.processes import environment
from tests import forked
from tests.commands import ROOT

PATIENCE = 90.0  # seconds, on a machine that is busy; alone it takes about ten
EVERY, SECONDS, RATE = 5.0, 1800.0, 100  # of the runs that are made up here
Change = Callable[[Sample], Sample]


def run(change: Change = lambda sample: sample) -> list[Sample]:
    """A run that was as flat as can be, but for *change*."""
    return [change(flat(EVERY * number)) for number in range(int(SECONDS / EVERY) + 1)]


def flat(at: float) -> Sample:
    finished = int(RATE * at)
    busy = {
        name: Table(
            dead=int(1000 + at * 300 % 20_000), changes=3 * finished, size=4 << 20, indexes=2 << 20,
            vacuums=int(at / 60),
        )
        for name in BUSY
    }  # fmt: skip
    history = {name: Table(0, 0, 8192 + 300 * finished, 8192 + 100 * finished, 0) for name in GROWING}
    memory = {"receiver": 60 + min(at / 60, 5), "submitter": 70.0, "reconciler": 55.0}
    return Sample(at, finished + 120, 120, 9000 * finished, 20, memory, busy | history)


def _rises(at: float, by: float) -> float:
    """From 1 at the beginning to 1 + *by* at the end."""
    return 1 + by * at / SECONDS


def table(name: str, change: Callable[[Table, float], Table]) -> Change:
    """One table is otherwise."""
    return lambda sample: replace(sample, tables=dict(sample.tables) | {name: change(sample.tables[name], sample.at)})


def leak(process: str, mb: float) -> Change:
    """A process holds so many MB more at the end than at the beginning."""
    return lambda sample: replace(
        sample, memory=dict(sample.memory) | {process: sample.memory[process] + mb * sample.at / SECONDS}
    )


def broken(samples: list[Sample]) -> set[str]:
    """Return the rules that the judgement finds broken."""
    return {finding.about for finding in judge(samples) if not finding.holds}


def test_a_flat_run_is_flat() -> None:
    """Warm-up, the ups and downs of vacuum, and history that grows by as much with every lookup are no fault."""
    findings = judge(run())

    assert [finding.about for finding in findings if finding.holds is not True] == []
    assert len(findings) == 3 + 2 * len(BUSY) + 2 + len(GROWING) + 2


FAULTS: dict[str, Change] = {
    "memory of submitter": leak("submitter", 30),
    "memory of receiver": leak("receiver", 30),
    "dead rows of jobs": table("jobs", lambda one, at: replace(one, dead=int(40 * at))),
    "dead rows of usage": table("usage", lambda one, at: replace(one, dead=100_000)),
    "size of jobs with its indexes": table("jobs", lambda one, at: replace(one, indexes=int((4 << 20) + 3000 * at))),
    "size of limits with its indexes": table("limits", lambda one, at: replace(one, size=int(5000 * at))),
    "lookups open": lambda sample: replace(sample, open=int(120 + sample.at)),
    "connections to PostgreSQL": lambda sample: replace(sample, connections=20 + int(sample.at / 100)),
    "bytes per lookup in ledger": table(
        "ledger", lambda one, at: replace(one, size=int(one.size * _rises(at, 1.0) ** 2))
    ),
    "bytes of WAL per lookup": lambda sample: replace(sample, wal=int(sample.wal * _rises(sample.at, 1.0))),
}


@pytest.mark.parametrize("about", FAULTS)
def test_whatever_grows_is_found(about: str) -> None:
    """Each rule is broken by the one growth that it is for."""
    assert broken(run(FAULTS[about])) - {"bytes per lookup in all of these"} == {about}


def test_all_tables_together_are_held_to_less_than_each() -> None:
    """Pages of one index split in waves; those of all of them do not."""

    def swell(sample: Sample) -> Sample:
        grown = {
            name: replace(sample.tables[name], size=int(sample.tables[name].size * _rises(sample.at, 0.6)))
            for name in GROWING
        }
        return replace(sample, tables=dict(sample.tables) | grown)

    assert broken(run(swell)) == {"bytes per lookup in all of these"}


def test_a_short_run_is_not_judged() -> None:
    """In less than two rounds of autovacuum nothing can be said about growth: neither good nor bad."""
    short = [sample for sample in run(FAULTS["memory of submitter"]) if sample.at < 350]

    assert [finding.holds for finding in judge(short)] == [None]
    assert [finding.holds for finding in judge([])] == [None]


def test_wal_is_compared_only_where_each_third_has_a_checkpoint() -> None:
    """After a checkpoint every page is logged whole, once; a third without one is no measure for a third with one."""
    ten_minutes = [sample for sample in run() if sample.at <= 600]

    assert [finding.about for finding in judge(ten_minutes) if finding.holds is not True] == ["bytes of WAL per lookup"]


COURSES = {
    "answers to events": ({"202": 990, "503": 10}, 0, 1000),
    "load": ({"202": 500}, 0, 500),
    "lookups without an end": ({"202": 1000}, 1, 1000),
}


@pytest.mark.parametrize("about", COURSES)
def test_what_holds_after_any_time_can_be_broken(about: str) -> None:
    """Every event is taken, as many as were wanted, and every lookup ends."""
    answers, left, accepted = COURSES[about]
    settled = replace(flat(SECONDS), accepted=accepted, open=left)
    well = judge_course(1000, {"202": 980}, replace(settled, accepted=980, open=0))

    assert [finding.about for finding in judge_course(1000, answers, settled) if not finding.holds] == [about]
    assert [finding.about for finding in well if not finding.holds] == []


def test_the_same_seed_is_the_same_crowd() -> None:
    """Most people are new, some come again, and some events are sent twice."""
    one, same, other = (list(islice(events(seed, 100.0), 2000)) for seed in (1, 1, 2))

    assert one == same != other
    people = {event["work_email"] for _, event in one}
    ids = {event["event_id"] for _, event in one}
    assert 1700 < len(people) < len(ids) < 2000
    assert one[-1][0] == pytest.approx(20, rel=0.2)


async def test_a_few_seconds_run_to_their_end(tmp_path: Path) -> None:
    """The real command: every event taken, every lookup ended, a report of all that was measured."""
    ended = await forked.run(
        "chaos.soak", "--seed", "1", "--receivers", "1", "--report", str(tmp_path),
        cwd=ROOT, env=environment(MINUTES="0.05", RATE="40"), within=PATIENCE, starts_forks=True,
    )  # fmt: skip

    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["holds"], report["judged"]) == (True, False)
    assert set(report["answers"]) == {"202"}
    assert report["machine"]["postgres"]["fsync"] == "on"
    last = report["samples"][-1]
    assert last["tables"].keys() >= {*BUSY, *GROWING}
    assert last["memory"].keys() == {"receiver", "submitter", "reconciler"}
    assert all(report["bytes_per_lookup"][name] > 0 for name in ("lookups", "finished_jobs", "keys", "events", "wal"))
    assert "too short" in (tmp_path / "report.txt").read_text()
