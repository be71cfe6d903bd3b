"""The three promises hold whatever happens, in whatever order; and the model notices when they do not.

MODEL_EXAMPLES=1000 explores further than CI does, and differently each time.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import MakeSettings
from tests.model.protocol import JobProtocol, WithoutFence
from tests.model.world import World

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
PROFILE = settings(
    phases=[Phase.generate],
    max_examples=EXAMPLES or 40,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def world(database_url: str, make_settings: MakeSettings) -> Iterator[World]:
    """The receiver, the submitters, the reconciler and the vendors on a database of the test's own."""
    # A line per transition, for thousands of transitions, is nothing to read.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with World(database_url, make_settings) as opened:
        yield opened
    structlog.reset_defaults()


def test_promises_hold_whatever_happens(world: World) -> None:
    """Nothing is lost, nothing is paid for twice, nothing waits for ever."""

    class Model(JobProtocol):
        pass

    Model.world, Model.seen = world, Counter()
    run_state_machine_as_test(Model, settings=PROFILE)
    for what, n in Model.seen.most_common():
        print(f"{n:6} {what}")


def test_model_notices_a_removed_fence(world: World) -> None:
    """A check that cannot fail is worth nothing."""

    class Broken(WithoutFence):
        pass

    Broken.world, Broken.seen = world, Counter()
    # Of twelve seeds, all found it, the slowest in its 63rd run; this one needs a few.
    seeded = settings(PROFILE, max_examples=200, derandomize=False, database=None)
    with pytest.raises(AssertionError, match=r"without an excuse|our ledger"):
        run_state_machine_as_test(seed(5)(Broken), settings=seeded)
