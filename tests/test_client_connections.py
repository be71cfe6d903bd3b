"""What a client's connection may send, hold and wait for."""

from __future__ import annotations

import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.echoed import LAST, Echo, answers, echoing, received, until

MIB = 1024 * 1024
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow/0.1 HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
QUICK = {"HEAD_TIMEOUT_SECONDS": "0.3", "IDLE_TIMEOUT_SECONDS": "0.5", "WRITE_TIMEOUT_SECONDS": "0.5"}


@pytest.fixture(scope="module")
def server() -> Iterator[Echo]:
    """Provide a server with the limits as they are."""
    with echoing() as running:
        yield running


@pytest.fixture(scope="module")
def quick() -> Iterator[Echo]:
    """Provide a server with little patience."""
    with echoing(QUICK) as running:
        yield running


def clog(client: socket.socket, data: bytes) -> int:
    """Send *data* until the server reads no more of it; return the bytes sent."""
    client.settimeout(0.3)
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += client.send(data)
    except TimeoutError:
        pass
    return sent


def is_gone(client: socket.socket) -> bool:
    """Tell whether the server has ended the connection."""
    try:
        client.send(b"G")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


# Pipelining


def test_pipelined_requests_are_all_answered_in_order(server: Echo) -> None:
    """A client that reads gets as many answers as it has asked for, however many fit into a packet."""
    asked = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(500))

    found = server.ask(asked + LAST)

    assert [one.echo["path"] for one in found] == [*(f"/{number}" for number in range(500)), "/last"]


def test_a_client_that_does_not_read_is_not_read(server: Echo) -> None:
    """Requests whose answers are not taken wait in the kernel, not in memory; others are served meanwhile."""
    before = server.memory()
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(4)]
        sent = sum(clog(client, GET * 4000) for client in clients)

        assert sent > 2 * MIB
        assert server.memory() - before < 8 * MIB
        assert server.ask(LAST)[0].status == 200


def test_a_client_that_reads_at_last_gets_every_answer(server: Echo) -> None:
    """A connection that was not read goes on where it stopped."""
    with server.connect() as client:
        asked = b"GET /big/100000 HTTP/1.1\r\nHost: a\r\n\r\n" * 40
        client.sendall(asked + LAST)

        assert len(answers(received(client))) == 41


def test_what_follows_a_request_waits_for_its_answer(server: Echo) -> None:
    """Two requests in one packet are not answered at the same time, nor in the other order."""
    first, second, _ = server.ask(SLOW + GET + LAST)

    assert (first.body, second.echo["path"]) == (b"slow", "/a")


def test_a_large_body_arrives_whole(server: Echo) -> None:
    """Portions of it are not lost where the parser waits for the app."""
    body = bytes(97 + number % 26 for number in range(3 * MIB))
    length = b"Content-Length: %d\r\n\r\n" % len(body)

    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    first, second, _ = server.ask(HEAD + length + body + CHUNKED + chunk + LAST)

    assert first.echo["body"].encode() == second.echo["body"].encode() == body


def test_a_body_that_nobody_reads_is_passed_over(server: Echo) -> None:
    """An early answer does not end the connection: the next request begins where the body ends."""
    early = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"

    first, last = server.ask(early + b"x" * 300_000 + LAST)

    assert (first.body, last.echo["path"]) == (b"early", "/last")


def test_a_body_without_an_end_that_nobody_reads_ends_the_connection(server: Echo) -> None:
    """A few megabytes are passed over, not whatever a client likes to send."""
    with server.connect() as client:
        client.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            client.sendall(bytes(64 * MIB))


# Heads and trailers


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param((b"GET /", b"a" * 50_000), id="path"),
        pytest.param((b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ", b"a" * 50_000), id="value"),
        pytest.param((b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-A" * 20_000), id="name"),
        pytest.param((b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-A: 1\r\n" * 5000), id="headers"),
        pytest.param((b"", b"\r\n" * 40_000), id="blank lines"),
        pytest.param((CHUNKED + b"0\r\n", b"X-A: 1\r\n" * 5000), id="trailers"),
        pytest.param((CHUNKED + b"5\r\nhello\r\n0\r\nX-A: ", b"a" * 50_000), id="trailer"),
        pytest.param((CHUNKED + b"5;", b"a" * 50_000), id="extension"),
    ],
)
def test_a_head_has_an_end(server: Echo, endless: tuple[bytes, bytes]) -> None:
    """64 KiB, trailers included; then a 431, whose answer the client can read, and the end."""
    start, more = endless
    before = server.memory()

    (answer,) = server.ask(start, more, more, more)

    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert answer.headers["content-type"] == "application/problem+json"
    assert server.memory() - before < 4 * MIB


def test_a_head_of_almost_64_kib_is_taken(server: Echo) -> None:
    """The limit counts bytes, however they arrive."""
    head = b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 65_000 + b"\r\n\r\n"

    assert [one.status for one in server.ask(head, head[:40_000], head[40_000:], LAST)] == [200, 200, 200]


def test_trailers_do_not_become_headers(server: Echo) -> None:
    """The app has seen the headers: what comes after the body changes nothing."""
    (first, _) = server.ask(CHUNKED + b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n" + LAST)

    assert first.echo["headers"] == {}


# Half-close


@pytest.mark.parametrize("whole", [GET, HEAD + b"Content-Length: 5\r\n\r\nhello", SLOW])
def test_a_client_that_has_sent_all_gets_its_answer(server: Echo, whole: bytes) -> None:
    """Shutting down its own side is no hang-up; every request before it is answered."""
    assert [one.status for one in server.ask(whole, half_close=True)] == [200]
    assert [one.status for one in server.ask(whole * 3, half_close=True)] == [200] * 3


@pytest.mark.parametrize(
    "part", [b"", b"GET", HEAD, HEAD + b"Content-Length: 5\r\n\r\nhel", CHUNKED + b"5\r\nhello\r\n"]
)
def test_half_a_request_is_none(server: Echo, part: bytes) -> None:
    """A client that ends within a request gets nothing, and the connection is closed."""
    assert server.ask(part, half_close=True) == []


# Time


def test_a_client_that_says_nothing_is_closed(quick: Echo) -> None:
    """Silently: nothing was asked."""
    assert quick.ask() == []


@pytest.mark.parametrize("part", [b"G", HEAD, HEAD + b"X-A: "])
def test_a_head_that_does_not_arrive_is_a_408(quick: Echo, part: bytes) -> None:
    """The client hears why, and the connection ends."""
    (answer,) = quick.ask(part)

    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_a_connection_may_be_idle_for_a_while(quick: Echo) -> None:
    """Longer than a head may take, and then it is closed without a word."""
    assert [one.status for one in quick.ask(GET)] == [200]


def test_a_client_that_waits_for_us_is_not_cut_off(quick: Echo) -> None:
    """However long an answer takes, these limits are not about it."""
    (first, last) = quick.ask(b"GET /slow/1.2 HTTP/1.1\r\nHost: a\r\n\r\n" + LAST)

    assert (first.status, last.status) == (200, 200)


def test_a_client_that_does_not_read_is_cut_off(quick: Echo) -> None:
    """Answers that are not taken do not occupy a connection for ever."""
    with quick.connect() as client:
        clog(client, b"GET /big/1000000 HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)

        until(lambda: is_gone(client))


def test_unread_answers_have_a_bound_together(server: Echo) -> None:
    """The client that has read nothing for the longest time goes first, long before its own time is over."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(8)]
        for client in clients:
            client.sendall(b"GET /big/30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: select.select([client], [], [], 0)[0])  # noqa: B023  it is looked at before the next one
            if client is clients[0]:  # the server looks once a second, and shall see this one before the others
                began = time.monotonic()
                until(lambda: time.monotonic() - began > 1.2)  # noqa: B023  as above

        until(lambda: is_gone(clients[0]))

        assert server.ask(LAST)[0].status == 200


def test_an_answer_that_comes_before_the_body_is_read(server: Echo) -> None:
    """A client that is still sending finds the answer, although the connection ends with it."""
    with server.connect() as client:
        client.sendall(
            b"POST /early HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000
        )
        until(lambda: select.select([client], [], [], 0)[0])
        with suppress(BrokenPipeError):  # what is sent on is discarded for a while
            client.sendall(b"x" * 200_000)

        assert answers(received(client))[0].status == 200


def test_a_client_that_reads_slowly_is_not_cut_off(quick: Echo) -> None:
    """What counts is that the client takes something, not that it takes all in time."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", quick.port))
        client.sendall(b"GET /big/4000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data, began = b"", time.monotonic()
        while time.monotonic() - began < 1.5:  # thrice as long as nothing may be taken
            data += client.recv(4096)
            select.select([], [], [], 0.02)

        assert len(answers(data + received(client))[0].body) == 4_000_000


# Number


def few_files() -> None:
    """Leave the process few file descriptors, and a soft limit below the hard one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 96))


def test_the_surplus_is_refused_and_said() -> None:
    """A 503 at once, one line of the log, and room again when a client leaves; file descriptors do not run out."""
    with echoing(QUICK | {"HEAD_TIMEOUT_SECONDS": "30", "DATABASE_POOL": "8"}, few_files) as small:
        with ExitStack() as stack:
            most = [stack.enter_context(small.connect()) for _ in range(24)]
            until(lambda: small.descriptors() >= 24)
            surplus = [answers(received(stack.enter_context(small.connect()))) for _ in range(60)]

            assert {one.status for each in surplus for one in each} == {503}
            until(lambda: sum(line.get("more", 1) for line in small.logged("connection_refused")) == 60)
            assert len(small.logged("connection_refused")) < 10
            most[0].sendall(LAST)
            assert answers(received(most[0]))[0].status == 200
        until(lambda: small.ask(LAST)[0].status == 200)


# The end


def test_no_client_holds_up_the_end() -> None:
    """Idle, slow, unread and refused connections end with the process; a request in flight is answered first."""
    with echoing({"WRITE_TIMEOUT_SECONDS": "1"}) as server, ExitStack() as stack:
        for part in [b"", b"G", HEAD, GET, b"\x00"] * 2:
            stack.enter_context(server.connect()).sendall(part)
        for _ in range(2):
            clog(stack.enter_context(server.connect()), b"GET /big/1000000 HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        waiting = stack.enter_context(server.connect())
        waiting.sendall(b"GET /slow/1.5 HTTP/1.1\r\nHost: a\r\n\r\n")

        server.process.send_signal(signal.SIGTERM)

        assert answers(received(waiting))[0].body == b"slow"
        assert server.process.wait(15) == 0
