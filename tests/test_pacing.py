"""The limiter's arithmetic against pretend vendors that count, over networks that delay."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrichment.pacing import HORIZON, SLACK, SLACK_MOST, SLICES, Meter, permits, spend, wait

quick = settings(max_examples=10, deadline=None, database=None, derandomize=True)
few = settings(quick, max_examples=4)

PER_SECOND = [Meter("any", 1, 50)]
PER_MINUTE = [Meter("any", 60, 100)]
LEADMAGIC = [Meter("any", 60, 3000), Meter("any", 86_400, 500_000)]
PER_HOUR = [Meter("any", 3600, 1000)]
FEW_PER_HOUR = [Meter("any", 60, 100), Meter("any", 3600, 10)]
NYNE = [Meter("any", 60, 100), Meter("any", 3600, 1000)]

each_limit = pytest.mark.parametrize(
    ("meters", "seconds"),
    [
        pytest.param(PER_SECOND, 12, id="50/s"),
        pytest.param(PER_MINUTE, 400, id="100/min"),
        pytest.param(LEADMAGIC, 90, id="3000/min"),
        pytest.param(PER_HOUR, 11_500, id="1000/h"),
        pytest.param(FEW_PER_HOUR, 11_500, id="10/h"),
        pytest.param(NYNE, 11_500, id="100/min+1000/h"),
    ],
)
# Any moment; and shortly before a slice of the hour ends, where what leaves in one slice arrives in the next.
starts = st.floats(0, 7200) | st.integers(1, 300).map(lambda slices: slices * 3600 / SLICES - 0.01)


def leave(meters: Sequence[Meter], start: float, seconds: float, chance: random.Random, *, greedy: bool) -> list[float]:
    """When requests leave, asked for by several processes that take turns by chance; greedy ones never rest."""
    now, times = start, []
    while now < start + seconds:
        given_out = permits(meters, now, chance.randint(1, 100))
        meters = spend(meters, now, given_out)
        times += given_out
        now += max(wait(meters, now), 0.001) + (0 if greedy else chance.choice([0, 0, chance.random() * seconds / 20]))
    return times


def arrive(times: Sequence[float], meters: Sequence[Meter], chance: random.Random) -> list[float]:
    """When they arrive: late by as much as the shortest window has slack for."""
    late = min(min(meter.window * SLACK, SLACK_MOST) for meter in meters) * 0.999
    return sorted(time + chance.choice([0, chance.random(), 1]) * late for time in times)


def refused_by_sliding(arrivals: Sequence[float], meters: Sequence[Meter]) -> int:
    """How many 429s a vendor answers that looks back one window at each request."""
    return sum(
        index + 1 - bisect_left(arrivals, at - meter.window) > meter.allowance
        for meter in meters
        for index, at in enumerate(arrivals)
    )


def refused_by_fixed(arrivals: Sequence[float], meters: Sequence[Meter], phase: float) -> int:
    """How many 429s a vendor answers that starts to count anew at each full window of its clock."""
    return sum(
        max(0, count - meter.allowance)
        for meter in meters
        for count in Counter(int((at - phase) // meter.window) for at in arrivals).values()
    )


@each_limit
@quick
@given(start=starts, seed=st.integers(0, 10**6), greedy=st.booleans())
def test_a_sliding_vendor_never_refuses(
    meters: list[Meter], seconds: float, start: float, seed: int, greedy: bool
) -> None:
    """No window of any length's own, wherever it begins, sees more requests than its allowance."""
    chance = random.Random(seed)

    arrivals = arrive(leave(meters, start, seconds, chance, greedy=greedy), meters, chance)

    assert refused_by_sliding(arrivals, meters) == 0


@each_limit
@quick
@given(start=starts, seed=st.integers(0, 10**6), phase=st.floats(0, 3600))
def test_a_vendor_that_counts_by_the_clock_never_refuses(
    meters: list[Meter], seconds: float, start: float, seed: int, phase: float
) -> None:
    """Permits respect every window of the vendor's own clock, whatever its phase."""
    chance = random.Random(seed)

    arrivals = arrive(leave(meters, start, seconds, chance, greedy=True), meters, chance)

    assert refused_by_fixed(arrivals, meters, phase) == 0


@pytest.mark.parametrize(
    ("meters", "seconds"),
    [
        pytest.param(PER_SECOND, 20, id="50/s"),
        pytest.param(PER_MINUTE, 600, id="100/min"),
        pytest.param(LEADMAGIC, 130, id="3000/min"),
    ],
)
@few
@given(start=starts, seed=st.integers(0, 10**6))
def test_a_paced_limit_is_used(meters: list[Meter], seconds: float, start: float, seed: int) -> None:
    """At least 98 % of the allowance is used when there is enough to ask."""
    times = leave(meters, start, seconds, random.Random(seed), greedy=True)

    assert len(times) >= 0.98 * seconds * meters[0].allowance / meters[0].window


@pytest.mark.parametrize("meters", [PER_HOUR, NYNE], ids=["1000/h", "100/min+1000/h"])
@few
@given(start=starts, seed=st.integers(0, 10**6))
def test_a_counted_limit_is_used(meters: list[Meter], start: float, seed: int) -> None:
    """From one full hour to the next, at least 98 % of the hour's allowance is used."""
    times = leave(meters, start, 25_000, random.Random(seed), greedy=True)

    cycles = [times[index + 1000] - times[index] for index in range(0, len(times) - 1000, 1000)]
    assert len(cycles) > 5
    assert 3600 / (sum(cycles) / len(cycles)) >= 0.98


def test_a_burst_may_use_what_the_hour_still_has() -> None:
    """A long window does not pace: after a quiet time its whole allowance may leave at once."""
    times = permits(PER_HOUR, 5000.0, 2000)

    assert times == [5000.0] * 1000


def test_permits_are_handed_out_only_shortly_ahead() -> None:
    """No permit lies further ahead than the horizon, so that a process that dies takes few with it."""
    times = permits(PER_MINUTE, 100.0, 1000)
    meters = spend(PER_MINUTE, 100.0, times)

    assert max(times) <= 100.0 + HORIZON
    assert permits(meters, 100.0, 1000) == []


@quick
@given(start=starts, seed=st.integers(0, 10**6))
def test_waiting_as_told_is_enough_and_no_more_than_needed(start: float, seed: int) -> None:
    """After the wait there is a permit again; shortly before its end there is none."""
    chance = random.Random(seed)
    meters: Sequence[Meter] = NYNE
    now = start
    for _ in range(600):
        given_out = permits(meters, now, chance.randint(1, 3))
        meters = spend(meters, now, given_out)
        pause = wait(meters, now)
        if pause > 0.01:
            assert permits(meters, now + pause - 0.01, 1) == []
        now += pause + 1e-6
        assert permits(meters, now, 1)


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    """When the database's clock is set back by hours, spent permits stay spent, and new ones count too."""
    before = spend(PER_HOUR, 100_000.0, permits(PER_HOUR, 100_000.0, 600))
    after = spend(before, 90_000.0, permits(before, 90_000.0, 1000))

    assert sum(after[0].spent) == 1000
    assert [permits(after, now, 1) for now in (90_000.0, 93_590.0, 100_000.0, 103_590.0)] == [[]] * 4


def test_a_lowered_allowance_holds_at_once() -> None:
    """If the vendor lowers the allowance below the requests sent, none is sent until enough of those have expired."""
    (spent,) = spend(PER_HOUR, 0.0, permits(PER_HOUR, 0.0, 1000))
    lowered = [Meter("any", 3600, 500, spent.next_at, spent.spent, spent.spent_at)]

    assert permits(lowered, 1800.0, 1) == []
    assert 1800 <= wait(lowered, 1800.0) <= 1800 + 2 * 3600 / SLICES
