"""The Procfile's own commands, both vendors and HubSpot: from a contact to the number on it, through every fault.

Everything is observed from outside: HubSpot's ledger and requests, the vendors' books, and our API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import empty_database, ringback, until
from tests.deployed import Json, Service, deployed

TOKEN = "hs_sandbox"
OPEN = (
    ("readings", ("queued", "reading")),
    ("lookups", ("queued", "running", "held")),
    ("deliveries", ("queued", "sending")),
)
# HubSpot's searches see every change at once, and a refused webhook comes again soon.
QUICK = ("--index-lag", "0", "0", "--retry-seconds", "0.2")


@dataclass
class Account:
    """HubSpot's account and our processes."""

    service: Service

    @property
    def url(self) -> str:
        """The address of the account's admin."""
        return f"{self.service.vendors['hubspot']}/sandbox"

    async def do(self, method: str, path: str, **document: object) -> Json:
        """Act as one of the account's people."""
        async with self.service.session.request(method, f"{self.url}/{path}", json=document) as response:
            assert response.status == 200, await response.text()
            answer: Json = await response.json()
            return answer

    async def create(self, name: str) -> str:
        """Create a contact, whose e-mail address says what happens to it; return its id."""
        answer = await self.do("POST", "contacts", properties={"email": f"{name}@acme.test", "lastname": "Doe"})
        id: str = answer["contacts"][0]["id"]
        return id

    async def contact(self, id: str) -> Json:
        """Return all that is true about a contact."""
        return await self.service.get(f"{self.url}/contacts/{id}")

    async def number(self, id: str) -> str | None:
        """Return the contact's mobile number."""
        properties: dict[str, str | None] = (await self.contact(id))["properties"]
        return properties.get("mobilephone")

    async def until(self, holds: Callable[[], Awaitable[object]]) -> None:
        """Wait until *holds* returns something true."""

        async def look() -> bool | None:
            return bool(await holds()) or None

        await until(look)

    async def has_number(self, id: str) -> None:
        """Wait until the contact has a mobile number."""
        await self.until(lambda: self.number(id))

    async def written(self) -> list[tuple[str, str]]:
        """Return the contact and the mobile number of each write through the API, in order."""
        ledger = await self.service.get(f"{self.url}/ledger")
        ours = [one for one in ledger["entries"] if one["source_type"] == "INTEGRATION"]
        return [(one["contact"], one["new"]) for one in ours if one["property"] == "mobilephone"]

    async def was_asked(self, method: str, id: str) -> bool:
        """Tell whether a request for this contact alone has reached HubSpot."""
        requests = await self.service.get(f"{self.url}/requests")
        return any(one["method"] == method and f"contacts/{id}" in one["target"] for one in requests["entries"])

    async def asked(self, vendor: str, times: int) -> bool:
        """Tell whether *vendor* was asked at least so many times."""
        stats = await self.service.get(f"{self.service.vendors[vendor]}/sandbox/stats")
        return bool(stats["posts"] >= times)

    async def waits_for_nyne(self, id: str) -> bool:
        """Tell whether Nyne has taken the question about this contact."""
        jobs = [job for lookup in await self.listed("lookups", record_id=id) for job in lookup["jobs"]]
        return any(job["state"] == "awaiting" for job in jobs)

    async def listed(self, what: str, **query: str) -> list[Json]:
        """Return the newest readings, lookups or deliveries."""
        page = await self.service.get(f"{self.service.url}/v1/{what}", limit="200", **query)
        rows: list[Json] = page[what]
        return rows

    async def at_rest(self) -> None:
        """Wait until nothing is left to read, to ask or to deliver, and no event is on its way, at two looks."""

        async def rests() -> bool:
            for _ in range(2):
                for what, statuses in OPEN:
                    for status in statuses:
                        if await self.listed(what, status=status):
                            return False
                if (await self.service.get(f"{self.url}/stats"))["webhooks_pending"]:
                    return False
            return True

        await self.until(rests)


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database without a table."""
    async with empty_database(server_url) as url:
        yield url


@asynccontextmanager
async def connected(database_url: str, *, webhooks: bool = True, **settings: str) -> AsyncIterator[Account]:
    """Run everything inside the block, HubSpot connected, and its webhooks subscribed if wanted."""
    given = {"LEASE_SECONDS": "2", "HUBSPOT_SWEEP_SECONDS": "0"} | settings
    async with deployed(database_url, hubspot=QUICK, **given) as service:
        account = Account(service)
        if webhooks:
            await account.do("POST", "subscription", url=f"{service.url}/events/hubspot")
        await service.processes["submitter"].says("crm_work_started")
        yield account


async def test_the_number_is_written_once_whatever_dies(empty_database_url: str) -> None:
    """Submitter and reconciler are killed while one reads, writes, and waits for Nyne: one question, one write each."""
    async with connected(empty_database_url) as hubspot:
        plain = await hubspot.create("lm-found--ada")
        edited = await hubspot.create("hs-human--lm-found--eve")
        unanswered = await hubspot.create("hs-hangwrite--lm-found--bob")
        await asyncio.gather(*(hubspot.has_number(contact) for contact in (plain, edited, unanswered)))
        unread = await hubspot.create("hs-hang--lm-found--ann")
        await hubspot.until(lambda: hubspot.was_asked("GET", unread))
        polled = await hubspot.create("lm-none--ny-silent--dora")
        await hubspot.until(lambda: hubspot.waits_for_nyne(polled))

        await hubspot.service.kill("submitter", "reconciler")
        await hubspot.at_rest()

        contacts = (plain, edited, unanswered, unread, polled)
        shown = {id: await hubspot.contact(id) for id in contacts}
        written = await hubspot.written()
        lookups = await hubspot.listed("lookups")
        (doubtful,) = await hubspot.listed("deliveries", lookup_id=lookup_of(lookups, edited)["id"])
        ledgers = {name: await hubspot.service.charged(name) for name in ("leadmagic", "nyne")}
        events = await hubspot.service.get(f"{hubspot.url}/webhooks")

    assert sorted(written) == sorted((id, shown[id]["true_number"]) for id in contacts)
    assert sorted(one["record_id"] for one in lookups) == sorted(contacts)
    assert doubtful["reason"] == "a person wrote at the same time; left to people"
    for ledger in ledgers.values():
        charged = [entry["person"] for entry in ledger["entries"]]
        assert len(charged) == len(set(charged))
    assert {name: len(ledger["entries"]) for name, ledger in ledgers.items()} == {"leadmagic": 4, "nyne": 1}
    # HubSpot did tell of our own writes: no lookup came of them.
    assert any('"mobilephone"' in one["body"] and "INTEGRATION" in one["body"] for one in events["entries"])


def lookup_of(lookups: list[Json], contact: str) -> Json:
    """Return the only lookup of a contact."""
    (lookup,) = [one for one in lookups if one["record_id"] == contact]
    return lookup


async def test_people_merge_delete_and_erase_meanwhile(empty_database_url: str) -> None:
    """The number follows the merged contact, a deleted one gets none, and of an erased person nothing is left."""
    async with connected(empty_database_url) as hubspot:
        erased = await hubspot.create("lm-found--zoe")
        one, two, deleted = [await hubspot.create(f"lm-slow--{name}") for name in ("kim", "lee", "max")]
        await hubspot.until(lambda: hubspot.asked("leadmagic", 4))
        merged: str = (await hubspot.do("POST", f"contacts/{one}/merge", other=two))["id"]
        await hubspot.do("DELETE", f"contacts/{deleted}")
        await hubspot.has_number(erased)
        before = await hubspot.listed("lookups", q="lm-found--zoe@acme.test")
        await hubspot.do("POST", f"contacts/{erased}/erase")
        await hubspot.at_rest()

        written = dict(await hubspot.written())
        number = (await hubspot.contact(merged))["true_number"]
        (gone,) = await hubspot.listed("lookups", record_id=deleted)
        readings = {one["record_id"]: one["reason"] for one in await hubspot.listed("readings", status="skipped")}
        after = await hubspot.listed("lookups", q="lm-found--zoe@acme.test")

    assert len(before) == 1
    assert after == []
    assert written.keys() == {erased, merged}
    assert written[merged] == number
    assert [one["status"] for one in gone["deliveries"]] == ["skipped"]
    assert readings[deleted] == "gone"


async def test_a_revoked_token_pauses_hubspot_and_resumes_by_itself(empty_database_url: str, tmp_path: Path) -> None:
    """While HubSpot refuses the token `ringback status` says why, and nothing is lost; then everything goes on."""
    async with connected(empty_database_url) as hubspot:
        await hubspot.do("POST", "tokens", token=TOKEN, revoked=True)
        contact = await hubspot.create("lm-found--ivy")
        await hubspot.service.processes["submitter"].says("paused")
        status = await ringback("status", cwd=tmp_path, **hubspot.service.settings)
        await hubspot.do("POST", "tokens", token=TOKEN, revoked=False)
        await hubspot.has_number(contact)
        await hubspot.at_rest()
        written = await hubspot.written()

    assert "HUBSPOT_ACCESS_TOKEN" in status.out
    assert [id for id, _ in written] == [contact]


@pytest.mark.parametrize(
    ("webhooks", "settings"),
    [
        pytest.param(True, {}, id="the webhook is dropped"),
        pytest.param(False, {"HUBSPOT_CLIENT_SECRET": "", "PUBLIC_URL": ""}, id="only HUBSPOT_ACCESS_TOKEN is set"),
    ],
)
async def test_the_sweep_finds_what_no_event_reported(
    empty_database_url: str, webhooks: bool, settings: dict[str, str]
) -> None:
    """A contact of which no webhook tells gets its number all the same."""
    async with connected(empty_database_url, webhooks=webhooks, HUBSPOT_SWEEP_SECONDS="1", **settings) as hubspot:
        await hubspot.service.processes["reconciler"].says('"walked"')  # not due again before tomorrow
        contact = await hubspot.create("hs-silent--lm-none--ny-found--ray")
        await hubspot.has_number(contact)
        await hubspot.at_rest()
        shown, written = await hubspot.contact(contact), await hubspot.written()
        (reading,) = await hubspot.listed("readings")
        lookups = await hubspot.listed("lookups")

    assert written == [(contact, shown["true_number"])]
    assert len(lookups) == 1
    assert (reading["named_by"], reading["lookup_id"]) == ("sweep", lookups[0]["id"])
