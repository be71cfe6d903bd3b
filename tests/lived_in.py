"""An installation that has worked for a month: something in every state that a page shows.

What is drawn is the same every time; only the clock differs. No name, address or number belongs to anybody: numbers are
of the ranges that regulators keep for fiction.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from enrichment.crms import CRMS
from enrichment.quote import Answered, quote
from enrichment.suppression import Kind, read_identifier
from store.audit import record
from store.connections import connect
from store.partitions import ensure_partitions
from store.pauses import Scope, add_pause
from store.providers import pause, register_crm, register_provider
from store.suppressions import suppress
from tests import factories
from tests.campaigning import COLUMNS
from tests.old_history import NOW, at
from tests.wishes import POLICY

if TYPE_CHECKING:
    from tests.wishes import Pool

DAYS = 30
PAST = 240  # lookups that have ended, most of them lately
FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Ken", "Frances", "Tim", "Hedy", "Niklaus")
LAST = (
    "Byron",
    "Murray",
    "Mathison",
    "Wybe",
    "Huberman",
    "Ervin",
    "Joy",
    "Lane",
    "Allen",
    "Berners",
    "Kiesler",
    "Emil",
)
COMPANIES = ("Acme", "Globex", "Initech", "Umbrella", "Hooli", "Vandelay", "Wonka", "Tyrell")
# How often each happens: (status, provider, how it answered, share).
FATES = (
    ("found", "leadmagic", "inline", 30),
    ("found", "nyne", "callback", 28),
    ("found", "nyne", "poll", 4),
    ("not_found", "nyne", "callback", 24),
    ("unresolved", "nyne", None, 4),
    ("failed", "nyne", None, 3),
    ("suppressed", None, None, 3),
    ("cancelled", None, None, 4),
)
CREDITS = {"leadmagic": Decimal(5), "nyne": Decimal(3)}
SUPPRESSED: tuple[tuple[Kind, str, str | None], ...] = (
    ("email", "jane@acme.co", "asked by e-mail on the 3rd"),
    ("profile", "linkedin.com/in/john-42", None),
    ("domain", "competitor.io", "a competitor"),
    ("number", "+447700900123", "called us"),
)


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist."""

    number: int
    name: str
    company: str
    source: str

    @property
    def contact(self) -> dict[str, Any]:
        """Return the columns of the person's lookup."""
        account, domain = self.name.lower().replace(" ", "."), f"{self.company.lower()}.example"
        return {
            "source": self.source, "record_id": str(18_400 + 7 * self.number), "name": self.name,
            "company": self.company, "work_email": f"{account}{self.number}@{domain}",
            "profile_url": f"linkedin.com/in/{account.replace('.', '-')}-{self.number}",
        }  # fmt: skip

    @property
    def mobile(self) -> str:
        """Return a number for fiction: of Ofcom's, or 555-01xx."""
        return f"+447700900{self.number % 1000:03}" if self.number % 3 else f"+1415555{100 + self.number % 100:04}"


def people(seed: int = 12) -> Iterator[Person]:
    """Draw one after another."""
    dice = random.Random(seed)
    for number in range(10_000):
        source = dice.choices(("hubspot", "generic", "api"), (6, 3, 1))[0]
        yield Person(number, f"{dice.choice(FIRST)} {dice.choice(LAST)}", dice.choice(COMPANIES), source)


async def fill(pool: Pool) -> None:
    """Fill a new database."""
    everybody = people()
    async with pool.acquire(timeout=5) as connection:
        await ensure_partitions(connection, since=NOW - timedelta(days=DAYS + 1))
    await _world(pool)
    found = await _past(pool, everybody)
    await _present(pool, everybody)
    await _deliveries(pool, found)
    await _readings(pool, found)
    await _decisions(pool, found)
    await _files(pool)
    await pool.execute(
        "UPDATE events SET received_at = lookups.created_at FROM lookups WHERE lookups.event_id = events.id"
    )


async def _world(pool: Pool) -> None:
    """Register who is asked: one provider is well, a person stopped the other, and the CRM lost its token."""
    for name, limits in (("leadmagic", {60: 300}), ("nyne", {60: 60, 3600: 1000})):
        await register_provider(pool, name, (), limits)
    await register_crm(pool, "hubspot", CRMS["hubspot"].limits)
    await pause(pool, "hubspot", "401: The OAuth token used to make this call expired.", timedelta(minutes=1))
    await connect(pool, "hubspot", account="8675309", learned={"fields": ["mobilephone"]})
    await pool.executemany(
        "INSERT INTO vendor_figures (provider, at, balance, used, charged) VALUES ($1, $2, $3, $4, 0)",
        [("leadmagic", NOW - timedelta(minutes=12), Decimal(8_412), None), ("nyne", NOW, None, Decimal(1_377))],
    )


def _moments() -> Iterator[datetime]:
    """Return when the lookups of the past came: more and more of them, the last a moment ago."""
    for number in range(PAST):
        left = 1 - number / PAST
        yield NOW - timedelta(days=DAYS * left**3, seconds=25 + 7 * (PAST - number))


async def _past(pool: Pool, everybody: Iterator[Person]) -> list[Any]:
    """Insert what has ended; return the lookups that have a number."""
    dice, found = random.Random(7), []
    shares = [share for *_, share in FATES]
    for person, moment in zip(everybody, _moments(), strict=False):
        status, provider, by, _ = dice.choices(FATES, shares)[0]
        ended = moment + timedelta(seconds=math.exp(dice.gauss(0.6 if by == "inline" else 3, 0.8)))
        values = person.contact | {"final_status": status, "finished_at": ended, "created_at": moment}
        if status == "found":
            values |= {
                "provider": provider,
                "mobile": person.mobile,
                "mobile_raw": person.mobile,
                "line_type": "mobile",
            }
        elif status in ("failed", "unresolved"):
            values["reason"] = "HTTP 400: no such field" if status == "failed" else "no answer within an hour"
        row = await factories.lookup(pool, id=at(moment), event_id=at(moment), **values)
        await pool.execute("UPDATE events SET body = $2 WHERE id = $1", row["event_id"], _event(person))
        if provider is not None:
            await _asked(pool, row, provider, by)
        if status == "found":
            found.append(row)
    # The same person comes again, and takes the answer that is there.
    for number, first in enumerate(found[-40:-30]):
        moment = first["finished_at"] + timedelta(minutes=number)
        values = {name: first[name] for name in ("source", "record_id", "work_email", "name", "company")}
        values |= {name: first[name] for name in ("final_status", "provider", "mobile", "mobile_raw", "search_id")}
        await factories.lookup(
            pool, id=at(moment), event_id=at(moment), created_at=moment, finished_at=moment, reused_from=first["id"],
            **values,
        )  # fmt: skip
    return found


def _event(person: Person) -> bytes:
    return json.dumps({"event_id": f"evt-{person.number}", **person.contact}, indent=1).encode()


async def _asked(pool: Pool, lookup: Any, provider: str, by: str | None) -> None:
    """Insert the jobs that led to the lookup's end."""
    begun, ended, status = lookup["created_at"], lookup["finished_at"], lookup["final_status"]
    common = {"lookup_id": lookup["id"], "source": lookup["source"], "reserved_on": begun.date()}
    if provider == "nyne":  # it comes after the other one
        await factories.finished_job(
            pool, provider="leadmagic", answered_by="inline", id=at(begun), submitted_at=begun,
            finished_at=begun + (ended - begun) / 4, **common,
        )  # fmt: skip
    state = {"failed": "failed", "unresolved": "lost"}.get(status, "answered")
    error = None if state == "answered" else lookup["reason"]
    request = None if by == "inline" else f"req_{lookup['id'].hex[-12:]}"
    job = await factories.finished_job(
        pool, state, provider=provider, answered_by=by, id=at(begun), submitted_at=begun, finished_at=ended,
        request_id=request, polls=2 if by == "poll" else 0, error=error,
        credits=CREDITS[provider] if status == "found" else 0, **common,
    )  # fmt: skip
    if by == "callback":
        body = {"request_id": request, "status": "completed", "result": {"phones": [lookup["mobile"]]}}
        await callback(pool, job, json.dumps(body, indent=1).encode())


async def callback(pool: Pool, job: Any, body: bytes, **overrides: Any) -> None:
    """Insert a callback of the job, applied unless *overrides* say otherwise."""
    values = {"verdict": "applied", "flag": None, "received_at": NOW} | overrides
    await pool.execute(
        """
        INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict, flag, received_at)
        VALUES ($1, sha256($4), $2, $3, $4, $5, $6, $7)
        """,
        *(job["id"], job["provider"], job["lookup_id"], body),
        *(values["verdict"], values["flag"], job.get("finished_at") or values["received_at"]),
    )


async def _present(pool: Pool, everybody: Iterator[Person]) -> None:
    """Insert what is under way: asked, awaited, and held for every reason."""
    flows: list[tuple[str, str, int, dict[str, Any]]] = [
        ("queued", "leadmagic", 3, {}),
        ("submitting", "leadmagic", 1, {"lease_expires_at": NOW + timedelta(seconds=20)}),
        ("awaiting", "nyne", 14, {}),
        ("queued", "nyne", 2, {"tries": 1, "attempt": 1, "error": "HTTP 503"}),
        ("queued", "nyne", 9, {"held": "flood"}),
        ("queued", "nyne", 3, {"held": "budget"}),
        ("queued", "leadmagic", 4, {"held": "brake"}),
    ]
    for state, provider, count, values in flows:
        for number in range(count):
            moment = NOW - timedelta(seconds=40 * number + 95)
            contact = next(everybody).contact | ({"source": "hubspot"} if values.get("held") == "flood" else {})
            row = await factories.lookup(pool, id=at(moment), event_id=at(moment), created_at=moment, **contact)
            asked = {"submitted_at": moment} if state != "queued" else {"due_at": moment}
            await factories.job(
                pool,
                state,
                lookup_id=row["id"],
                provider=provider,
                source=row["source"],
                id=at(moment),
                **asked,
                **values,
            )


async def _deliveries(pool: Pool, found: list[Any]) -> None:
    """Insert a delivery of each number, most of them delivered."""
    states = ("delivered",) * 8 + ("skipped", "delivered", "refused", "delivered", "delivered", "given_up")
    for number, row in enumerate(reversed(found)):
        ended = row["finished_at"] + timedelta(seconds=1)
        state, crm = states[number % len(states)], row["source"] == "hubspot"
        if number in (0, 2, 3, 7):
            state = "sending" if number == 3 else "queued"
        values: dict[str, Any] = {"lookup_id": row["id"], "channel": "hubspot" if crm else "webhook", "id": at(ended)}
        if state not in ("queued", "sending"):
            values["ended_at"] = ended
        if state == "skipped":
            values["reason"] = "the contact has a number already"
        if state in ("refused", "given_up"):
            values |= {"reason": "HTTP 422", "answer": '{"message": "mobilephone is read-only"}', "tries": 3}
        await factories.delivery(pool, state, **values)


async def _readings(pool: Pool, found: list[Any]) -> None:
    """Insert readings of contacts in every state."""
    of_hubspot = [row for row in reversed(found) if row["source"] == "hubspot"]
    for number, row in enumerate(of_hubspot):
        named = {"id": at(row["created_at"]), "named_at": row["created_at"], "named_by": ("event", "sweep")[number % 2]}
        await reading(pool, row["record_id"], "done", lookup_id=row["id"], ended_at=row["finished_at"], **named)
    skipped = ("it has a number already", "nothing in it to ask with", "it was deleted")
    for number, reason in enumerate(skipped * 3):
        moment = NOW - timedelta(hours=number, minutes=11)
        await reading(pool, f"29{number:03}", "skipped", id=at(moment), named_at=moment, ended_at=moment, reason=reason)
    for number in range(4):
        await reading(pool, f"31{number:03}", "queued", named_by="backfill")
    await reading(pool, "32001", "reading", lease_expires_at=NOW + timedelta(seconds=20))
    await reading(pool, "32002", "queued", tries=2, error="HTTP 502 from HubSpot")


async def reading(pool: Pool, record_id: str, state: str, **overrides: Any) -> None:
    """Insert one reading."""
    values = {"id": at(NOW), "source": "hubspot", "record_id": record_id, "state": state, "named_by": "event"}
    await factories.insert(pool, "readings", values | overrides)


async def _decisions(pool: Pool, found: list[Any]) -> None:
    """Insert what people decided."""
    async with pool.acquire(timeout=5) as connection:
        stop = "The invoice of last month is being clarified"
        await add_pause(connection, Scope(provider="leadmagic"), reason=stop, who="ada")
        for kind, text, note in SUPPRESSED:
            (done,) = await suppress(connection, [read_identifier(kind, text)], POLICY, note)
            await record(connection, who="grace", action="suppress", subject=done.id, detail={"kind": kind})
        for number, action in enumerate(("retry", "reveal", "cancel", "release", "replay") * 5):
            await record(
                connection, who=("ada", "grace", "ops")[number % 3], action=action, subject=found[number]["id"]
            )
    await pool.execute(
        """
        UPDATE audit SET at = at - nth * interval '4 hours 7 minutes'
          FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS nth FROM audit) AS newest WHERE newest.id = audit.id
        """
    )
    await pool.execute("UPDATE pauses SET created_at = now() - interval '3 hours'")
    await pool.execute("UPDATE suppressions SET created_at = now() - interval '9 days'")


async def _files(pool: Pool) -> None:
    """Insert a file whose quote waits for somebody, and one that is done."""
    await _file(pool, "webinar.csv", "quoted", rows=1_840, began=NOW - timedelta(minutes=26))
    await _file(pool, "trade-fair.csv", "done", rows=412, began=NOW - timedelta(days=6))


async def _file(pool: Pool, name: str, state: str, *, rows: int, began: datetime) -> None:
    new = rows * 9 // 10
    sample = [Answered(number % 3 != 0, Decimal(5) if number % 3 else Decimal(0)) for number in range(50)]
    asked, found = (new, new * 2 // 3) if state == "done" else (50, 33)
    people = [f"Person {number},p{number}@acme.example,Acme,\r\n" for number in range(rows)]
    content = "".join([",".join(COLUMNS), "\r\n", *people]).encode()
    values: dict[str, Any] = {
        "id": at(began), "name": name, "who": "grace", "state": state, "is_uploaded": True,
        "digest": hashlib.sha256(content).digest(),
        "layout": json.dumps({
            "columns": list(COLUMNS), "kind": "csv", "encoding": "utf-8", "separator": ",", "sheet": None,
        }),
        "mapping": json.dumps(COLUMNS), "read_to": rows, "read_at": began, "fresh": new, "duplicate": rows // 40,
        "known": rows // 30, "unusable": rows - new - rows // 40 - rows // 30, "most_credits": 8 * new, "sample": 50,
        "quote": json.dumps(asdict(quote(sample, new, Decimal(8))), default=float), "approved_credits": 8 * asked,
        "begun": asked, "ended": asked, "found": found, "credits": 5 * found, "created_at": began,
    }  # fmt: skip
    if state == "done":
        values |= {"approved_at": began, "done_at": began + timedelta(minutes=19)}
    await factories.insert(pool, "campaigns", values)
    await factories.insert(pool, "campaign_files", {"campaign_id": values["id"], "place": 0, "bytes": content})
