"""The evidence of a small run of the chaos with three contacts of HubSpot, in which every promise is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from chaos.contacts import Contact
from chaos.crm_calls import HUMAN, OURS
from chaos.evidence import Evidence
from chaos.hubspot import CrmBooks
from chaos.overheard import Exchange
from chaos.results import Got
from chaos.vendors import Json
from enrichment.write_back import OVERTAKEN

AT = 1_795_912_600.0
ANN, BOB, EVE = "101", "102", "103"
NUMBER, OTHER = "+14155550100", "+14155550199"


def iso(at: float) -> str:
    """Write a time as HubSpot does."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def id_at(at: float, number: int) -> str:
    """Return a UUIDv7 of that time."""
    digits = f"{round(at * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012d}"


def slug(id: str) -> str:
    """Return the slug of a contact's profile."""
    return f"person-{id}--lm-found"


def contact(id: str, number: str | None = None, absorbed: str = "") -> Json:
    """Return a contact as HubSpot's admin shows it."""
    url = f"https://www.linkedin.com/in/{slug(id)}"
    return {
        "id": id,
        "properties": {"hs_linkedin_url": url, "mobilephone": number, "hs_merged_object_ids": absorbed},
    }


def made(id: str, **more: Any) -> Contact:
    """Return a contact as it was created."""
    identifiers = {"profile_url": f"https://www.linkedin.com/in/{slug(id)}", "work_email": f"{id}@x.test"}
    return Contact(id, int(id), identifiers, AT, **more)


def delivery(number: int, channel: str, **more: Any) -> Json:
    """Return a delivery that succeeded."""
    done = {"id": id_at(AT + 2, number), "channel": channel, "status": "delivered", "attempts": 1}
    return done | {"reason": None, "last_error": None} | more


def lookup(number: int, record_id: str, *deliveries: Json, at: float = AT + 1, **more: Any) -> Json:
    """Return a lookup that found a number."""
    person = {"profile_url": f"linkedin.com/in/{slug(record_id)}", "work_email": None, "personal_email": None}
    return {
        "id": id_at(at, number), "status": "found", "mobile": NUMBER, "source": "hubspot", "record_id": record_id,
        "person": person | {"name": None, "company": None}, "deliveries": list(deliveries), "jobs": [], "credits": 0,
        "reused_from": None,
    } | more  # fmt: skip


def write(at: float, id: str, by: str, new: str | None, old: str | None = None) -> Json:
    """Return a line of HubSpot's books."""
    return {"at": iso(at), "contact": id, "property": "mobilephone", "old": old, "new": new, "source_type": by}


def read(at: float, *ids: str, status: int | None = 200) -> Exchange:
    """Return our batch read."""
    body = json.dumps({"inputs": [{"id": id} for id in ids]}).encode()
    path = "/crm/objects/2026-09/contacts/batch/read"
    return Exchange(at, "POST", path, body, written=True, status=status, answered_at=at + 0.05)


def patch(at: float, id: str, number: str | None = NUMBER, status: int | None = 200) -> Exchange:
    """Return our write: of a number, or of the status alone."""
    written = {"mobilephone": number} if number else {"ringback_status": "not_found"}
    body = json.dumps({"properties": written}).encode()
    path = f"/crm/objects/2026-09/contacts/{id}"
    return Exchange(at, "PATCH", path, body, written=True, status=status, answered_at=at + 0.05)


def asked(id: str, at: float) -> Exchange:
    """Return a paid question about a person."""
    body = json.dumps({"profile_url": f"linkedin.com/in/{slug(id)}"}).encode()
    return Exchange(at, "POST", "/v1/people/mobile-finder", body, written=True, status=200, answered_at=at)


def event(id: str, kind: str, **more: Any) -> Json:
    """Return an accepted POST of one event."""
    body = json.dumps([{"objectId": int(id), "subscriptionType": f"contact.{kind}"}])
    return {"body": body, "forged": False, "status": 202} | more


def evidence() -> Evidence:
    """Return a run: Ann got her number, a person wrote Bob's between our read and our write, and Eve was erased."""
    webhook = delivery(1, "webhook")
    hubspot_of_bob = delivery(2, "hubspot", reason=OVERTAKEN)
    found = [
        lookup(1, ANN, webhook, delivery(4, "hubspot")),
        lookup(2, BOB, delivery(3, "webhook", attempts=2), hubspot_of_bob),
    ]
    stats: Json = dict.fromkeys(("requests", "limited", "events", "events_dropped", "events_accepted"), 0)
    stats |= {"forged_sent": 1, "forged_accepted": 0, "limited_by": {}}
    return Evidence(
        lookups={one["id"]: one for one in found},
        contacts=[made(ANN), made(BOB), made(EVE, deed="erase")],
        hubspot=CrmBooks(
            contacts=[contact(ANN, NUMBER), contact(BOB, NUMBER)],
            writes=[
                write(AT + 3.02, ANN, OURS, NUMBER),
                write(AT + 3.01, BOB, HUMAN, OTHER),
                write(AT + 3.02, BOB, OURS, NUMBER, OTHER),
            ],
            webhooks=[event(EVE, "privacyDeletion")],
            stats=stats,
        ),
        overheard={
            "hubspot": [read(AT, ANN, BOB, EVE), read(AT + 2.9, ANN, BOB), patch(AT + 3, ANN), patch(AT + 3, BOB)],
            "leadmagic": [asked(ANN, AT + 1), asked(BOB, AT + 1)],
        },
        results=[
            Got(webhook["id"], found[0]["id"], AT + 2, 200, AT + 2),
            Got(id_at(AT + 2, 3), found[1]["id"], AT + 2, 500, AT + 2),
            Got(id_at(AT + 2, 3), found[1]["id"], AT + 7, 200, AT + 7),
        ],
        delivered={webhook["id"]: AT + 2.1, id_at(AT + 2, 3): AT + 7.1},
    )


def first(seen: Evidence) -> Json:
    """Return Ann's lookup."""
    return next(iter(seen.lookups.values()))


def second(seen: Evidence) -> Json:
    """Return Bob's lookup."""
    return list(seen.lookups.values())[1]
