"""A network of our own, in which packets can be dropped: as silent as a host without power, to every kernel."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CLONE_NEWNET = 0x40000000
_ENDS = ("--dport", "--sport")


def own_network() -> bool:
    """Move this thread, and what it starts, into a network of its own; return whether packets can be dropped there.

    Nothing outside can be reached from then on. Without the privilege or the programs for it nothing changes.
    """
    ip, iptables = shutil.which("ip"), shutil.which("iptables")
    libc = ctypes.CDLL(None)
    if not ip or not iptables or not hasattr(libc, "unshare") or libc.unshare(_CLONE_NEWNET):
        return False
    subprocess.run([ip, "link", "set", "lo", "up"], check=True, timeout=10)  # noqa: S603
    with suppress(subprocess.CalledProcessError):
        _iptables("-L")
        return True
    return False


@asynccontextmanager
async def dropped(port: int) -> AsyncIterator[None]:
    """Drop every packet to and from this port inside the block."""
    rules = [("INPUT", "--protocol", "tcp", end, str(port), "--jump", "DROP") for end in _ENDS]
    for rule in rules:
        await asyncio.to_thread(_iptables, "-I", *rule)
    try:
        yield
    finally:
        for rule in rules:
            await asyncio.to_thread(_iptables, "-D", *rule)


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", "--wait", *arguments], check=True, timeout=10, capture_output=True)  # noqa: S603, S607
