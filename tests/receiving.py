"""An event for the receiver, the answer to it, and the rows that it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.asgi import Answer, Client

if TYPE_CHECKING:
    from tests.wishes import Pool

EVENT = {
    "event_id": "evt-1",
    "record_id": "crm-42",
    "work_email": "jane@acme.co",
    "name": "Jane Doe",
    "company": "Acme",
}


async def stored(pool: Pool) -> tuple[int, int, int]:
    """Return how many events, lookups and jobs there are."""
    row = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM lookups), (SELECT count(*) FROM jobs)"
    )
    assert row is not None
    return tuple(row.values())


def lookups(answer: Answer) -> list[dict[str, Any]]:
    """Return the lookups in a 202."""
    assert answer.status == 202, answer
    listed: list[dict[str, Any]] = answer.json()["lookups"]
    return listed


def wrong_paths(answer: Answer) -> list[str]:
    """Return the paths of the wrong fields in a 422."""
    assert answer.status == 422, answer
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["path"] for error in answer.json()["errors"]]


async def status_of(client: Client, id: UUID) -> str:
    """Return the lookup's status as the API shows it."""
    status: str = (await client.get(f"/v1/lookups/{id}")).json()["status"]
    return status
