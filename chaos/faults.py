"""How to cause each kind of fault, and undo it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, get_args

import asyncpg

from chaos import contacts
from chaos.contacts import Deed
from chaos.database import MAX_CONNECTIONS, USER, session
from chaos.pair import Pair
from chaos.plan import KINDS, OF_A_STANDBY, Fault
from chaos.results import Ill
from chaos.world import World
from rig.kept import Kept
from rig.weather import Weather

Act = Callable[[World, Fault], AbstractAsyncContextManager[None]]

SERVERS = ("database", "standby")  # lanes
STATUSES = {
    "leadmagic": (503, 502, 500, 504), "nyne": (503, 500, 502, 504), "hubspot": (500, 502, 503, 504),
}  # fmt: skip
DEED_EVERY = 0.3  # seconds
LOCKED_ROWS = 30
RECOVERED_WITHIN = 30.0  # seconds
GONE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


def act(world: World, fault: Fault) -> AbstractAsyncContextManager[None]:
    """Hold the fault inside the block; undo it afterwards."""
    what = _ACTS[fault.kind.name](world, fault)
    return _alone(world, what) if fault.kind.lane in SERVERS and isinstance(world.postgres, Pair) else what


@asynccontextmanager
async def _alone(world: World, what: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
    """Let the servers suffer one fault at a time: none of them is started again as the other one's standby."""
    async with world.servers, what:
        yield


async def _target(world: World, fault: Fault, kind: str) -> Kept:
    """Return the chosen process once it runs: another fault may have just killed it."""
    process = world.of(kind)[fault.choice % 2]
    async with asyncio.timeout(10):
        while not process.running:
            await asyncio.sleep(0.05)
    return process


def _kill(kind: str) -> Act:
    @asynccontextmanager
    async def kill(world: World, fault: Fault) -> AsyncIterator[None]:
        (await _target(world, fault, kind)).kill()
        yield

    return kill


def _freeze(kind: str) -> Act:
    @asynccontextmanager
    async def freeze(world: World, fault: Fault) -> AsyncIterator[None]:
        process = await _target(world, fault, kind)
        process.freeze()
        try:
            yield
        finally:
            process.thaw()

    return freeze


@asynccontextmanager
async def _crash(world: World, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(world.postgres.crash)
    try:
        yield
    finally:
        await asyncio.to_thread(world.postgres.start)


@asynccontextmanager
async def _primary_dies(world: World, _: Fault) -> AsyncIterator[None]:
    pair = world.pair
    await asyncio.to_thread(pair.primary.kill)
    try:
        yield
    finally:
        await pair.promote()
        await pair.replicate()


@asynccontextmanager
async def _standby_dies(world: World, _: Fault) -> AsyncIterator[None]:
    pair = world.pair
    await asyncio.to_thread(pair.standby.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(pair.standby.start)
        await pair.until_synchronous()


@asynccontextmanager
async def _standby_is_given_up(world: World, _: Fault) -> AsyncIterator[None]:
    pair = world.pair
    await asyncio.to_thread(pair.standby.kill)
    await pair.wait_for("")
    try:
        yield
    finally:
        await pair.replicate()


@asynccontextmanager
async def _terminate(world: World, fault: Fault) -> AsyncIterator[None]:
    admin = await _session_soon(world)
    try:
        await _terminate_share(admin, fault.strength)
        yield
    finally:
        await admin.close(timeout=5)


@asynccontextmanager
async def _exhaust(world: World, fault: Fault) -> AsyncIterator[None]:
    strangers: list[asyncpg.Connection[Any]] = []
    admin = await _session_soon(world)
    taking = asyncio.create_task(_take_connections(world, strangers))
    try:
        await asyncio.sleep(0.2)
        await _terminate_share(admin, fault.strength)  # so that our processes have to connect again, and cannot
        yield
    finally:
        taking.cancel()
        await asyncio.wait([taking])
        for connection in (*strangers, admin):
            connection.terminate()


async def _take_connections(world: World, strangers: list[asyncpg.Connection[Any]]) -> None:
    while len(strangers) < MAX_CONNECTIONS:
        try:
            strangers.append(await session(world.postgres, USER))
        except GONE:
            await asyncio.sleep(0.02)  # full: wait until a session ends


async def _session_soon(world: World) -> asyncpg.Connection[asyncpg.Record]:
    """Open a session, also right after a crash, when PostgreSQL is still recovering."""
    async with asyncio.timeout(RECOVERED_WITHIN):
        while True:
            try:
                return await session(world.postgres)
            except GONE:
                await asyncio.sleep(0.1)


async def _terminate_share(admin: asyncpg.Connection[Any], share: float) -> None:
    await admin.execute(
        """
        SELECT pg_terminate_backend(pid)
          FROM pg_stat_activity
         WHERE usename = $1 AND application_name LIKE 'ringback%' AND random() < $2
        """,
        USER,
        share,
    )


@asynccontextmanager
async def _idle_in_transaction(world: World, fault: Fault) -> AsyncIterator[None]:
    stranger = await _session_soon(world)
    try:
        await stranger.execute("BEGIN; SET LOCAL lock_timeout = '1s'")
        for statement in (
            f"SELECT id FROM jobs ORDER BY random() LIMIT {LOCKED_ROWS} FOR UPDATE SKIP LOCKED",  # noqa: S608
            f"SELECT id FROM lookups ORDER BY id DESC LIMIT {LOCKED_ROWS} FOR UPDATE SKIP LOCKED",  # noqa: S608
            f"SELECT id FROM searches ORDER BY id DESC LIMIT {LOCKED_ROWS} FOR UPDATE SKIP LOCKED",  # noqa: S608
            f"SELECT key FROM keys ORDER BY random() LIMIT {LOCKED_ROWS} FOR UPDATE SKIP LOCKED",  # noqa: S608
            # A lock on this one stops a provider altogether.
            f"SELECT allowance FROM limits WHERE {fault.choice % 3 == 0} LIMIT 1 FOR UPDATE SKIP LOCKED",  # noqa: S608
        ):
            await stranger.execute(statement)
        yield
    finally:
        with suppress(*GONE):
            await stranger.execute("ROLLBACK")
        stranger.terminate()


def _weather(link: str, weather: Callable[[Fault], Weather]) -> Act:
    @asynccontextmanager
    async def befall(world: World, fault: Fault) -> AsyncIterator[None]:
        async with world.link(link).under(weather(fault)):
            yield

    return befall


def _resets(link: str, share: float) -> Act:
    return _weather(link, lambda fault: Weather(reset=fault.strength * share))


def _vendor(vendor: str, faults: Callable[[World, Fault], dict[str, Any]]) -> Act:
    @asynccontextmanager
    async def befall(world: World, fault: Fault) -> AsyncIterator[None]:
        who = world.hubspot if vendor == "hubspot" else world.vendors[vendor]
        with who.suffering(faults(world, fault)):
            await who.tell()
            yield
        await who.tell()

    return befall


def _nyne(rate: str) -> Act:
    return _vendor("nyne", lambda _, fault: {rate: fault.strength})


def _statuses(vendor: str) -> Callable[[World, Fault], dict[str, Any]]:
    def storm(world: World, fault: Fault) -> dict[str, Any]:
        hurried = world.terms.hurried and vendor == "leadmagic"
        statuses = [status for status in STATUSES[vendor] if not (hurried and status == 500)]
        return {"error_rate": fault.strength, "error_status": statuses[fault.choice % len(statuses)]}

    return storm


def _people(deed: Deed | None, more: Act | None = None) -> Act:
    """Let people do *deed* to contacts, or without one suppress them through our API, while *more* is in force."""

    @asynccontextmanager
    async def work(world: World, fault: Fault) -> AsyncIterator[None]:
        async with more(world, fault) if more else nullcontext():
            working = asyncio.create_task(
                world.contacts.suffer(deed or world.rights.suppress, DEED_EVERY, fault.seconds)
            )
            try:
                yield
                await working
            finally:
                working.cancel()

    return work


@asynccontextmanager
async def _revoke(world: World, fault: Fault) -> AsyncIterator[None]:
    async with world.hubspot.revoked():
        yield


def _results(ill: Ill) -> Act:
    @asynccontextmanager
    async def befall(world: World, fault: Fault) -> AsyncIterator[None]:
        with world.results.suffering(ill, fault.strength):
            yield

    return befall


def _hubspot(**rates: float) -> Act:
    """Set these faults of HubSpot's, each at its share of the fault's strength."""
    return _vendor("hubspot", lambda _, fault: {name: fault.strength * share for name, share in rates.items()})


def _acts_of_the_crm() -> Iterator[tuple[str, Act]]:
    yield "hubspot 5xx storm", _vendor("hubspot", _statuses("hubspot"))
    yield "hubspot 429 storm", _hubspot(rate_limit_storm=1, search_limit_storm=1)
    yield "hubspot 423 storm", _hubspot(locked_rate=1)
    yield (
        "hubspot hangs",
        _vendor("hubspot", lambda w, f: {"hang_rate": f.strength / 2, "hang_seconds": w.terms.timeout * 2}),
    )
    yield "hubspot answers lost", _hubspot(disconnect_after_accept=0.5)
    yield "hubspot answers torn", _hubspot(torn_answers=0.5)
    yield "hubspot lies", _hubspot(garbage_answers=0.5, ignored_writes=0.5)
    yield "hubspot token revoked", _revoke
    yield "hubspot black hole", _weather("hubspot", lambda _: Weather(black_hole=True))
    yield "hubspot slow bytes", _weather("hubspot", lambda _: Weather(slow=True))
    yield "hubspot reset", _resets("hubspot", 0.5)
    yield "events dropped", _hubspot(drop_events=1)
    yield "events duplicated", _hubspot(duplicate_events=1)
    yield "events reordered", _hubspot(reorder_events=1)
    yield "events late", _vendor("hubspot", lambda w, _: {"delay_events_seconds": [1, w.terms.late[0]]})
    yield "events forged", _hubspot(forge_events=1)
    yield "events of another account", _hubspot(other_portal=1)
    yield "humans write", _people(contacts.write, _hubspot(human_edits=1))
    yield "humans clear", _people(contacts.clear)
    yield "contacts merged", _people(contacts.merge)
    yield "contacts deleted", _people(contacts.delete)
    yield "contacts erased", _people(contacts.erase)
    yield "people suppressed", _people(None)
    for ill in get_args(Ill):
        yield f"results {ill}", _results(ill)


def _acts() -> Iterator[tuple[str, Act]]:
    for kind in ("receiver", "submitter", "reconciler"):
        yield f"kill a {kind}", _kill(kind)
        yield f"freeze a {kind}", _freeze(kind)
    yield "PostgreSQL crash", _crash
    yield "primary dies", _primary_dies
    yield "standby dies", _standby_dies
    yield "standby is given up", _standby_is_given_up
    yield "sessions terminated", _terminate
    yield "connections refused", _weather("database", lambda _: Weather(refuse=True))
    yield "pool exhaustion", _exhaust
    yield "idle in transaction", _idle_in_transaction
    for link in ("database", "leadmagic", "nyne", "callbacks"):
        yield f"{link} black hole", _weather(link, lambda _: Weather(black_hole=True))
        yield f"{link} slow bytes", _weather(link, lambda _: Weather(slow=True))
        # The database answers many times for one lookup: fewer resets have the same effect there.
        yield f"{link} reset", _resets(link, 0.1 if link == "database" else 0.5)
    yield "CRM reset", _resets("crm", 1)
    for name in ("leadmagic", "nyne"):
        yield f"{name} 5xx storm", _vendor(name, _statuses(name))
        yield f"{name} 429 storm", _vendor(name, lambda _, f: {"rate_limit_storm": f.strength})
        yield (
            f"{name} hangs",
            _vendor(name, lambda w, f: {"hang_rate": f.strength / 2, "hang_seconds": w.terms.timeout * 2}),
        )
        yield f"{name} answers lost", _vendor(name, lambda _, f: {"disconnect_after_accept": f.strength / 2})
        yield f"{name} byte by byte", _vendor(name, lambda _, f: {"slow_bytes": f.strength})
        yield f"{name} 402", _vendor(name, lambda _, __: {"payment_required": True})
    for what, fault_name in (
        ("callbacks dropped", "drop_callbacks"),
        ("callbacks duplicated", "duplicate_callbacks"),
        ("callbacks early", "early_callbacks"),
        ("callbacks forged", "forge_callbacks"),
        ("callbacks for another job", "wrong_job_callbacks"),
        ("callbacks unreadable", "unreadable_callbacks"),
        ("requests forgotten", "forget_requests"),
    ):
        yield what, _nyne(fault_name)
    yield "callbacks late", _vendor("nyne", lambda w, _: {"delay_callbacks_seconds": w.terms.late})
    yield from _acts_of_the_crm()


_ACTS: dict[str, Act] = dict(_acts())
assert _ACTS.keys() == {kind.name for kind in (*KINDS, *OF_A_STANDBY)}
