"""Disturbances on purpose: slow statements always, and breaks that the promises must notice."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import store.endings
import store.ends
import store.intake
import store.late
import store.lookups
import store.searches
from enrichment.decide import World

CHUNK = 2  # lookups of one commit, so that most ends need several


@contextmanager
def slowly(seed: int, longest: float) -> Iterator[None]:
    """Let time pass between the statements of a transaction, where others get a turn, and make chunks small."""
    chance = random.Random(f"slow {seed}")

    def slow(module: ModuleType, name: str) -> Any:
        real: Callable[..., Any] = getattr(module, name)

        async def delayed(*args: Any, **more: Any) -> Any:
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * longest)
            return await real(*args, **more)

        return patch.object(module, name, delayed)

    with ExitStack() as patches:
        patches.enter_context(patch.object(store.endings, "CHUNK", CHUNK))
        for module, name in (
            (store.intake, "save_world"),
            (store.lookups, "save_world"),
            (store.endings, "end_lookups"),
            (store.late, "_drop_next_question"),
        ):
            patches.enter_context(slow(module, name))
        yield


@contextmanager
def hearsay() -> Iterator[None]:
    """Share answers under keys that the asked contact did not hold."""
    with patch.object(World, "answering", World.knowing):
        yield


@contextmanager
def no_sharing() -> Iterator[None]:
    """Keep contested addresses as keys: mark none as shared."""
    with patch.object(World, "share", lambda self, key: None):
        yield


@contextmanager
def no_lock() -> Iterator[None]:
    """Read the searches of a decision without locking them."""
    broken = _without(store.searches, "lock_searches", "FOR NO KEY UPDATE")
    with (
        patch.object(store.searches, "lock_searches", broken),
        patch.object(store.intake, "lock_searches", broken),
    ):
        yield


@contextmanager
def no_fence() -> Iterator[None]:
    """Sweep a search even if its end has changed since it was read."""
    broken = _without(store.ends, "lock_unswept", "FOR NO KEY UPDATE")
    with patch.object(store.endings, "lock_unswept", broken):
        yield


BREAKS = {"hearsay": hearsay, "no sharing": no_sharing, "no lock": no_lock, "no fence": no_fence}


def _without(module: ModuleType, name: str, text: str) -> Any:
    """Return the function without *text* in its source."""
    source = inspect.getsource(getattr(module, name))
    assert text in source, f"{name} has changed: {text!r} is not in it"
    namespace = dict(vars(module))
    exec(f"from __future__ import annotations\n{source.replace(text, '')}", namespace)  # noqa: S102
    return namespace[name]
