"""Where the receiver listens, and what its connections inherit."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from enrichment import garbage
from receiver.server import listen
from tests.echoed import LAST, answers, echoing, received

NO_IPV6 = not socket.has_dualstack_ipv6()


@pytest.mark.skipif(NO_IPV6, reason="this machine has no IPv6")
def test_every_address_is_one_setting() -> None:
    """HOST=:: takes IPv6 and IPv4."""
    with echoing({"HOST": "::"}) as server:
        for host in ("127.0.0.1", "::1"):
            with server.connect(host) as client:
                client.sendall(LAST)
                assert answers(received(client))[0].status == 200


def test_without_ipv6_every_address_is_those_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOST=:: starts on a system that has no IPv6."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)

    with listen("::", 0) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0"])
def test_a_name_is_an_address(host: str) -> None:
    """HOST may be a name of this machine, and IPv4 comes first, as clients try it."""
    with listen(host, 0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5):
        assert listener.family == socket.AF_INET


def test_connections_notice_a_peer_that_is_gone() -> None:
    """The kernel asks silent clients whether they are there: connections inherit it from the listening socket."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), 5):
        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000


class Knot:
    """An object that only the garbage collector frees."""

    def __init__(self, freed: asyncio.Event) -> None:
        self.itself = self
        self._freed = freed

    def __del__(self) -> None:
        self._freed.set()


async def test_old_garbage_is_collected_by_the_minute() -> None:
    """What has survived the young collections is given back without a burst of requests that would need the memory."""
    thresholds, freed = gc.get_threshold(), asyncio.Event()
    try:
        garbage.collect_rarely(oldest_every=0.05)
        knot = Knot(freed)
        gc.collect(1)  # into the oldest generation
        del knot
        async with asyncio.timeout(5):
            await freed.wait()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
