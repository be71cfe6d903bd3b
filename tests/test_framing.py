"""Odd requests on a real socket: one right answer each, or a 4xx and the end; never two answers, never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.echoed import LAST, Echo, echoing

POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
UPGRADE = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

# What is asked, and the path and body that the app gets.
ANSWERED = {
    "plain": (GET + b"\r\n", "/a", ""),
    "two spaces": (b"GET  /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a", ""),
    "body": (POST + b"Content-Length: 5\r\n\r\nhello", "/a", "hello"),
    "body of a GET": (GET + b"Content-Length: 5\r\n\r\nhello", "/a", "hello"),
    "body that looks like a request": (POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, "/a", None),
    "blank lines before": (b"\r\n\r\n" + GET + b"\r\n", "/a", ""),
    "no body": (POST + b"\r\n", "/a", ""),
    "leading zeros": (POST + b"Content-Length: 0005\r\n\r\nhello", "/a", "hello"),
    "spaces around a length": (POST + b"Content-Length: \t 5 \t\r\n\r\nhello", "/a", "hello"),
    "chunked": (CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", "/a", "hello"),
    "chunked, in capitals": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "/a", "hello"),
    "chunks with blank lines": (CHUNKED + b"\r\n8\r\na\r\n\r\nb\r\n\r\n0\r\n\r\n", "/a", "a\r\n\r\nb\r\n"),
    "chunk extension": (CHUNKED + b"\r\n5;a=b\r\nhello\r\n0;last\r\n\r\n", "/a", "hello"),
    "trailers": (CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\nHost: b\r\n\r\n", "/a", "hello"),
    "absolute form": (b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "/b", ""),
    "h2c upgrade": (UPGRADE + b"Content-Length: 5\r\n\r\nhello", "/a", "hello"),
    "h2c upgrade, chunked": (UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "/a", "hello"),
    "h2c upgrade, no body": (UPGRADE + b"\r\n", "/a", ""),
    "upgrade with a request as body": (
        UPGRADE + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, "/a", SMUGGLED.decode(),
    ),
    "websocket": (GET + b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "/a", ""),
    "upgrade without the token": (POST + b"Upgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", "/a", "hello"),
    "obsolete text in a header": (GET + b"X-Odd: \xff\xfe\r\n\r\n", "/a", ""),
    "empty header": (GET + b"X-Empty:\r\n\r\n", "/a", ""),
    "expects": (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "/a", "hello"),
}  # fmt: skip

REFUSED = {
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "length with a plus": POST + b"Content-Length: +5\r\n\r\nhello",
    "length in hexadecimal": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nhellohello",
    "length of letters": POST + b"Content-Length: five\r\n\r\nhello",
    "empty length": POST + b"Content-Length:\r\n\r\nhello",
    "length that overflows": POST + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "length of the far future": POST + b"Content-Length: 18446744073709551617\r\n\r\nhello",
    "length and chunked": CHUNKED + b"Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked and length": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\nhello",
    "identity and length": POST + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, chunked": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "empty coding": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 5\r\n\r\nhello",
    "space in a name": POST + b"Content Length: 5\r\n\r\nhello",
    "no colon": GET + b"Nothing\r\n\r\n",
    "no name": GET + b": nothing\r\n\r\n",
    "folded header": GET + b"X-A: 1\r\n 2\r\n\r\n",
    "folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before the first header": b"GET /a HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF": b"GET /a HTTP/1.1\nHost: a\n\n",
    "bare LF at the end": POST + b"Content-Length: 5\r\n\nhello",
    "bare LF in a header": GET + b"X-A: 1\nX-B: 2\r\n\r\n",
    "bare CR": GET + b"X-A: 1\rX-B: 2\r\n\r\n",
    "NUL in a header": GET + b"X-A: 1\x002\r\n\r\n",
    "NUL in a name": GET + b"X\x00A: 1\r\n\r\n",
    "NUL in the path": b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunk size of letters": CHUNKED + b"\r\nxyz\r\nhello\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
    "chunk size that overflows": CHUNKED + b"\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk size that is too small": CHUNKED + b"\r\n3\r\nhello\r\n0\r\n\r\n",
    "chunk size that is too large": CHUNKED + b"\r\n7\r\nhello\r\n0\r\n\r\n",
    "chunk without an end": CHUNKED + b"\r\n5\r\nhello0\r\n\r\n",
    "chunk ended by LF": CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n",
    "space after a chunk size": CHUNKED + b"\r\n5 \r\nhello\r\n0\r\n\r\n",
    "endless chunk extension": CHUNKED + b"\r\n5;" + b"a" * 200_000,
    "no Host": b"GET /a HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: b\r\n\r\n",
    "HTTP/0.9": b"GET /a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET /a HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET /a HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/9.9": b"GET /a HTTP/9.9\r\nHost: a\r\n\r\n",
    "a lower-case method": b"get /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"FROBNICATE /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path without a slash": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "length as a trailer": CHUNKED + b"\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT with a body": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "upgrade with two lengths": UPGRADE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "upgrade with length and chunked": UPGRADE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "nothing but noise": bytes(range(256)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Echo]:
    """Provide one server for all oddities: the next client is served, too."""
    with echoing() as running:
        yield running


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_a_request_is_answered_once(server: Echo, name: str) -> None:
    """The app gets the request as it was meant, and the request after it on the same connection as another."""
    request, path, body = ANSWERED[name]

    first, last = server.ask(request + LAST)

    assert (first.status, first.echo["path"]) == (200, path)
    assert first.echo["body"] == (SMUGGLED.decode() if body is None else body)
    assert "x-late" not in first.echo["headers"]
    assert last.echo["path"] == "/last"


@pytest.mark.parametrize("name", ANSWERED)
def test_packets_do_not_matter(server: Echo, name: str) -> None:
    """A request that arrives byte by byte is the same request."""
    request, path, _ = ANSWERED[name]

    first, last = server.ask(*(bytes([byte]) for byte in request + LAST))

    assert (first.echo["path"], last.echo["path"]) == (path, "/last")


@pytest.mark.parametrize("split", range(1, 140, 3))
@pytest.mark.parametrize("name", ["h2c upgrade", "h2c upgrade, chunked", "trailers"])
def test_a_split_does_not_matter(server: Echo, name: str, split: int) -> None:
    """Wherever two packets part, the two requests in them get their two answers."""
    request, path, body = ANSWERED[name]
    both = request + LAST

    first, last = server.ask(both[:split], both[split:])

    assert (first.echo["path"], first.echo["body"], last.echo["path"]) == (path, body, "/last")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused(server: Echo, name: str) -> None:
    """One 4xx as problem+json, and the connection ends: nothing after it is read as a request."""
    (answer,) = server.ask(REFUSED[name] + LAST)

    assert 400 <= answer.status < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert server.ask(LAST)[0].status == 200


def test_http_1_0_is_answered_and_closed(server: Echo) -> None:
    """It needs no Host."""
    (answer,) = server.ask(b"GET /a HTTP/1.0\r\n\r\n" + LAST)

    assert (answer.status, answer.headers["connection"]) == (200, "close")
