"""Where a request ends (RFC 9112, 6), and the answers to what is no request."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from uvicorn.server import ServerState

from receiver.gate import NO_STORE, NOSNIFF
from receiver.problems import RETRY_AFTER, Problem, problem_response

FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})

Headers = Sequence[tuple[bytes, bytes]]


class Refused(Exception):
    """A request that is answered with *status* and ends its connection; *detail* says what is wrong."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(detail)


def body_length(method: bytes, version: str, framing: Headers) -> int | None:
    """Return the length of the body; None when it is chunked. Raise Refused where two readers could disagree.

    The parser refuses most of this itself. A proxy in front may read it otherwise, so nothing is left to leniency.
    """
    if method == b"CONNECT":
        raise Refused(405, "This is no proxy.")
    if version not in ("1.0", "1.1"):
        raise Refused(400, "This server speaks HTTP/1.1 and HTTP/1.0.")
    values: dict[bytes, list[bytes]] = {name: [] for name in FRAMING}
    for name, value in framing:
        values[name].append(value.strip(b" \t"))
    hosts, lengths, codings = values[b"host"], values[b"content-length"], values[b"transfer-encoding"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise Refused(400, "A request has one Host header.")
    if codings:
        if lengths or version == "1.0" or [coding.lower() for coding in codings] != [b"chunked"]:
            raise Refused(400, "Of Transfer-Encoding only `chunked` is understood, without a Content-Length.")
        return None
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise Refused(400, "A request has at most one Content-Length, which is a number.")
    return int(lengths[0]) if lengths else 0


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Write the head of a request again, without its wish for another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, value in headers:
        kept = value
        if name == b"upgrade":
            continue
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            kept = b", ".join(token for token in tokens if token.lower() != b"upgrade")
        lines.append(b"%b: %b" % (name, kept))
    return b"\r\n".join([*lines, b"", b""])


def farewell(state: ServerState, status: int, detail: str) -> bytes:
    """Return the answer to a request that never reached the application, as bytes; the connection ends with it."""
    headers = {"Connection": "close"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET, POST, DELETE"
    response = problem_response(Problem(status, detail, headers=headers))
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%b: %b" % header for header in [*state.default_headers, *response.raw_headers, NO_STORE, NOSNIFF]]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
