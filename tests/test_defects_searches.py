"""Defects of searches: providers that are no longer asked, wrong numbers, and doubt that a person has to decide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from enrichment.decide import NOBODY_LEFT
from store.intake import ingest
from store.lookups import retry
from submitter.finishing import Finisher
from submitter.process import open_process
from submitter.reconciler import Reconciler
from tests.at_work import BOTH
from tests.factories import job
from tests.fake_provider import drop
from tests.wishes import (
    MOBILE,
    OTHER_MOBILE,
    POLICY,
    age,
    answer,
    apply,
    end,
    event,
    job_of,
    jobs,
    read,
    status,
    take_one,
    wish,
)

if TYPE_CHECKING:
    from tests.conftest import MakeSettings, Start
    from tests.fake_provider import FakeProvider
    from tests.wishes import Pool

EMAIL = "jane@acme.co"
JANE = "linkedin.com/in/janedoe"

# A provider that was taken out of PROVIDERS


@pytest.fixture
async def reconciler(make_settings: MakeSettings, database_url: str, db: Pool) -> AsyncIterator[Reconciler]:
    """The reconciler of an installation that asked Nyne before, and does not any more."""
    settings = make_settings(database_url=database_url, providers="leadmagic")
    async with open_process("tests", settings, database_url) as process:
        yield Reconciler(process, Finisher(process.pool, process.installation, lambda: None))


@pytest.mark.parametrize("overrides", [{}, {"held": "paused"}, {"held": "budget"}, {"attempt": 1, "tries": 1}])
async def test_a_question_for_a_removed_provider_waited_for_ever(
    db: Pool, reconciler: Reconciler, overrides: dict[str, Any]
) -> None:
    """The next provider is asked; without one the lookup ends, and says why."""
    alone = await job(db, **overrides)
    goes_on = await job(db, todo=["leadmagic"], **overrides)

    assert await reconciler.pass_over_removed() == 2
    await reconciler.sweep_searches()

    told = await read(db, alone["lookup_id"])
    assert (told["status"], told["reason"]) == ("failed", "nyne: it is no longer in PROVIDERS")
    now = await job_of(db, goes_on["lookup_id"])
    assert now is not None
    assert (now["provider"], now["todo"], now["held"]) == ("leadmagic", [], None)


async def test_a_chain_went_on_with_a_removed_provider(db: Pool, reconciler: Reconciler) -> None:
    """A provider that is not asked any more is passed over when its turn comes."""
    row = await job(db, "submitting", provider="leadmagic", todo=["nyne"])

    await reconciler._finisher.end([answer(row["id"], "inline", None)])

    assert await status(db, row["lookup_id"]) == "not_found"


@pytest.mark.parametrize(("request_id", "ends"), [("req-1", "lost"), (None, "unknown")])
async def test_an_answer_of_a_removed_provider_was_waited_for_for_ever(
    db: Pool, reconciler: Reconciler, request_id: str | None, ends: str
) -> None:
    """A question that it has ends at its deadline like any other."""
    long_ago = await db.fetchval("SELECT now() - interval '25 hours'")
    row = await job(db, "awaiting", request_id=request_id, submitted_at=long_ago, due_at=long_ago)

    assert await reconciler.give_up() == 1

    assert await db.fetchval("SELECT state::text FROM finished_jobs WHERE id = $1", row["id"]) == ends
    assert await status(db, row["lookup_id"]) == "unresolved"


async def test_a_number_of_a_removed_provider_was_not_given_to_a_retried_lookup(pool: Pool) -> None:
    """It was paid for: a lookup whose other number was wrong takes it, though its provider is not asked any more."""
    first = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, first.id, mobile=MOBILE)
    both = await take_one(pool, work_email=EMAIL, providers=BOTH)
    other = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    await end(pool, other.id, mobile=OTHER_MOBILE)

    assert await retry(pool, both.id, replace(POLICY, providers=("leadmagic",)), wrong_number=True)

    assert (await read(pool, both.id))["mobile"] == OTHER_MOBILE


# A number that a person calls wrong


async def retry_wrong(pool: Pool, id: Any) -> None:
    """A person says that the number of this lookup is wrong."""
    assert await retry(pool, id, POLICY, wrong_number=True)


async def test_a_wrong_number_was_given_again(pool: Pool) -> None:
    """The other provider is asked; the wrong number is never passed on again, and lookups that have it keep it."""
    first = await take_one(pool, work_email=EMAIL, providers=BOTH)
    other = await take_one(pool, work_email=EMAIL, providers=BOTH)
    await end(pool, first.id, mobile=MOBILE)

    await retry_wrong(pool, first.id)

    asked = await job_of(pool, first.id)
    assert asked is not None
    assert (asked["provider"], asked["todo"]) == ("nyne", [])
    assert (await read(pool, other.id))["mobile"] == MOBILE
    meanwhile = await take_one(pool, work_email=EMAIL, providers=BOTH)
    assert meanwhile.status == "queued"
    await end(pool, first.id, mobile=OTHER_MOBILE)
    later = await take_one(pool, work_email=EMAIL, providers=BOTH)
    mobiles = [(await read(pool, one.id))["mobile"] for one in (first, other, meanwhile, later)]
    assert mobiles == [OTHER_MOBILE, MOBILE, OTHER_MOBILE, OTHER_MOBILE]


@pytest.mark.parametrize("late", [False, True])
async def test_a_wrong_number_was_given_again_by_another_provider(pool: Pool, late: bool) -> None:
    """The same number from another provider is as wrong, in time or late: it is paid for, and not given."""
    first = await take_one(pool, work_email=EMAIL, providers=BOTH)
    await end(pool, first.id, mobile=MOBILE)
    await retry_wrong(pool, first.id)

    if late:
        doubted = await end(pool, first.id, state="unknown")
        await apply(pool, answer(doubted, "callback", MOBILE))
    else:
        await end(pool, first.id, mobile=MOBILE)

    told = await read(pool, first.id)
    assert (told["status"], told["mobile"], await jobs(pool)) == ("not_found", None, 0)
    assert told["reason"] == "nyne: it answered with the number that was reported wrong"
    later = await take_one(pool, work_email=EMAIL, providers=BOTH)
    assert (later.status, await jobs(pool)) == ("not_found", 0)


async def test_a_wrong_number_was_forgotten_with_its_search(pool: Pool) -> None:
    """The search that gave it is out of every window: the number is refused all the same, from its provider, too."""
    first = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, first.id, mobile=MOBILE)
    await age(pool, first.id, 91)
    second = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, second.id, state="failed")
    assert len(await pool.fetchval("SELECT searches FROM keys WHERE NOT shared LIMIT 1")) == 1

    await retry_wrong(pool, first.id)
    await end(pool, first.id, mobile=MOBILE)

    assert (await read(pool, first.id))["mobile"] is None


async def test_a_wrong_number_with_nobody_left_to_ask_was_asked_for_again(pool: Pool) -> None:
    """The provider of the wrong number is not asked again, and the other has none: not_found, with the reason."""
    first = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, first.id, mobile=MOBILE)

    await retry_wrong(pool, first.id)

    told = await read(pool, first.id)
    assert (told["status"], told["mobile"], told["reason"]) == ("not_found", None, NOBODY_LEFT)
    assert await jobs(pool) == 0
    assert not await retry(pool, first.id, POLICY, wrong_number=True)


async def test_a_wrong_number_stayed_wrong_in_a_search_that_was_open_already(pool: Pool) -> None:
    """Another lookup's search was asking when the number was called wrong: it does not give it either."""
    first = await take_one(pool, work_email=EMAIL, providers=("leadmagic",))
    await end(pool, first.id, mobile=MOBILE)
    await age(pool, first.id, 91)
    second = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    assert second.status == "queued"

    await retry_wrong(pool, first.id)
    await end(pool, second.id, mobile=MOBILE)

    assert await status(pool, second.id) == "not_found"
    assert (await read(pool, first.id))["mobile"] is None


@pytest.mark.parametrize("late", [False, True])
async def test_a_wrong_number_came_back_through_a_search_that_was_not_marked(pool: Pool, late: bool) -> None:
    """A lookup remembers the numbers that it refused: no search's late answer gives one back to it."""
    other = await take_one(pool, work_email=EMAIL, providers=("nyne",))
    doubted = await end(pool, other.id, state="unknown")
    by_profile = await take_one(pool, profile_url=JANE, providers=("leadmagic",))
    await end(pool, by_profile.id, mobile=MOBILE)
    refusing = await take_one(pool, profile_url=JANE, work_email=EMAIL, providers=BOTH)
    assert (await read(pool, refusing.id))["mobile"] == MOBILE
    await retry_wrong(pool, refusing.id)

    if late:
        await end(pool, refusing.id)
    await apply(pool, answer(doubted, "callback", MOBILE))

    assert (await read(pool, other.id))["mobile"] == MOBILE
    assert (await read(pool, refusing.id))["mobile"] is None


# UNKNOWN_POLICY=hold


async def test_doubt_was_not_left_to_a_person(start: Start, fake: FakeProvider) -> None:
    """With "hold" no other provider is asked, neither at once nor for the next event; a person may retry."""
    async with start(unknown_policy="hold") as world:
        policy = world.process.policy
        assert policy.stops_in_doubt
        ((first,),) = await ingest(world.pool, [event(wish(providers=BOTH, work_email=EMAIL))], policy)
        fake.questions.append(drop())
        await world.ask("leadmagic")
        assert (await status(world.pool, first.id), await jobs(world.pool)) == ("unresolved", 0)

        more = wish(providers=BOTH, work_email=EMAIL, profile_url=JANE)
        fates = await ingest(world.pool, [event(wish(providers=BOTH, work_email=EMAIL)), event(more)], policy)
        assert [fate.status for (fate,) in fates] == ["unresolved", "unresolved"]
        assert await jobs(world.pool) == 0

        assert await retry(world.pool, first.id, policy)
        asked = await job_of(world.pool, first.id)
        assert asked is not None
        assert (asked["provider"], asked["todo"]) == ("leadmagic", ["nyne"])
