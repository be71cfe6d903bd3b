"""The kinds of rounds: what dies, who is promoted, and what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from chaos.database import session
from chaos.failover.world import World

NOTICED_AFTER = 1.0  # seconds until the failover manager has noticed that the primary is gone
ALONE = 1.5  # seconds for which a primary is left without its standby, after /readyz has said so
UNREADY_WITHIN = 12.0  # seconds
BACK_WITHIN = 60.0  # seconds
LOOK_EVERY = 0.02  # seconds


@dataclass(slots=True)
class Round:
    """One round: what was done, and when which process worked again."""

    kind: str
    began: float = 0.0  # the loss
    able: float = 0.0  # a primary can commit again
    ended: float = 0.0
    receivers: list[float | None] = field(default_factory=list)  # until the next 2xx, in seconds since it began
    submitters: list[float | None] = field(default_factory=list)  # until it has stored the next question
    counts: dict[str, int] = field(default_factory=dict)
    offences: list[str] = field(default_factory=list)


Act = Callable[[World, Round], Awaitable[None]]


async def play(world: World, kind: str) -> Round:
    """Play one round of this kind, and wait until everything works again, with a standby."""
    one = Round(kind, began=time.time())
    await KINDS[kind](world, one)
    await _until_all_work(world, one)
    one.ended = time.time()
    return one


async def _until_all_work(world: World, one: Round) -> None:
    """Wait until both receivers and both submitters have worked again, at most BACK_WITHIN."""
    since = max(one.began, one.able if one.kind in LOSSES else 0.0)
    until = time.time() + BACK_WITHIN
    while time.time() < until:
        acknowledged = [world.acknowledged(number, since) for number in (0, 1)]
        stored = [world.stored(number, since) for number in (0, 1)]
        if all((*acknowledged, *stored)):
            break
        await asyncio.sleep(LOOK_EVERY)
    one.receivers = [at and at - since for at in acknowledged]
    one.submitters = [at and at - since for at in stored]
    for what, times in (("receiver", one.receivers), ("submitter", one.submitters)):
        for way, seconds in zip(world.ways, times, strict=True):
            if seconds is None:
                one.offences.append(f"{one.kind}: the {what} {way} did not work again within {BACK_WITHIN:.0f} s")


async def _promote(world: World, one: Round) -> None:
    await world.pair.promote()
    world.point()
    one.able = time.time()


async def _primary_killed(world: World, one: Round) -> None:
    await asyncio.to_thread(world.pair.primary.kill)
    one.began = time.time()
    await asyncio.sleep(NOTICED_AFTER)
    await _promote(world, one)
    await _until_all_work(world, one)
    await world.pair.replicate()


async def _primary_cut_off(world: World, one: Round) -> None:
    """Swallow every byte to and from the primary, which lives on; end it when everything works without it."""
    async with world.cut_off(world.pair.at):
        one.began = time.time()
        await asyncio.sleep(NOTICED_AFTER)
        await _promote(world, one)
        await _until_all_work(world, one)
    await _compare_with_the_old(world, one)
    await world.pair.replicate()


async def _primary_left_alive(world: World, one: Round) -> None:
    """Promote the standby though the primary lives and everybody reaches it: a split brain."""
    one.began = time.time()
    await _promote(world, one)
    await _until_all_work(world, one)
    await _compare_with_the_old(world, one)
    await world.pair.replicate()


async def _compare_with_the_old(world: World, one: Round) -> None:
    """Check that the old primary has committed nothing for itself, and end it."""
    theirs = await world.pair.standby.connect("ringback")
    ours = await session(world.pair.primary)
    try:
        waiting = await theirs.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        one.counts["commits that hung at the old primary"] = waiting
        old = {row["id"] for row in await theirs.fetch("SELECT id FROM lookups")}
        new = {row["id"] for row in await ours.fetch("SELECT id FROM lookups WHERE id = ANY($1)", list(old))}
    finally:
        theirs.terminate()
        ours.terminate()
    await asyncio.to_thread(world.pair.standby.kill)
    one.counts["lookups that only the old primary shows"] = len(old - new)
    if old - new:
        one.offences.append(f"{one.kind}: the old primary committed {len(old - new)} lookups alone")


async def _lose_standby(world: World, one: Round) -> None:
    await asyncio.to_thread(world.pair.standby.kill)
    one.began = time.time()


async def _stay_unready(world: World, one: Round) -> None:
    """Wait until both receivers have said that they are not ready, and some time longer."""
    until = time.time() + UNREADY_WITHIN
    while [await world.readiness(number) for number in (0, 1)] != [503, 503]:
        if time.time() > until:
            one.offences.append(f"{one.kind}: a receiver is ready while nothing can be replicated")
            return
        await asyncio.sleep(LOOK_EVERY)
    one.counts["ms until both /readyz said 503"] = round(1000 * (time.time() - one.began))
    await asyncio.sleep(ALONE)


def _check_silence(world: World, one: Round) -> None:
    """Check that nothing that was sent since the standby died was acknowledged."""
    taken = sum(1 for _, begun, _ in world.crm.acknowledged if begun > one.began)
    one.counts["acknowledged while nothing could be replicated"] = taken
    if taken:
        one.offences.append(f"{one.kind}: {taken} messages were acknowledged that were on one server only")


async def _standby_killed(world: World, one: Round) -> None:
    await _lose_standby(world, one)
    await _stay_unready(world, one)
    _check_silence(world, one)
    one.able = time.time()
    await asyncio.to_thread(world.pair.standby.start)
    await world.pair.until_synchronous()


async def _standby_given_up(world: World, one: Round) -> None:
    await _lose_standby(world, one)
    await _stay_unready(world, one)
    _check_silence(world, one)
    one.able = time.time()
    await world.pair.wait_for("")
    await _until_all_work(world, one)
    await world.pair.replicate()


async def _waits_cut_short(world: World, one: Round) -> None:
    """Cancel the waits for a dead standby, then kill the primary: what only it had committed is gone."""
    await _lose_standby(world, one)
    cancelled = 0
    while time.time() < one.began + ALONE:
        cancelled += await world.pair.cut_short()
        await asyncio.sleep(LOOK_EVERY)
    _check_silence(world, one)
    await asyncio.to_thread(world.pair.primary.kill)
    one.counts["commits that were on the dead primary only"] = cancelled
    await asyncio.to_thread(world.pair.standby.start)
    await _promote(world, one)
    await _until_all_work(world, one)
    await world.pair.replicate()


KINDS: dict[str, Act] = {
    "primary killed": _primary_killed,
    "standby killed, and back": _standby_killed,
    "standby killed, and given up": _standby_given_up,
    "waits cut short, primary killed": _waits_cut_short,
    "primary cut off": _primary_cut_off,
    "primary left alive": _primary_left_alive,
}
# They last until a process notices that a living host is of no use: played in every fourth round only.
SLOW = frozenset({"primary cut off", "primary left alive"})
# Their time counts from when a commit is possible again.
LOSSES = frozenset(kind for kind in KINDS if kind.startswith(("standby", "waits")))
