"""Load over HTTP from a process of its own: wrk where there is one, else a client of ours; keep-alive, no pipelining.

python -m bench.load PORT CONNECTIONS SECONDS FILE is that client: it POSTs the file's lines, `path<TAB>body`, each
once, and prints what wrk's script prints. A third field holds headers of this request alone, instead of the token.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from rig.ports import HOST
from rig.processes import output_of

TOKEN = "token-of-the-benchmark"
HEADERS = f"Host: {HOST}\r\nContent-Type: application/json\r\n"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"
BETWEEN = "|"  # two headers of a line: no line break can be in it
CONNECTIONS = 128
SLACK = 20.0  # seconds for the client to start, read its file and stop

# wrk repeats the last line when there are no more; the receiver does not count a request it has had before.
LUA = """
local lines, at = {}, 0
for line in io.lines("%(file)s") do lines[#lines + 1] = line end
request = function()
  if at < #lines then at = at + 1 end
  local path, body, own = lines[at]:match("^([^\\t]*)\\t([^\\t]*)\\t?(.*)$")
  if own == "" then own = "%(bearer)s" else own = own:gsub("|", "\\r\\n") .. "\\r\\n" end
  return "POST " .. path .. " HTTP/1.1\\r\\n%(headers)s" .. own .. "Content-Length: " .. #body .. "\\r\\n\\r\\n" .. body
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %%d, "seconds": %%f, "wrong": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one load; latencies in milliseconds."""

    requests: int
    seconds: float
    wrong: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


async def load(port: int, requests: Iterable[tuple[str, ...]], folder: Path, *, seconds: float) -> Load:
    """POST *requests* for so long by CONNECTIONS callers, each waiting for its answer.

    A request is (path, body), or (path, body, headers).
    """
    file = folder / "requests"
    file.write_text("".join("\t".join(request) + "\n" for request in requests), encoding="utf-8")
    command = _wrk(port, file, seconds) if shutil.which("wrk") else _ours(port, file, seconds)
    said = await output_of(command, within=seconds + SLACK)
    return Load(**json.loads(said.splitlines()[-1]))


def _wrk(port: int, file: Path, seconds: float) -> list[str]:
    script = file.with_suffix(".lua")
    fixed = {name: text.replace("\r\n", "\\r\\n") for name, text in (("headers", HEADERS), ("bearer", BEARER))}
    script.write_text(LUA % ({"file": file} | fixed), encoding="utf-8")
    duration = f"{max(1, round(seconds))}s"
    return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration}", "--timeout", "10s", "-s", str(script), _url(port)]


def _ours(port: int, file: Path, seconds: float) -> list[str]:
    return [sys.executable, "-m", "bench.load", str(port), str(CONNECTIONS), str(seconds), str(file)]


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"


class Caller:
    """One connection of our own client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, body: bytes, own: str = "") -> int:
        """POST *body*, with its *own* headers or with the token; read the whole answer, and return its status."""
        sender = own.replace(BETWEEN, "\r\n") + "\r\n" if own else BEARER
        head = f"POST {path} HTTP/1.1\r\n{HEADERS}{sender}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        for line in answer.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                await self._reader.readexactly(int(value))
        return int(answer[9:12])


async def open_caller(port: int) -> Caller:
    """Open a connection to the server on *port*."""
    return Caller(*await asyncio.open_connection(HOST, port))


async def _call(port: int, lines: Iterator[str], until: float, taken: list[float]) -> int:
    wrong = 0
    caller = await open_caller(port)
    for line in lines:
        path, body, *own = line.split("\t")
        began = time.perf_counter()
        status = await caller.post(path, body.encode(), *own)
        now = time.perf_counter()
        taken.append(now - began)
        wrong += not 200 <= status < 300
        if now >= until:
            break
    return wrong


async def _run(port: int, connections: int, seconds: float, file: Path) -> None:
    lines = iter(file.read_text(encoding="utf-8").splitlines())
    taken: list[float] = []
    began = time.perf_counter()
    wrong = sum(await asyncio.gather(*(_call(port, lines, began + seconds, taken) for _ in range(connections))))
    lasted = time.perf_counter() - began
    taken.sort()
    told = {"requests": len(taken), "seconds": lasted, "wrong": wrong}
    print(json.dumps(told | {"p50": taken[len(taken) // 2] * 1e3, "p99": taken[len(taken) * 99 // 100] * 1e3}))


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
