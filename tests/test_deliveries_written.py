"""A result and its deliveries are one commit: every statement that ends a lookup writes them, and no other does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from store.database import transaction
from store.endings import apply_endings, follow_ends
from store.ends import end_lookups, unswept_searches
from store.installation import Installation, channels_of
from store.intake import Event, ingest
from store.lookups import cancel, decide_again, left_behind, retry
from tests.conftest import MakeSettings
from tests.factories import lookup
from tests.wishes import (
    MOBILE,
    OTHER_MOBILE,
    POLICY,
    answer,
    apply,
    end_job,
    ending,
    finish_jobs,
    job_of,
    jobs,
    status,
    wish,
)

if TYPE_CHECKING:
    from tests.wishes import Pool

ROOT = Path(__file__).parent.parent
WEBHOOK = replace(POLICY, channels=("webhook",))
BOTH = replace(POLICY, channels=("webhook", "hubspot"))
JANE: dict[str, Any] = {"work_email": "jane@acme.co", "name": "Jane Doe"}


async def take(pool: Pool, source: str = "generic", record_id: str | None = None, **contact: Any) -> UUID:
    """Ingest one wish, and return its lookup."""
    one = replace(wish(**(JANE | contact)), record_id=record_id)
    ((taken,),) = await ingest(pool, [Event(source, b"{}", (one,))], BOTH)
    return taken.id


async def end(pool: Pool, lookup_id: UUID, mobile: str | None = None, state: Any = "answered") -> UUID:
    """End the open job of the lookup's search, and return the job's id."""
    job = await job_of(pool, lookup_id)
    assert job is not None
    await apply(pool, ending(job["id"], state, mobile=mobile), policy=BOTH)
    job_id: UUID = job["id"]
    return job_id


async def channels(pool: Pool, lookup_id: UUID) -> list[str]:
    """Return the channels of the lookup's deliveries, which all wait to be sent."""
    rows = await pool.fetch(
        "SELECT channel, state::text FROM deliveries WHERE lookup_id = $1 ORDER BY channel DESC, id", lookup_id
    )
    assert {row["state"] for row in rows} <= {"queued"}
    return [row["channel"] for row in rows]


async def test_an_open_lookup_has_no_delivery(pool: Pool) -> None:
    """There is nothing to tell yet."""
    assert await channels(pool, await take(pool)) == []


@pytest.mark.parametrize(
    ("mobile", "state"), [(MOBILE, "answered"), (None, "answered"), (None, "failed"), (None, "unknown")]
)
async def test_whatever_a_search_comes_to_is_delivered(pool: Pool, mobile: str | None, state: str) -> None:
    """With a number or without one, the result goes out, also to the contact's CRM."""
    id = await take(pool, "hubspot", "42")

    await end(pool, id, mobile, state)

    assert await channels(pool, id) == ["webhook", "hubspot"]


async def test_every_lookup_of_a_search_has_a_delivery_of_its_own(pool: Pool) -> None:
    """Lookups that joined the search have deliveries too; each goes to the CRM that it came from."""
    ids = [await take(pool), await take(pool, "hubspot", "42"), await take(pool, "api", "43")]

    await end(pool, ids[0], MOBILE)

    assert [await channels(pool, id) for id in ids] == [["webhook"], ["webhook", "hubspot"], ["webhook"]]


async def test_a_number_that_is_known_is_delivered_at_once(pool: Pool) -> None:
    """The lookup ends in the statement that stores it."""
    await end(pool, await take(pool), MOBILE)

    again = await take(pool)

    assert (await status(pool, again), await channels(pool, again)) == ("found", ["webhook"])


async def test_a_late_number_is_delivered_again(pool: Pool) -> None:
    """The lookup was unresolved; it ends a second time, and so does its delivery."""
    id = await take(pool)
    job_id = await end(pool, id, state="unknown")

    await apply(pool, answer(job_id, "callback"), policy=BOTH)

    assert (await status(pool, id), await channels(pool, id)) == ("found", ["webhook", "webhook"])


async def test_a_retry_is_delivered_when_it_ends(pool: Pool) -> None:
    """A retry writes no delivery when it begins, and one when it ends."""
    id = await take(pool)
    await end(pool, id, state="failed")
    assert await retry(pool, id, BOTH)
    assert await channels(pool, id) == ["webhook"]

    await end(pool, id, MOBILE)

    assert await channels(pool, id) == ["webhook", "webhook"]


async def test_a_number_in_place_of_a_wrong_one_is_delivered(pool: Pool) -> None:
    """The other side has the wrong one: it hears of the new one."""
    id = await take(pool, "hubspot", "42", providers=("leadmagic", "nyne"))
    await end(pool, id, MOBILE)
    assert await retry(pool, id, BOTH, wrong_number=True)

    await end(pool, id, OTHER_MOBILE)

    assert await channels(pool, id) == ["webhook", "webhook", "hubspot", "hubspot"]


async def test_a_lookup_that_is_decided_anew_is_delivered_if_it_ends(pool: Pool) -> None:
    """Its search ended without an answer for it, and another search has one."""
    first = await take(pool)
    second = await take(pool, work_email="jane@acme.co", personal_email="jane@home.example", name="Jane Doe")
    await end_job(pool, first)
    (search,) = await unswept_searches(pool, 10)
    await follow_ends(pool, [search], BOTH)
    other = await job_of(pool, second)
    assert other is not None
    assert await channels(pool, second) == []

    await finish_jobs(pool, [ending(other["id"], mobile=MOBILE)])
    await pool.execute("UPDATE lookups SET search_id = $2 WHERE id = $1", second, search)
    assert await decide_again(pool, await left_behind(pool, [search]), BOTH) == 1

    assert (await status(pool, second), await channels(pool, second)) == ("found", ["webhook"])


async def test_a_cancelled_lookup_is_told_to_the_webhook_only(pool: Pool) -> None:
    """A cancelled lookup goes to the webhook only: a CRM has nothing to show for it."""
    id = await take(pool, "hubspot", "42")

    assert await cancel(pool, id, BOTH)

    assert await channels(pool, id) == ["webhook"]


async def test_a_contact_without_a_record_has_no_crm_to_go_to(pool: Pool) -> None:
    """Without a record id, no contact can be written."""
    id = await take(pool, "hubspot")

    await end(pool, id, MOBILE)

    assert await channels(pool, id) == ["webhook"]


async def test_without_channels_nothing_is_written(pool: Pool) -> None:
    """Neither the search's end, nor a retry's, nor a cancellation writes any."""
    id = await take(pool, "hubspot", "42")
    job = await job_of(pool, id)
    assert job is not None
    await apply(pool, ending(job["id"], "failed"), policy=POLICY)
    assert await cancel(pool, id, POLICY)

    assert await channels(pool, id) == []


async def test_lookups_and_deliveries_are_committed_together(pool: Pool) -> None:
    """A rolled-back end has no deliveries; a chunk of two lookups has two."""
    ids = [await take(pool) for _ in range(3)]
    await end_job(pool, ids[0], mobile=MOBILE)
    searches = await unswept_searches(pool, 10)

    async with pool.acquire() as connection:
        crashing = connection.transaction()
        await crashing.start()
        assert (await end_lookups(connection, searches, WEBHOOK.not_found, ("webhook",))).delivers
        await crashing.rollback()
    assert [await channels(pool, id) for id in ids] == [[], [], []]

    async with transaction(pool) as connection:
        chunk = await end_lookups(connection, searches, WEBHOOK.not_found, ("webhook",), 2)

    assert (len(chunk.lookups), chunk.delivers) == (2, True)
    assert {id: await channels(pool, id) for id in ids} == {
        id: ["webhook"] if id in chunk.lookups else [] for id in ids
    }


async def test_endings_tell_whether_there_is_something_to_deliver(pool: Pool) -> None:
    """Senders are woken only when there is something to deliver."""
    first, second = await take(pool), await take(pool, work_email="john@acme.co", name="John Roe")
    found = [await job_of(pool, id) for id in (first, second)]
    assert found[0] is not None
    assert found[1] is not None

    async with transaction(pool) as connection:
        silent = await apply_endings(connection, [ending(found[0]["id"], mobile=MOBILE)], POLICY)
        loud = await apply_endings(connection, [ending(found[1]["id"], mobile=OTHER_MOBILE)], WEBHOOK)

    assert (silent.delivers, loud.delivers, await jobs(pool)) == (False, True, 0)


async def test_an_id_made_by_the_database_is_of_now(pool: Pool) -> None:
    """A delivery lies in its month by its id, whose bits are those of a UUIDv7."""
    id = await take(pool)
    await end(pool, id, MOBILE)

    made = await pool.fetchval("SELECT id FROM deliveries WHERE lookup_id = $1", id)

    assert (made.version, made.variant) == (7, id.variant)
    assert 0 <= (made.int >> 80) - (id.int >> 80) < 60_000


@pytest.mark.parametrize(
    ("given", "webhook"),
    [
        ({}, False),
        ({"result_webhook_url": "https://acme.co/hook", "result_webhook_secret": "whsec_" + "QUFB" * 10}, True),
    ],
)
async def test_the_channels_are_those_of_the_settings(
    pool: Pool, make_settings: MakeSettings, given: dict[str, Any], webhook: bool
) -> None:
    """The webhook if it has a URL."""
    settings = make_settings(write_back="off", **given)

    assert channels_of(settings) == (("webhook",) if webhook else ())
    assert (await Installation(pool, settings).policy()).channels == channels_of(settings)


async def test_a_lookup_of_another_time_is_left_alone(pool: Pool) -> None:
    """Ending one search writes no delivery for what ended before."""
    old = await lookup(pool, final_status="not_found")

    await end(pool, await take(pool), MOBILE)

    assert await channels(pool, old["id"]) == []


# The rule, for statements to come.

ENDS_A_LOOKUP = re.compile(
    r"UPDATE\s+lookups\b.*?\bSET\b.*?\bfinal_status\s*=(?!\s*NULL)"
    r"|UPDATE\s+lookups\b.*?\bSET\s*\([^)]*\bfinal_status\b"
    r"|INSERT\s+INTO\s+lookups\s*\([^)]*\bfinal_status\b",
    re.DOTALL,
)


def ends_a_lookup(constant: ast.Constant) -> bool:
    """Tell whether it is a statement, or the part of one, that sets a final status."""
    return isinstance(constant.value, str) and ENDS_A_LOOKUP.search(constant.value) is not None


def unannounced(source: str) -> Iterator[str]:
    """Yield each text of a module that ends lookups and is sent without NEW_DELIVERIES behind it."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and ends_a_lookup(node.value):
            named |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            parts.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in parts and ends_a_lookup(node):
            yield str(node.value)
        elif isinstance(node, ast.JoinedStr):
            text = ast.unparse(node)
            used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            if (used & named or ENDS_A_LOOKUP.search(text)) and "NEW_DELIVERIES" not in used:
                yield text
        elif isinstance(node, ast.Call):  # a constant that is sent alone
            yield from (arg.id for arg in node.args if isinstance(arg, ast.Name) and arg.id in named)


def test_no_statement_ends_a_lookup_in_silence() -> None:
    """Every statement that sets final_status writes the deliveries as well."""
    silent = {path.name: list(unannounced(path.read_text(encoding="utf-8"))) for path in (ROOT / "store").glob("*.py")}

    assert {name: texts for name, texts in silent.items() if texts} == {}


@pytest.mark.parametrize(
    ("source", "is_silent"),
    [
        ('db.execute("UPDATE lookups SET final_status = $2 WHERE id = $1")', True),
        ('_END = "UPDATE lookups SET final_status = $2"\ndb.execute(_END)', True),
        ('_END = "UPDATE lookups SET final_status = $2"\ndb.execute(f"WITH {_END} SELECT")', True),
        ('_END = "UPDATE lookups SET final_status = $2"\ndb.execute(f"WITH {_END}, {NEW_DELIVERIES} SELECT")', False),
        ('_NEW = "INSERT INTO lookups (id, final_status) SELECT"\ndb.fetch(f"{_NEW}")', True),
        ('db.execute("UPDATE lookups SET record_id = $2 WHERE final_status IS NULL")', False),
        ('db.execute("UPDATE lookups SET final_status = NULL")', False),
    ],
)
def test_the_search_for_silent_statements_finds_them(source: str, is_silent: bool) -> None:
    """In every way in which the store sends one."""
    assert bool(list(unannounced(source))) == is_silent
