"""The attacks: what each tries, what is right, and whether that was seen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr

from chaos.attacks.ground import CALLBACK_KEY, LEAVES_WITHIN, Ground, attacked, settled_memory
from chaos.attacks.probe import Felt, call, callback, calm, during, event
from enrichment.tokens import callback_url
from rig.processes import output_of, python

RATE = 20.0  # genuine events a second
CALM_SECONDS = 3.0
HAND_WITHIN = 120.0
GIVEN_BACK = 70.0  # seconds: the oldest generation of garbage is collected by the minute
MORE_MEMORY = 100.0  # MB above the calm that an attack may cost
SLOWER = 3.0  # times the calm's p99 that genuine callbacks may take
LATEST = 100.0  # ms, p50 of events under a flood of pages
FORGED_RATE, GENUINE_RATE = 5000, 50.0
LOG_BYTES = 5_000  # a second
IDLE_SECONDS = 50.0  # opening them takes some twenty; then HEAD_TIMEOUT_SECONDS and WRITE_TIMEOUT_SECONDS pass
MOST_STORED = 2_000_000  # bytes of one job's callbacks


@dataclass(frozen=True, slots=True)
class Seen:
    """One attack's result. Memory in MB: before, at most, afterwards."""

    attack: str
    memory: tuple[float, float, float]
    before: str
    meanwhile: str
    seen: str
    right: str
    holds: bool

    def as_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack by a hand of chaos/attacks/hand.py, and the judgement about it."""

    name: str
    hand: str
    argument: str
    right: str
    judge: Callable[[Ground, Felt, Felt, dict[str, Any]], bool]
    settings: tuple[tuple[str, str], ...] = ()

    async def __call__(self, server: str, checkout: Path | None) -> Seen:
        """Attack a receiver of its own."""
        async with attacked(server, self.name, checkout, settings=dict(self.settings)) as ground:
            await calm(ground, event, RATE, 1.0)
            before = await calm(ground, event, RATE, CALM_SECONDS)
            memory = ground.memory
            felt, said = await during(ground, event, RATE, hand(ground, self.hand, self.argument), first=1000)
            after = await settled_memory(ground, memory + MORE_MEMORY / 3, GIVEN_BACK)
            told = json.loads(said) | {"still": await call(ground.port, event(9999))}
            holds = self.judge(ground, before, felt, told) and felt.most_memory - memory < MORE_MEMORY
            levels = (round(memory), round(felt.most_memory), round(after))
            return Seen(self.name, levels, str(before), str(felt), _words(told), self.right, holds)


async def hand(ground: Ground, name: str, argument: str = "") -> str:
    """Let one hand attack; return its last line."""
    said = await output_of(python("chaos.attacks.hand", name, str(ground.port), argument), within=HAND_WITHIN)
    return said.splitlines()[-1]


def _serves(_: Ground, __: Felt, felt: Felt, told: dict[str, Any]) -> bool:
    return not felt.wrong and told["still"] == 202


def _refuses_head(ground: Ground, before: Felt, felt: Felt, told: dict[str, Any]) -> bool:
    return _serves(ground, before, felt, told) and told["sent_kb"] < 8192


def _stays_fast(ground: Ground, before: Felt, felt: Felt, told: dict[str, Any]) -> bool:
    return _serves(ground, before, felt, told) and felt.at(0.5) < LATEST


def _closed(ground: Ground, before: Felt, felt: Felt, told: dict[str, Any]) -> bool:
    return _serves(ground, before, felt, told) and told["opened"] >= 1900


async def idle(server: str, checkout: Path | None) -> Seen:
    """Open 2,000 sockets that are silent, slow or unread, and look how many are left after 25 seconds."""
    async with attacked(server, "idle", checkout) as ground:
        before = await calm(ground, event, RATE, CALM_SECONDS)
        memory, usual = ground.memory, ground.sockets
        attack = asyncio.create_task(hand(ground, "idle", str(IDLE_SECONDS + 5)))
        felt, _ = await during(ground, event, RATE, _word(asyncio.sleep(IDLE_SECONDS)), first=1000)
        left = ground.sockets - usual
        told = json.loads(await attack) | {"open_after_s": IDLE_SECONDS, "left": left}
        levels = (round(memory), round(felt.most_memory), round(ground.memory))
        right = "closed 15 to 20 s after opening"
        return Seen("idle-sockets", levels, str(before), str(felt), _words(told), right, left < 50)


async def upgrade(server: str, checkout: Path | None) -> Seen:
    """Send callbacks that ask for an upgrade; their body must be stored, or refused, and never run as a request."""
    async with attacked(server, "upgrade", checkout) as ground:
        memory = ground.memory
        seen = []
        for when in ("now", "later"):
            told = json.loads(await hand(ground, "upgrade", f"{_genuine()} {when}"))
            stored = await ground.value("SELECT COALESCE(max(length(body)), 0) FROM callbacks")
            seen.append((when, told["answers"], stored, told["body"]))
        words = "; ".join(
            f"{when}: {', '.join(answers)}, {stored} of {body} bytes" for when, answers, stored, body in seen
        )
        holds = all(
            len(answers) == 1 and (stored == body or answers[0].startswith("HTTP/1.1 4"))
            for _, answers, stored, body in seen
        )
        levels = (round(memory), round(ground.memory), round(ground.memory))
        return Seen("upgrade", levels, "", "", words, "one answer each: the body is stored, or refused", holds)


async def different(server: str, checkout: Path | None) -> Seen:
    """Send 200 different bodies to the callback URL of a job that does not exist."""
    async with attacked(server, "different-bodies", checkout) as ground:
        before = await calm(ground, event, RATE, CALM_SECONDS)
        memory = ground.memory
        felt, said = await during(ground, event, RATE, hand(ground, "different", _genuine()), first=1000)
        stored = await ground.value("SELECT COALESCE(sum(length(body)), 0) FROM callbacks")
        after = await settled_memory(ground, memory + MORE_MEMORY / 3, GIVEN_BACK)
        words = f"{_words(json.loads(said))}; {stored / 1e6:.1f} MB stored"
        levels = (round(memory), round(felt.most_memory), round(after))
        right = f"each gets its 200; at most {MOST_STORED / 1e6:.0f} MB stored"
        return Seen("different-bodies", levels, str(before), str(felt), words, right, stored <= MOST_STORED)


async def forged(server: str, checkout: Path | None) -> Seen:
    """Send forged callbacks beside genuine ones."""
    async with attacked(server, "forged-callbacks", checkout) as ground:
        jobs = [await _job(ground, number) for number in range(100)]
        genuine = callback(jobs)
        await calm(ground, genuine, GENUINE_RATE, 1.0)
        before = await calm(ground, genuine, GENUINE_RATE, 2 * CALM_SECONDS)
        memory = ground.memory
        felt, said = await during(ground, genuine, GENUINE_RATE, hand(ground, "forged", str(FORGED_RATE)))
        ratio = felt.at(0.99) / before.at(0.99)
        words = f"{_words(json.loads(said))}; genuine p99 {ratio:.1f} x"
        levels = (round(memory), round(felt.most_memory), round(ground.memory))
        holds = ratio <= SLOWER and not felt.wrong
        return Seen(
            "forged-callbacks", levels, str(before), str(felt), words, f"none lost, p99 at most {SLOWER:.0f} x", holds
        )


async def garbage(server: str, checkout: Path | None) -> Seen:
    """Send garbage, hang up, and weigh the log."""
    async with attacked(server, "garbage", checkout) as ground:
        before = await calm(ground, event, RATE, CALM_SECONDS)
        memory, size = ground.memory, ground.log.stat().st_size
        felt, said = await during(ground, event, RATE, hand(ground, "garbage"), first=1000)
        text = ground.log.read_text(encoding="utf-8", errors="replace")[size:]
        ours = sum(len(line) + 1 for line in text.splitlines() if '"taken"' not in line)
        errors = text.count('"level": "error"')
        a_second = ours / 6
        words = f"{_words(json.loads(said))}; {a_second / 1000:.1f} kB of log a second; {errors} errors"
        levels = (round(memory), round(felt.most_memory), round(ground.memory))
        right = "one line a second and kind; no error"
        return Seen("garbage", levels, str(before), str(felt), words, right, a_second < LOG_BYTES and errors == 0)


async def stalled(server: str, checkout: Path | None) -> Seen:
    """Fill the pipe of the log, which has no reader; then ask for health, and stop the receiver."""
    with TemporaryDirectory() as folder:
        pipe = Path(folder) / "log"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            async with attacked(server, "stalled-log", checkout, pipe=pipe) as ground:
                before = await calm(ground, event, RATE, CALM_SECONDS)
                memory = ground.memory
                # A logged line for each event fills the pipe's 64 KiB.
                felt = await calm(ground, event, 10 * RATE, 2 * CALM_SECONDS, first=1000)
                health = await call(ground.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", within=5)
                after, began = ground.memory, time.monotonic()
                ground.process.send(signal.SIGTERM)
                code = await ground.process.stop(LEAVES_WITHIN)
                took = time.monotonic() - began
        finally:
            os.close(reader)
    words = f"/healthz {health or 'silent'}; after SIGTERM exit code {code} in {took:.1f} s"
    holds = health == 200 and code == 0 and not felt.wrong
    levels = (round(memory), round(felt.most_memory), round(after))
    return Seen("stalled-log", levels, str(before), str(felt), words, "goes on; stops as usual", holds)


def _genuine() -> str:
    """Return the path of a callback URL of ours, for a job that does not exist."""
    return callback_url("", [SecretStr(CALLBACK_KEY)], "nyne", uuid4())


async def _job(ground: Ground, number: int) -> UUID:
    """Send an event, and return the id of its job."""
    await call(ground.port, event(5000 + number))
    job: UUID = await ground.value("SELECT id FROM jobs ORDER BY id DESC LIMIT 1")
    return job


async def _word(waiting: Any) -> str:
    await waiting
    return ""


def _words(told: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items())


def _attack(name: str, hand: str, argument: str, right: str, judge: Any = _serves, **settings: str) -> Attack:
    return Attack(name, hand, argument, right, judge, tuple(settings.items()))


_HEAD = partial(_attack, hand="endless", right="431 or 400 within 8 MB sent, and closed", judge=_refuses_head)
ROWS: dict[str, Callable[[str, Path | None], Any]] = {
    one.name: one
    for one in (
        _attack("pipelining-1", "pipelining", "1", "memory stays; events go on"),
        _attack("pipelining-40", "pipelining", "40", "memory stays; events go on"),
        _HEAD(name="endless-headers", argument="headers"),
        _HEAD(name="endless-value", argument="value"),
        _HEAD(name="endless-url", argument="url"),
        _HEAD(name="endless-trailers", argument="trailers"),
        _attack("unsigned-bodies", "unsigned", "", "memory stays; events go on"),
        _attack("metrics-flood", "pages", "/metrics", f"events p50 below {LATEST:.0f} ms", _stays_fast),
        _attack("openapi-flood", "pages", "/openapi.json", f"events p50 below {LATEST:.0f} ms", _stays_fast),
        _attack("readyz-flood", "pages", "/readyz", f"events p50 below {LATEST:.0f} ms", _stays_fast),
        _attack("healthz-flood", "pages", "/healthz", f"events p50 below {LATEST:.0f} ms", _stays_fast),
        _attack("no-token-flood", "pages", "/v1/lookups", f"events p50 below {LATEST:.0f} ms", _stays_fast),
        _attack("no-page-flood", "pages", "/nothing", f"events p50 below {LATEST:.0f} ms", _stays_fast),
    )
} | {
    "upgrade": upgrade,
    "idle-sockets": idle,
    "different-bodies": different,
    "forged-callbacks": forged,
    "garbage": garbage,
    "stalled-log": stalled,
}


async def each(names: list[str], server: str, checkout: Path | None) -> AsyncIterator[Seen]:
    """Attack by these rows, one after the other."""
    for name in names:
        yield await ROWS[name](server, checkout)
