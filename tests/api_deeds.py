"""What people ask of the API and the commands, as deeds whose statements test_plans.py explains."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from enrichment.selection import Filter, Wanted
from store import export, lookups, reports, selections
from store.find import find_by_key, find_by_number
from store.partitions import NEWEST
from store.timeline import read_trail
from tests.explained import Db, Deed
from tests.large_history import NOW, PART, some
from tests.wishes import MOBILE, POLICY


async def some_final(db: Db, status: str) -> UUID:
    """Return a lookup of that status, from the middle of the history."""
    id: UUID = await db.fetchval(
        "/* the test's own */ SELECT id FROM lookups WHERE final_status = $1::text::final_status"
        " ORDER BY id OFFSET 5 LIMIT 1",
        status,
    )
    return id


async def decisions(db: Db) -> None:
    """Release, cancel and retry, as a person may."""
    row = await db.fetchrow("/* the test's own */ SELECT lookup_id FROM jobs WHERE held = 'budget' LIMIT 1")
    await lookups.release(db, row["lookup_id"])
    assert await lookups.cancel(db, row["lookup_id"], POLICY)
    unresolved = await some_final(db, "unresolved")
    await lookups.possibly_charged(db, unresolved)
    assert await lookups.retry(db, unresolved, POLICY)
    assert await lookups.retry(db, await some_final(db, "found"), POLICY, wrong_number=True)
    await lookups.drop_unneeded(db, [row["search_id"] for row in await some(db, "queued")])


async def details(db: Db) -> None:
    """Read some lookups with their jobs."""
    ids = [row["lookup_id"] for row in await some(db, "awaiting")]
    assert len(await reports.read_lookups(db, ids)) == PART


async def previews(db: Db) -> None:
    """Preview each action, and begin to apply it."""
    for action, given in {"retry": {}, "cancel": {"reason": "x"}, "release": {}, "replay": {"source": "x"}}.items():
        wanted = Wanted.model_validate({"action": action, "filter": given})
        id = await selections.create(db, wanted, "tests")
        await selections.advance(db, id, POLICY, {"leadmagic": Decimal(5), "nyne": Decimal(3)})
        selection = await selections.find(db, id)
        assert selection is not None
        await selections.sample(db, selection)


async def record_previews(db: Db) -> None:
    """Preview an action on one record."""
    id = await selections.create(db, Wanted.model_validate({"action": "erase", "filter": {"record_id": "crm-7"}}), "x")
    await selections.advance(db, id, POLICY, {})


async def applies(db: Db) -> None:
    """Apply actions, chunk by chunk, to the end."""
    for action in ("retry", "release", "cancel"):
        wanted = Wanted.model_validate({"action": action, "filter": {"since": NOW - timedelta(days=60)}})
        id = await selections.create(db, wanted, "tests")
        await selections.advance(db, id, POLICY, {})
        await db.execute(
            "/* the test's own */ UPDATE selections SET state = 'previewed', previewed_at = now()"
            " WHERE state = 'previewing'"
        )
        assert await selections.begin(db, id, "tests")
        await selections.under_way(db, PART)
        await selections.advance(db, id, POLICY, {})


async def finds(db: Db) -> None:
    """Find lookups by an e-mail's key, and by a rare number."""
    row = await db.fetchrow(
        "/* the test's own */ SELECT keys, id FROM lookups"
        " WHERE reused_from IS NOT NULL AND final_status = 'found' LIMIT 1"
    )
    given: Any = {"status": None, "source": None, "record_id": None, "before": NEWEST, "limit": 5}
    assert row["id"] in await find_by_key(db, row["keys"][:1], **given)
    assert row["id"] in await find_by_key(db, row["keys"][:1], **given | {"status": "found", "source": "generic"})
    assert len(await find_by_number(db, MOBILE, **given)) == 5
    assert await find_by_number(db, "+4915112345678", **given) == []


def listing(status: str | None = None, record_id: str | None = None, source: str | None = None) -> Deed:
    """Return a deed that reads a page of the list, and the page after it."""

    async def listed(db: Db) -> None:
        before = None
        for _ in range(2):
            ids = await reports.list_lookups(
                db, status=status, record_id=record_id, source=source, before=before, limit=5
            )
            assert len(ids) == 5 or record_id is not None or source == "api"
            before = ids[-1] if ids else None

    return listed


async def exports(db: Db) -> None:
    """Read two pages of all lookups, of a provider's of some days ago, and of a status and a reason."""
    ago = NOW - timedelta(days=30)
    for given in ({}, {"provider": "nyne", "until": ago}, {"status": "not_found", "until": ago}, {"reason": "x"}):
        pages = export.pages(db, Filter.model_validate(given), PART)
        assert [len(await anext(pages)) for _ in range(2)] == [0 if "reason" in given else PART] * 2


async def usage(db: Db) -> None:
    """Read the credits of a month."""
    assert len(await reports.usage_by_day(db, (NOW - timedelta(days=30)).date())) >= 60


async def timelines(db: Db) -> None:
    """Read what is stored about a lookup: one that runs, one that joined, and an old one."""
    running = (await some(db, "awaiting"))[0]["lookup_id"]
    joined = await db.fetchval("/* the test's own */ SELECT id FROM lookups WHERE reused_from IS NOT NULL LIMIT 1")
    for id in (running, joined, await some_final(db, "unresolved")):
        trail = await read_trail(db, id, with_bodies=True)
        assert trail is not None
        assert trail.questions


OF_THE_API: dict[str, Deed] = {
    "by hand": decisions,
    "read": details,
    "timeline": timelines,
    "usage_by_day": usage,
    "list": listing(),
    "list of found": listing("found"),
    "list of a rare status": listing("cancelled"),
    "list of queued": listing("queued"),
    "list of running": listing("running"),
    "list of held": listing("held"),
    "list of a source": listing(source="generic"),
    "list of a rare source": listing(source="api"),
    "list of a source's rare status": listing("cancelled", source="generic"),
    "list of a source's queued": listing("queued", source="generic"),
    "find": finds,
    "export": exports,
    "preview": previews,
    "preview of a record": record_previews,
    "apply": applies,
    "list of a record": listing(record_id="crm-7"),
    "list of a record's found": listing("found", "crm-7"),
    "list of a record's open": listing("queued", "crm-7"),
}
