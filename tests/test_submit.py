"""The submitter asks: what leaves, what the answer writes, and how soon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from enrichment.outcome import Answered
from enrichment.tokens import is_genuine
from submitter.__main__ import work
from tests.at_work import BOTH, PATIENCE, AtWork, ended, until, waits, wish_for
from tests.fake_provider import FakeProvider, Reply, accepted, completed, found, nothing
from tests.wishes import MOBILE, job_of, jobs, read, status

if TYPE_CHECKING:
    from tests.conftest import Start


async def test_a_number_found_inline_is_stored_and_paid(world: AtWork, fake: FakeProvider) -> None:
    """LeadMagic's answer ends the lookup: the number in E.164 and as written, and its cost."""
    lookup_id = await wish_for(world, *BOTH, work_email="jane@acme.co", profile_url="linkedin.com/in/jane")
    fake.questions.append(found("+1-555-123-4567"))

    await world.ask("leadmagic")

    told = await read(world.pool, lookup_id)
    assert (told["status"], told["mobile"], told["mobile_raw"]) == ("found", MOBILE, "+1-555-123-4567")
    assert (told["provider"], told["credits"], told["reason"]) == ("leadmagic", 5, None)
    assert await ended(world, lookup_id) == [("leadmagic", "answered", 5, 0)]
    (asked,) = fake.paid
    assert asked.body == {"profile_url": "linkedin.com/in/jane", "work_email": "jane@acme.co"}
    assert asked.headers["x-api-key"] == "leadmagic-key"
    assert await jobs(world.pool) == 0


async def test_a_number_is_read_in_the_contacts_region(world: AtWork, fake: FakeProvider) -> None:
    """A national number belongs to the country that came with the contact."""
    lookup_id = await wish_for(world, work_email="jane@acme.co", region="GB")
    fake.questions.append(found("020 7946 0000"))

    await world.ask("leadmagic")

    told = await read(world.pool, lookup_id)
    assert (told["mobile"], told["region"]) == ("+442079460000", "GB")


@pytest.mark.parametrize("reply", [nothing(), found("call me"), Reply(400, {"error": "validation_error"})])
async def test_without_a_number_the_next_provider_is_asked(world: AtWork, fake: FakeProvider, reply: Reply) -> None:
    """After no number, an impossible one or a refusal, the same statement writes the next job."""
    lookup_id = await wish_for(world, *BOTH)
    fake.questions.append(reply)

    await world.ask("leadmagic")

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["provider"], now["state"], now["place"], now["todo"]) == ("nyne", "queued", 1, [])
    assert (await status(world.pool, lookup_id), world.wakes) == ("running", 1)


async def test_the_question_to_nyne_carries_a_genuine_callback_url(world: AtWork, fake: FakeProvider) -> None:
    """The token in the URL proves that it is ours and which job it is for; the 202 makes the job wait for it."""
    lookup_id = await wish_for(world, "nyne")
    fake.questions.append(accepted("req-7"))

    (claimed,) = (await world.ask("nyne")).items

    (asked,) = fake.paid
    assert (asked.headers["x-api-key"], asked.headers["x-api-secret"]) == ("nyne-key", "nyne-secret")
    assert (asked.body["name"], asked.body["company"], asked.body["email"]) == ("Jane Doe", "Acme", "jane@acme.co")
    start, provider, job_id, token = asked.body["callback_url"].rsplit("/", 3)
    assert (start, provider, job_id) == ("https://ringback.test/callbacks", "nyne", str(claimed.id))
    assert is_genuine(token, [SecretStr("key-of-the-tests")], "nyne", claimed.id)
    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["request_id"], now["reserved"]) == ("awaiting", "req-7", 3)
    assert 55 < await waits(world, lookup_id) <= 60


async def test_a_question_that_cannot_be_built_was_not_sent(
    world: AtWork, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure before the question leaves is definite: it costs nothing, and is tried again."""
    lookup_id = await wish_for(world, "nyne")

    def fail(*_: object) -> str:
        raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")

    monkeypatch.setattr("submitter.submit.callback_url", fail)

    await world.ask("nyne")

    now = await job_of(world.pool, lookup_id)
    assert now is not None
    assert (now["state"], now["tries"], now["reserved"], len(fake.paid)) == ("queued", 1, 0, 0)
    assert now["error"].startswith("the question could not be built")


async def test_without_a_public_url_nyne_is_polled_only(start: Start, fake: FakeProvider) -> None:
    """No callback_url is sent, and the first poll need not wait for a callback."""
    async with start(public_url=None) as world:
        lookup_id = await wish_for(world, "nyne")
        await world.ask("nyne")

        (asked,) = fake.paid
        assert "callback_url" not in asked.body
        assert 0 < await waits(world, lookup_id) <= 5


async def test_a_quick_answer_of_nyne_is_inline(world: AtWork, fake: FakeProvider) -> None:
    """A job that is completed before its POST is answered needs neither callback nor poll."""
    lookup_id = await wish_for(world, "nyne")
    fake.questions.append(completed("req-1", MOBILE))

    await world.ask("nyne")

    assert await status(world.pool, lookup_id) == "found"
    assert await world.pool.fetchval("SELECT answered_by FROM finished_jobs") == "inline"


async def test_a_callback_overtakes_its_202(world: AtWork, fake: FakeProvider) -> None:
    """Nyne calls back before it answers the POST: the lookup is found, and the 202 changes nothing."""
    lookup_id = await wish_for(world, "nyne")

    async def call_back_first(_: object) -> None:
        row = await job_of(world.pool, lookup_id)
        assert row is not None
        recorded = await world.call_back(row["id"], Answered(MOBILE, request_id="req-1"))
        assert recorded.verdict == "applied"

    fake.questions.append(Reply(202, {"request_id": "req-1", "status": "queued"}, before=call_back_first))

    await world.ask("nyne")

    assert await status(world.pool, lookup_id) == "found"
    assert await jobs(world.pool) == 0
    assert await world.pool.fetchval("SELECT check_at FROM finished_jobs") is None


async def test_a_new_event_is_asked_about_at_once(world: AtWork, fake: FakeProvider) -> None:
    """A wake-up reaches a submitter that has nothing to do, and it asks within moments."""
    stop = asyncio.Event()
    running = asyncio.create_task(work(world.process, stop))
    await until(lambda: listening(world))

    await wish_for(world)
    await world.pool.execute("SELECT pg_notify('ringback_jobs', '')")
    await fake.arrive(1)

    stop.set()
    async with asyncio.timeout(PATIENCE):
        await running
    assert await jobs(world.pool) == 0


async def listening(world: AtWork) -> bool:
    """The submitter's listener is connected."""
    told: bool = await world.pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' "
        "AND application_name = 'ringback submitter listener')"
    )
    return told
