"""Ports on this machine: free ones, and ones in use."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress

HOST = "127.0.0.1"
# Below the range from which the kernel picks ports for outgoing connections: a port whose listener was killed or
# closed for a while is still free when it is opened again.
PORTS = range(20_000, 32_000)
_given: set[int] = set()
_dice = random.SystemRandom()


def free_port() -> int:
    """Return a port that nothing listens on, and that this process never returned before."""
    while True:
        port = _dice.choice(PORTS)
        if port in _given:
            continue
        with suppress(OSError), socket.create_server((HOST, port)):
            _given.add(port)
            return port


async def is_listening(port: int) -> bool:
    """Tell whether *port* takes connections."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
