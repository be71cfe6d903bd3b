"""The way out to the result webhook: one signed POST, one answer, and no way into our own networks.

The address is checked when a socket is made for it: whatever a name resolves to, and whenever, only the address that is
connected to counts. A proxy of the environment is not used, because it would choose the address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import aiohttp

from enrichment.providers.base import HttpResponse
from enrichment.public_addresses import is_public
from enrichment.result_webhook import ANSWER_KEPT
from submitter.transport import CONNECT_TIMEOUT, KEEPALIVE

TRY_TIMEOUT = 20.0  # seconds
CONNECTIONS = 30  # to the one host
PRIVATE = "its address is private; RESULT_WEBHOOK_ALLOW_PRIVATE=true allows that"

AddrInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]


class PrivateAddress(OSError):
    """The other side's address is not one of the public Internet."""

    def __init__(self) -> None:
        super().__init__(PRIVATE)


def open_result_session(*, allow_private: bool) -> aiohttp.ClientSession:
    """Open the session of the result webhook."""
    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS,
        limit_per_host=CONNECTIONS,
        keepalive_timeout=KEEPALIVE,
        ttl_dns_cache=60,
        socket_factory=None if allow_private else _public_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=TRY_TIMEOUT, connect=CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "ringback", "Accept": "*/*", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


def _public_socket(address: AddrInfo) -> socket.socket:
    """Make the socket for *address*. Raise PrivateAddress."""
    family, kind, protocol, _, where = address
    if not is_public(where[0]):
        raise PrivateAddress
    return socket.socket(family, kind, protocol)


async def post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> HttpResponse | str:
    """Post *body*, and return the answer with the beginning of its body, or why there is none."""
    try:
        async with session.post(
            url, data=body, headers={"Content-Type": "application/json", **headers}, allow_redirects=False
        ) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return HttpResponse(response.status, names, await _beginning(response))
    except aiohttp.ClientConnectorCertificateError:
        return "its certificate cannot be trusted"
    except aiohttp.ClientConnectorError as error:
        return PRIVATE if PRIVATE in str(error.os_error) else f"no connection ({type(error).__name__})"
    except TimeoutError:
        return "no answer in time"
    except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
        return f"the connection broke ({type(error).__name__})"


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return as much of the body as is kept; whatever is wrong with the rest, the status has been said."""
    parts: list[bytes] = []
    left = ANSWER_KEPT
    try:
        while left > 0 and (part := await response.content.read(left)):
            parts.append(part)
            left -= len(part)
    except (aiohttp.ClientError, OSError, TimeoutError):
        response.close()
    if left == 0:
        response.close()
    return b"".join(parts)
