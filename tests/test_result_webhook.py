"""The result webhook: signed for both reference libraries, tried by its schedule, and ended as the answer says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
import standardwebhooks
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from enrichment.result_webhook import ANSWER_KEPT, SCHEDULE, kept, next_wait
from enrichment.shown import Lookup
from enrichment.signatures import sign_webhook, webhook_key
from store.leases import DELIVERIES
from submitter.process import Process
from submitter.results import ResultSender
from tests.asgi import Client
from tests.at_work import AtWork
from tests.factories import delivery, finished_job, lookup
from tests.webhook_end import SECRET, Answer, Arrived, WebhookEnd, now, send_due, sent, settings_for, webhook_end

if TYPE_CHECKING:
    from tests.conftest import Start

OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"


@pytest.fixture
async def end() -> AsyncIterator[WebhookEnd]:
    """The other side."""
    async with webhook_end() as server:
        yield server


@pytest.fixture
async def world(start: Start, end: WebhookEnd) -> AsyncIterator[AtWork]:
    """A process that sends its results to *end*."""
    async with start(**settings_for(end)) as working:
        yield working


@pytest.fixture
def process(world: AtWork) -> Process:
    """Its process."""
    return world.process


def is_genuine(arrived: Arrived, secret: str) -> bool:
    """Tell whether both reference libraries find it genuine; they have to agree."""
    import svix  # 300 modules, which only the worker that runs these tests has to load

    said = []
    for verify in (standardwebhooks.Webhook(secret).verify, svix.Webhook(secret).verify):
        try:
            verify(arrived.body, arrived.headers)
        except (standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError):
            said.append(False)
        else:
            said.append(True)
    assert len(set(said)) == 1
    return said[0]


async def test_a_result_is_the_lookup_as_the_api_shows_it(process: Process, end: WebhookEnd, client: Client) -> None:
    """Under its type, with the moment when it ended."""
    at = datetime(2026, 11, 22, 9, 30, 15, 123456, UTC)
    row = await lookup(process.pool, final_status="found", finished_at=at, record_id="crm-42")
    await finished_job(process.pool, lookup_id=row["id"])
    await delivery(process.pool, lookup_id=row["id"])

    await send_due(process)

    message = json.loads((await end.arrive(1))[0].body)
    shown = (await client.get(f"/v1/lookups/{row['id']}")).json()
    for one in (message["data"], shown):  # it is delivered now, and was being sent then
        del one["deliveries"][0]["status"]
    assert (message["type"], message["timestamp"]) == ("lookup.finished", "2026-11-22T09:30:15.123Z")
    assert message["data"] == shown
    assert message.keys() == {"type", "timestamp", "data"}
    assert shown.keys() == Lookup.model_fields.keys()


async def test_both_reference_libraries_find_it_genuine(process: Process, end: WebhookEnd) -> None:
    """And the id is the delivery's."""
    row = await sent(process)

    (arrived,) = end.arrived
    assert is_genuine(arrived, SECRET)
    assert not is_genuine(arrived, OTHER_SECRET)
    assert (arrived.headers["webhook-id"], arrived.headers["content-type"]) == (str(row["id"]), "application/json")
    assert row["state"] == "delivered"


async def test_while_secrets_are_rotated_either_of_them_verifies(start: Start, end: WebhookEnd) -> None:
    """Two signatures in one header, separated by a space."""
    async with start(**settings_for(end, result_webhook_secret=f"{SECRET},{OTHER_SECRET}")) as world:
        await sent(world.process)

    (arrived,) = end.arrived
    assert arrived.headers["webhook-signature"].count(" ") == 1
    assert is_genuine(arrived, SECRET)
    assert is_genuine(arrived, OTHER_SECRET)


def test_the_published_vector_is_what_we_sign() -> None:
    """The vector of the libraries' own tests."""
    headers = sign_webhook(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        keys=[webhook_key(SecretStr(SECRET))],
        now=1614265330.9,
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


async def test_every_try_has_the_same_id_and_a_signature_of_its_own(process: Process, end: WebhookEnd) -> None:
    """The other side can tell a repetition, and refuse an old one."""
    end.answers.extendleft([Answer(500)])
    row = await sent(process)
    await process.pool.execute("UPDATE deliveries SET due_at = now()")
    await send_due(process)

    first, second = end.arrived
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(row["id"])
    assert is_genuine(second, SECRET)
    after = await now(process, row["id"])
    assert (after["state"], after["tries"], after["attempt"], after["error"]) == ("delivered", 1, 2, None)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_success_is_taken(process: Process, end: WebhookEnd, status: int) -> None:
    """The receiver's own way to say so does not matter."""
    end.answers[0] = Answer(status)

    assert (await sent(process))["state"] == "delivered"


async def test_gone_is_the_end(process: Process, end: WebhookEnd) -> None:
    """410 says that the receiver wants no more: it is not tried again, and says why."""
    end.answers[0] = Answer(410, b"unsubscribed")

    row = await sent(process)

    assert (row["state"], row["answer"], row["tries"]) == ("refused", "unsubscribed", 1)
    assert "410" in row["reason"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
async def test_a_redirect_is_a_failure(process: Process, end: WebhookEnd, status: int) -> None:
    """A redirect is not followed: it could send the result anywhere."""
    end.answers[0] = Answer(status, headers={"Location": f"http://127.0.0.1:{end.port}/elsewhere"})

    row = await sent(process)

    assert [arrived.path for arrived in end.arrived] == ["/hook"]
    assert (row["state"], row["tries"]) == ("queued", 1)
    assert "redirect" in row["error"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504])
async def test_every_other_answer_is_tried_again(process: Process, end: WebhookEnd, status: int) -> None:
    """A receiver that is being repaired loses nothing."""
    end.answers[0] = Answer(status, b"not now")

    row = await sent(process)

    assert (row["state"], row["tries"], row["error"]) == ("queued", 1, f"HTTP {status}")
    assert row["answer"] == "not now"


@pytest.mark.parametrize("failures", range(len(SCHEDULE) - 1))
async def test_each_failure_waits_for_its_place_in_the_schedule(
    process: Process, end: WebhookEnd, failures: int
) -> None:
    """5 s after the first, a day after the ninth, and up to a tenth more."""
    end.answers[0] = Answer(500)

    row = await sent(process, tries=failures)

    wait = SCHEDULE[failures + 1]
    assert wait - 5 <= row["due_in"] <= wait * 1.1
    assert (row["state"], row["tries"]) == ("queued", failures + 1)


async def test_after_the_last_failure_it_is_given_up(process: Process, end: WebhookEnd) -> None:
    """With what went wrong last."""
    end.answers[0] = Answer(503, b"down")

    row = await sent(process, tries=len(SCHEDULE) - 1)

    assert (row["state"], row["error"], row["answer"]) == ("given_up", "HTTP 503", "down")
    assert "10 tries" in row["reason"]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_schedule_is_that_of_standard_webhooks(chance: float) -> None:
    """0, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""
    waits = [next_wait(failures, 0.0, chance) for failures in range(11)]

    hours = [0, 5 / 3600, 1 / 12, 0.5, 2, 5, 10, 14, 20, 24]
    assert waits == [pytest.approx(h * 3600 * (1 + chance / 10)) for h in hours] + [None]


@pytest.mark.parametrize("written", ["seconds", "date"])
async def test_a_receiver_that_asks_to_wait_is_waited_for(process: Process, end: WebhookEnd, written: str) -> None:
    """Longer than the schedule says; in both forms of Retry-After."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    end.answers[0] = Answer(503, headers={"Retry-After": "7200" if written == "seconds" else later})

    assert 7190 <= (await sent(process))["due_in"] <= 7200 * 1.1


@pytest.mark.parametrize(("asked", "failures", "least", "most"), [("1", 2, 1795, 1980), ("9999999", 0, 86_395, 95_040)])
async def test_the_wait_is_bounded_on_both_sides(
    process: Process, end: WebhookEnd, asked: str, failures: int, least: float, most: float
) -> None:
    """The wait is never shorter than the schedule, and never endless."""
    end.answers[0] = Answer(429, headers={"Retry-After": asked})

    assert least <= (await sent(process, tries=failures))["due_in"] <= most


@pytest.mark.parametrize("status", [200, 500])
async def test_the_beginning_of_the_answer_is_kept(process: Process, end: WebhookEnd, status: int) -> None:
    """As text that the database can hold."""
    end.answers[0] = Answer(status, b"\xff\0words " + b"y" * 10_000)

    answer = (await sent(process))["answer"]

    assert answer.startswith("�words yyy")
    assert ANSWER_KEPT - 8 <= len(answer.encode()) <= ANSWER_KEPT


@pytest.mark.parametrize("body", [b"\xff" * 9999, "€".encode() * 9999, b"\0" * 9999, b""])
def test_what_is_kept_fits(body: bytes) -> None:
    """Four KiB in the database's own encoding; nothing is nothing."""
    text = kept(body)

    assert text is None or (0 < len(text.encode()) <= ANSWER_KEPT and "\0" not in text)
    assert (text is None) == (not body.strip(b"\0"))


@pytest.mark.parametrize("told", [Answer(200, b"ok", is_endless=True), Answer(200, b"ok", is_cut=True)])
async def test_a_body_without_an_end_changes_nothing(process: Process, end: WebhookEnd, told: Answer) -> None:
    """The status has been said: the rest of the body is not waited for."""
    end.answers[0] = told

    row = await sent(process)

    assert (row["state"], row["answer"][:2]) == ("delivered", "ok")


async def test_a_compressed_answer_is_not_unpacked(process: Process, end: WebhookEnd) -> None:
    """A small answer could become a large one."""
    end.answers[0] = Answer(200, b"\x1f\x8b not gzip", {"Content-Encoding": "gzip"})

    assert (await sent(process))["state"] == "delivered"
    assert end.arrived[0].headers["accept-encoding"] == "identity"


async def test_a_lookup_that_was_opened_again_is_not_sent(process: Process, end: WebhookEnd) -> None:
    """It has not finished; its next end has a delivery of its own."""
    row = await lookup(process.pool)

    after = await sent(process, lookup_id=row["id"])

    assert (after["state"], end.arrived) == ("skipped", [])
    assert "opened again" in after["reason"]


async def test_a_lookup_that_is_gone_is_not_sent(process: Process, end: WebhookEnd) -> None:
    """Erased or pruned: there is nothing to tell, and it does not fail for ever."""
    after = await sent(process, lookup_id=uuid7())

    assert (after["state"], after["reason"], end.arrived) == ("skipped", "its lookup is gone", [])


async def test_a_sender_that_fell_silent_is_replaced(process: Process, end: WebhookEnd) -> None:
    """The result is sent again under the same id; the silent one counts as a failure."""
    row = await delivery(process.pool, "sending", lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await send_due(process) == 0

    assert await DELIVERIES.rescue(process.pool, 10) == [row["id"]]
    assert await send_due(process) == 1

    after = await now(process, row["id"])
    assert (after["state"], after["tries"], after["attempt"]) == ("delivered", 1, 2)
    assert end.arrived[0].headers["webhook-id"] == str(row["id"])


async def test_a_result_that_kills_its_senders_is_given_up(process: Process, end: WebhookEnd) -> None:
    """Every sender died: the schedule ends without an answer."""
    after = await sent(process, tries=len(SCHEDULE))

    assert (after["state"], end.arrived) == ("given_up", [])


async def test_a_sender_that_was_frozen_does_not_send(process: Process, end: WebhookEnd) -> None:
    """Its lease is over, so another may have sent it by now; no try is counted."""
    row = await delivery(process.pool)
    sender = ResultSender(process)
    async with sender.open():
        await sender.loop.claim_once()
        for _, lease in sender.loop._leases.values():
            lease.until = 0.0
        await sender.loop.settled()

    after = await now(process, row["id"])
    assert (after["state"], after["tries"], end.arrived) == ("queued", 0, [])
