"""python -m chaos.attacks.hand NAME PORT [ARGUMENT]: one attacker; its last line says, in JSON, what it saw."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from chaos.attacks import hands_floods, hands_sockets

Hand = Callable[[int, str], Awaitable[dict[str, Any]]]
HANDS: dict[str, Hand] = {**hands_sockets.HANDS, **hands_floods.HANDS}


def main() -> None:
    """Attack once."""
    name, port, argument = sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(uvloop.run(_attack(HANDS[name], port, argument))))


async def _attack(hand: Hand, port: int, argument: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # connections that break are what an attacker expects
    return await hand(port, argument)


if __name__ == "__main__":
    main()
