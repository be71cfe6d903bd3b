"""python -m tests.fuzz: hostile inputs until the minutes are over, in three ways at once."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import typer

from chaos.attacks.ground import attacked, database_server
from rig.processes import python, start
from tests.fuzz import wire
from tests.fuzz.hunt import Found, hunt_for

EXAMPLES_A_MINUTE = 100  # of each operation, for schemathesis
SLACK = 240.0  # seconds, for schemathesis to end
_COUNTED = re.compile(r"(\d+) (passed|failed)")


def main(
    *,
    minutes: Annotated[float, typer.Option(min=0.1, envvar="MINUTES", help="How long to go on.")] = 5.0,
    seed: Annotated[int | None, typer.Option(envvar="SEED", help="Of everything that is drawn; any.")] = None,
) -> None:
    """Hunt for inputs that the program cannot take; keep each in tests/fuzz/corpus, and exit with 1 if there is one.

    Hypothesis draws for every parser and verifier, raw bytes go to the socket of a receiver, and schemathesis keeps
    to the API's description, or breaks it. `make test` replays the corpus.

    \b
      make fuzz MINUTES=10 SEED=7
    """
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    print(f"seed {chosen}", flush=True)
    found, holds = asyncio.run(_all(minutes * 60, chosen))
    for one in found:
        print(f"FOUND by {one.target}: {one.error}\n  kept as {one.keep()}")
    sys.exit(0 if holds and not found else 1)


async def _all(seconds: float, seed: int) -> tuple[list[Found], bool]:
    found: list[Found] = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        drawing = asyncio.get_running_loop().run_in_executor(processes, hunt_for, seconds, seed)
        described = asyncio.create_task(_described(seconds, seed))
        found += await _bytes(seconds, seed)
        cases, of_parsers = await drawing
    print(f"parsers and verifiers: {cases:,} cases, {len(of_parsers)} found", flush=True)
    return found + of_parsers, await described


async def _bytes(seconds: float, seed: int) -> list[Found]:
    with database_server() as server:
        async with attacked(server, "fuzz", None, settings={"HEAD_TIMEOUT_SECONDS": "1"}) as ground:
            tally, found = await asyncio.to_thread(
                wire.attack, ground.port, lambda: ground.process.returncode is None, seconds, seed
            )
            if errors := _errors(ground.log.read_text(encoding="utf-8", errors="replace")):
                found.append(Found("log", [seconds, seed], f"errors in the log: {errors}"))
    print(f"raw bytes: {tally}; {len(found)} found", flush=True)
    return found


def _errors(log: str) -> str:
    """Return what the receiver's *log* calls an error, each kind once."""
    lines = [json.loads(line) for line in log.splitlines() if '"level": "error"' in line]
    kinds = {(line["event"], str(line.get("error")), str(line.get("at", [""])[-1])) for line in lines}
    return "; ".join(" ".join(kind) for kind in sorted(kinds))


async def _described(seconds: float, seed: int) -> bool:
    """Let schemathesis test the API; tell whether it held."""
    lines: list[str] = []
    examples = str(max(20, round(EXAMPLES_A_MINUTE * seconds / 60)))
    command = python(
        "pytest", "-q", "-n0", f"--hypothesis-seed={seed}", "-p", "no:cacheprovider", "tests/test_openapi.py"
    )
    process = await start(command, output=lines.append, env=os.environ | {"SCHEMATHESIS_EXAMPLES": examples})
    async with asyncio.timeout(20 * seconds + SLACK):
        code = await process.wait()
    if code:
        print("\n".join(lines))
    counted = ", ".join(" ".join(found) for found in _COUNTED.findall(lines[-1] if lines else ""))
    print(f"the API beside its description: {examples} examples of each operation, {counted}", flush=True)
    return code == 0


if __name__ == "__main__":
    typer.run(main)
