"""python -m bench.bare_callbacks: a bare Starlette route that checks an HMAC and parses the same JSON.

No receiver can take more, even if it did nothing else for a callback: no size limit, no deadline, no
metrics, no log, no domain code. It is served as the receiver is, and reads the same settings.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rig.ports import HOST

KEY = os.environ["CALLBACK_KEYS"].encode()


async def receive(request: Request) -> Response:
    """Answer 200 where the token fits."""
    provider, job_id, token = (request.path_params[name] for name in ("provider", "job_id", "token"))
    right = hmac.new(KEY, f"{provider}:{job_id}".encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(token, right):
        return Response(status_code=404)
    json.loads(await request.body())
    return Response("{}", media_type="application/json")


def main() -> None:
    """Serve until a signal."""
    app = Starlette(routes=[Route("/callbacks/{provider}/{job_id}/{token}", receive, methods=["POST"])])
    uvicorn.run(
        app, host=HOST, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", log_config=None,
        access_log=False, server_header=False, backlog=4096,
    )  # fmt: skip


if __name__ == "__main__":
    main()
