"""Send a signed test event through PUBLIC_URL to our own receiver, as HubSpot would."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

import aiohttp

from enrichment.crms.hubspot_signatures import SIGNATURE_V3, TIMESTAMP, sign_v3
from enrichment.providers.base import HttpRequest, HttpResponse
from submitter.transport import send

NO_EVENTS: list[Any] = []  # an event that is verified like others and names no contact
PROCESSES_NOTICE = 10.0  # seconds until every receiver has read a new connection
BETWEEN_TRIES = 2.0


async def send_test_event(session: aiohttp.ClientSession, public_url: str, secret: str) -> str | None:
    """Send an event without contacts to /events/hubspot. Return what is wrong; None if it was accepted."""
    url = f"{public_url}/events/hubspot"
    deadline = time.monotonic() + PROCESSES_NOTICE
    while True:
        timestamp = str(int(time.time() * 1000))
        headers = {
            TIMESTAMP: timestamp,
            SIGNATURE_V3: sign_v3(secret, "POST", url, json.dumps(NO_EVENTS).encode(), timestamp),
        }
        answer = await send(session, HttpRequest("POST", url, headers, cast("Any", NO_EVENTS)))
        trouble = _read(answer.status) if isinstance(answer, HttpResponse) else f"{url}: {answer.reason}"
        if trouble is None or time.monotonic() > deadline:
            return trouble
        await asyncio.sleep(BETWEEN_TRIES)


def _read(status: int) -> str | None:
    match status:
        case 202:
            return None
        case 401:
            return (
                "401: the receiver did not verify the signature. Give it the same HUBSPOT_CLIENT_SECRET and PUBLIC_URL "
                "as this command, and start it again"
            )
        case 404:
            return "404: PUBLIC_URL leads to a server that does not know /events/hubspot"
        case 503:
            return "503: the receiver cannot reach its database now"
        case _:
            return f"HTTP {status}: something else answers there; check PUBLIC_URL"
