"""Events as HubSpot posts them, and the readings that they leave."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from uuid_utils.compat import uuid7

from enrichment.crms.hubspot_signatures import SIGNATURE_V3, TIMESTAMP, sign_v3
from tests.asgi import Answer, Client

if TYPE_CHECKING:
    from tests.wishes import Pool

SECRET = "client-secret-of-tests"
PUBLIC_URL = "https://ringback.test"
PATH = "/events/hubspot"
ACCOUNT = 62515


def event(object_id: Any = 123, kind: str = "contact.creation", **fields: Any) -> dict[str, Any]:
    """Return an event as HubSpot sends it."""
    return {
        "eventId": 1, "subscriptionId": 12345, "portalId": ACCOUNT, "occurredAt": 1564113600000,
        "subscriptionType": kind, "attemptNumber": 0, "objectId": object_id, "changeSource": "CRM", "appId": 54321,
    } | fields  # fmt: skip


def signed(body: bytes, path: str = PATH, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """Return the headers with which HubSpot sends *body*, now unless *at* another time in seconds."""
    timestamp = str(int(1000 * (time.time() if at is None else at)))
    return {SIGNATURE_V3: sign_v3(secret, "POST", f"{PUBLIC_URL}{path}", body, timestamp), TIMESTAMP: timestamp}


async def post(client: Client, *events: Any, path: str = PATH) -> Answer:
    """Post these events as HubSpot does: signed, and without a token."""
    body = json.dumps(events).encode()
    return await Client(client.app).post(path, body, signed(body, path))


async def readings(pool: Pool) -> list[tuple[str, str]]:
    """Return (record_id, state) of every reading, in the order of ids."""
    rows = await pool.fetch("SELECT record_id, state::text FROM readings ORDER BY record_id")
    return [tuple(row.values()) for row in rows]


async def reading(pool: Pool, record_id: str = "123", **values: Any) -> None:
    """Insert a reading of HubSpot's, queued unless *values* say otherwise."""
    given: dict[str, Any] = {"id": uuid7(), "source": "hubspot", "record_id": record_id, "named_by": "event"} | values
    columns = ", ".join(given)
    places = ", ".join(f"${place}" for place in range(1, len(given) + 1))
    await pool.execute(f"INSERT INTO readings ({columns}) VALUES ({places})", *given.values())  # noqa: S608
