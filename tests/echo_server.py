"""python -m tests.echo_server: the receiver's server with an app that says what it was asked, for tests of sockets."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from enrichment import logs
from enrichment.garbage import collect_rarely
from enrichment.settings import Settings
from receiver.bodies import read_body
from receiver.callbacks import Addresses
from receiver.clients import Clients
from receiver.front import Strangers
from receiver.gate import Door, Gate
from receiver.metrics import Metrics
from receiver.problems import Problem, on_problem
from receiver.room import Room
from receiver.server import Server, listen

MOST = 4 * 1024 * 1024  # bytes of a body


async def echo(request: Request) -> Response:
    """Answer with the method, path and body, and the headers that came with the head."""
    body = await read_body(request, MOST)
    headers = {name: value for name, value in request.headers.items() if name.startswith("x-")}
    seen = {"method": request.method, "path": request.url.path, "body": body.decode("latin-1"), "headers": headers}
    return Response(json.dumps(seen), media_type="application/json")


async def early(_: Request) -> Response:
    """Answer without a look at the body."""
    return Response("early")


async def slow(request: Request) -> Response:
    """Answer after the seconds in the path, as a commit may take."""
    await asyncio.sleep(float(request.path_params["seconds"]))
    return Response("slow")


async def big(request: Request) -> Response:
    """Answer with as many bytes as the path says."""
    return Response(b"x" * int(request.path_params["size"]))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM; print the port first."""
    door, clients = Door(), Clients(settings)
    metrics = Metrics(lambda: door.in_flight, clients)
    app = Starlette(
        routes=[
            Route("/early", early, methods=["GET", "POST"]),
            Route("/slow/{seconds}", slow, methods=["GET", "POST"]),
            Route("/big/{size}", big),
            Route("/{path:path}", echo, methods=["GET", "POST", "PUT"]),
        ],
        middleware=[Middleware(Gate, door=door, metrics=metrics, room=Room())],
        exception_handlers={Problem: on_problem},
    )
    app.state.strangers = Strangers(Addresses([], {}), metrics)
    listener = listen(settings.host, settings.port)
    collect_rarely()
    sys.stdout.write(f"port {listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await Server(app, door, clients).serve(sockets=[listener])


if __name__ == "__main__":
    logs.configure("info", "receiver", once_a_second=True)
    uvloop.run(serve(Settings.load("receiver")))
