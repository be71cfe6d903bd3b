"""The only way out to a provider: one request, one answer, a deadline for every wait.

It tells what may be repeated: a request that was never sent may, one that was sent and not answered may not.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp

from enrichment.providers.base import HttpRequest, HttpResponse
from submitter.gated import GatedConnector

CONNECT_TIMEOUT = 5.0  # seconds, for a connection
BODY_AT_MOST = 262_144  # bytes of an answer that are read
# An idle connection is closed before the provider would do so: a POST on a connection that the other side is
# closing fails in a way that does not tell whether it was read (https://github.com/aio-libs/aiohttp/issues/2867).
# Node.js servers close after 5 s, others later.
KEEPALIVE = 4.0  # seconds


@dataclass(frozen=True, slots=True)
class Unsent:
    """The request never reached the provider: asking again is safe."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The request may have been sent; no complete answer came."""

    reason: str


def open_session(*, limit: int, timeout: float) -> aiohttp.ClientSession:
    """Open a session for one provider, with its own connections: a slow provider does not delay another."""
    # Well below the total timeout, or a connection that was never made would look like a missing answer.
    connect = min(CONNECT_TIMEOUT, timeout / 2)
    return aiohttp.ClientSession(
        connector=GatedConnector(limit=limit, keepalive_timeout=KEEPALIVE, ttl_dns_cache=60),
        # (sock_read would be another timer for each request, and could only expire after the total.)
        timeout=aiohttp.ClientTimeout(total=timeout, connect=connect, sock_connect=connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "ringback", "Accept": "application/json"},
    )


async def send(session: aiohttp.ClientSession, request: HttpRequest) -> HttpResponse | Unsent | Unanswered:
    """Send *request* and return its response, or Unsent if it was certainly not sent, or Unanswered.

    Paid requests are POSTs: aiohttp repeats other methods by itself on a connection that has died
    (https://github.com/aio-libs/aiohttp/issues/10790).
    """
    headers, data = dict(request.headers), None
    if request.body is not None:
        # Not json=: that takes three times as long for the same bytes.
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
    """Return the body's first BODY_AT_MOST bytes: we could not use a longer one anyway."""
    parts = []
    left = BODY_AT_MOST
    while left > 0 and (part := await response.content.read(left)):
        parts.append(part)
        left -= len(part)
    if left == 0:
        response.close()
    return b"".join(parts)
