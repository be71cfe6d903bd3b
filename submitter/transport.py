"""The only way out to a provider: one request, one answer, every wait with its deadline.

What matters is what may be repeated. A request that was never sent may; one that was sent and not answered may not.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp

from enrichment.providers.base import HttpRequest, HttpResponse

CONNECT_TIMEOUT = 5.0  # seconds, for a connection
BODY_AT_MOST = 262_144  # bytes of an answer that are read
# An idle connection is closed before the provider would do so: a POST on a connection that the other side is
# closing fails in a way that does not tell whether it was read (https://github.com/aio-libs/aiohttp/issues/2867).
# Node.js servers close after 5 s, others later.
KEEPALIVE = 4.0  # seconds


@dataclass(frozen=True, slots=True)
class Unsent:
    """The provider was never reached: asking again is safe."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The request was sent, perhaps; its answer never came whole."""

    reason: str


def open_session(*, limit: int, timeout: float) -> aiohttp.ClientSession:
    """A session for one provider: its own connections, so that one slow provider does not hold up another."""
    # Well before the whole is over, or a connection that never came about would look like an answer that did not.
    connect = min(CONNECT_TIMEOUT, timeout / 2)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEPALIVE, ttl_dns_cache=60),
        # (sock_read would be another timer for each request, which could only run out after the whole.)
        timeout=aiohttp.ClientTimeout(total=timeout, connect=connect, sock_connect=connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "ringback", "Accept": "application/json"},
    )


async def send(session: aiohttp.ClientSession, request: HttpRequest) -> HttpResponse | Unsent | Unanswered:
    """What came of *request*: its response, or the certainty that it was not sent, or neither.

    Paid requests are POSTs: aiohttp repeats other methods by itself on a connection that has died
    (https://github.com/aio-libs/aiohttp/issues/10790).
    """
    headers, data = dict(request.headers), None
    if request.body is not None:
        # Not json=: that takes three times as long to write the same bytes.
        headers["Content-Type"], data = "application/json", json.dumps(request.body).encode()
    try:
        async with session.request(
            request.method, request.url, data=data, headers=headers, allow_redirects=False
        ) as response:
            body = await _read(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpResponse(response.status, headers, body)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        return Unsent(f"no connection ({type(error).__name__})")
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        return Unsent(f"the address cannot be used ({type(error).__name__})")
    except TimeoutError:
        return Unanswered("no answer in time")
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
        return Unanswered(f"the connection broke ({type(error).__name__})")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or its first BODY_AT_MOST bytes: more than that is nothing we can read anyway."""
    parts = []
    left = BODY_AT_MOST
    while left > 0 and (part := await response.content.read(left)):
        parts.append(part)
        left -= len(part)
    if left == 0:
        response.close()
    return b"".join(parts)
