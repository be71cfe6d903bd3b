"""Results go only to public addresses: the address that is checked is the one that is connected to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from enrichment.public_addresses import is_public
from submitter.result_session import PRIVATE
from tests.factories import delivery
from tests.webhook_end import Answer, WebhookEnd, send_due, sent, settings_for, webhook_end

if TYPE_CHECKING:
    from tests.conftest import Start


@pytest.fixture
async def end() -> AsyncIterator[WebhookEnd]:
    """The other side."""
    async with webhook_end() as server:
        yield server


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.127.255.254", "0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7",
        "203.0.113.5", "224.0.0.1", "232.1.1.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2002:0a00:1::1", "", "no address",
    ],
)  # fmt: skip
def test_an_address_of_ours_is_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, multicast, reserved; and in every disguise of IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.169.0.1", "2606:4700::1111",
     "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2a00:1450::1"],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """The neighbours of the private ranges, too."""
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "2130706433"])
async def test_a_private_address_is_never_connected_to(start: Start, end: WebhookEnd, host: str) -> None:
    """Written as an address or as a name. It may be a mistake in the DNS: it is tried again, and says why."""
    given = settings_for(end, result_webhook_url=f"http://{host}:{end.port}/hook", result_webhook_allow_private=False)
    async with start(**given) as world:
        row = await sent(world.process)

    assert (row["state"], row["tries"], row["error"], end.arrived) == ("queued", 1, PRIVATE, [])


async def test_only_the_address_that_is_connected_to_counts(
    start: Start, end: WebhookEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was public a moment ago, and leads to us now, does not reach us."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **more: Any) -> Any:
        if host != "rebound.example":
            return real(host, *args, **more)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", end.port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"http://rebound.example:{end.port}/hook"
    async with start(**settings_for(end, result_webhook_url=url)) as allowed:
        assert (await sent(allowed.process))["state"] == "delivered"
    async with start(**settings_for(end, result_webhook_url=url, result_webhook_allow_private=False)) as world:
        row = await sent(world.process)

    assert (row["state"], row["error"], len(end.arrived), len(asked)) == ("queued", PRIVATE, 1, 2)


async def test_a_private_address_is_logged_once(start: Start, end: WebhookEnd) -> None:
    """However many results wait for it."""
    async with start(**settings_for(end, result_webhook_allow_private=False)) as world:
        for _ in range(3):
            await delivery(world.pool)
        with capture_logs() as logs:
            assert await send_due(world.process) == 3

    assert [entry["log_level"] for entry in logs if entry["event"] == "result_webhook_is_private"] == ["error"]


async def test_a_proxy_of_the_environment_is_not_used(
    start: Start, end: WebhookEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would choose the address in our place."""
    async with webhook_end() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with start(**settings_for(end)) as world:
            assert (await sent(world.process))["state"] == "delivered"

    assert (len(end.arrived), proxy.arrived) == (1, [])


async def test_a_receiver_that_is_down_is_tried_again(start: Start, end: WebhookEnd) -> None:
    """Nothing listens there."""
    async with webhook_end() as gone:
        url = gone.url
    async with start(**settings_for(end, result_webhook_url=url)) as world:
        row = await sent(world.process)

    assert (row["state"], row["tries"]) == ("queued", 1)
    assert row["error"].startswith("no connection")


async def test_a_receiver_that_hangs_up_is_tried_again(start: Start, end: WebhookEnd) -> None:
    """It may have the result: it gets it again, under the same id."""
    end.answers[0] = Answer(is_hung_up=True)
    async with start(**settings_for(end)) as world:
        row = await sent(world.process)

    assert (row["state"], row["tries"]) == ("queued", 1)
    assert row["error"].startswith("the connection broke")


async def test_a_receiver_that_does_not_answer_is_tried_again(
    start: Start, end: WebhookEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a deadline of its own."""
    monkeypatch.setattr("submitter.result_session.TRY_TIMEOUT", 0.2)
    end.answers[0] = Answer(never=True)
    async with start(**settings_for(end)) as world:
        row = await sent(world.process)

    assert (row["state"], row["tries"], row["error"]) == ("queued", 1, "no answer in time")


async def test_a_receiver_without_a_name_is_tried_again(start: Start, end: WebhookEnd) -> None:
    """Its name does not resolve at the moment."""
    async with start(**settings_for(end, result_webhook_url="http://nowhere.invalid/hook")) as world:
        row = await sent(world.process)

    assert (row["state"], row["tries"]) == ("queued", 1)
    assert row["error"].startswith("no connection")
