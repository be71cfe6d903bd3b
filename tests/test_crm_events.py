"""POST /events/hubspot: what is stored, and what is refused before anything is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment.crms.hubspot_signatures import SIGNATURE, SIGNATURE_V3, TIMESTAMP, sign_v1
from receiver import patience
from receiver.app import create_app
from rig.proxy import proxied
from store.database import close_pool, open_pool
from tests.asgi import Client, living
from tests.conftest import ClientWith, MakeSettings
from tests.crm_posts import ACCOUNT, PATH, SECRET, event, post, reading, readings, signed
from tests.test_database_away import SHORT
from tests.test_patience import SOON, held

if TYPE_CHECKING:
    from tests.wishes import Pool

JSON = {"content-type": "application/json"}


@pytest.fixture
async def client(client_with: ClientWith) -> Client:
    """Provide a client, without a token, of a receiver that knows HubSpot's client secret."""
    started = await client_with(hubspot_client_secret=SECRET)
    return Client(started.app)


async def nothing_is_stored(pool: Pool) -> bool:
    """Tell whether there is neither an event nor a reading."""
    rows: int = await pool.fetchval("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM readings)")
    return rows == 0


async def test_a_signed_event_names_its_contact(client: Client, pool: Pool) -> None:
    """202 means that the event is stored verbatim, and its contact is queued to be read."""
    answer = await post(client, event())

    row = await pool.fetchrow("SELECT readings.*, body FROM readings JOIN events ON events.id = readings.event_id")
    assert (answer.status, answer.json()) == (202, {"accepted": 1, "ignored": 0})
    assert row is not None
    assert (row["source"], row["record_id"], row["state"], row["named_by"]) == ("hubspot", "123", "queued", "event")
    assert json.loads(row["body"]) == [event()]
    assert not row["erases"]


async def test_events_are_counted_and_contacts_are_named_once(client: Client, pool: Pool) -> None:
    """Two events of a contact are one reading; what means nothing is ignored; a merge is one event."""
    answer = await post(
        client,
        event(1), event(1, "contact.propertyChange", propertyName="email"), event(2, "company.creation"),
        event(3, "contact.merge", primaryObjectId=4, mergedObjectIds=[5], newObjectId=6),
        event(7, "contact.propertyChange", propertyName="mobilephone"),
    )  # fmt: skip

    assert answer.json() == {"accepted": 3, "ignored": 2}
    assert await readings(pool) == [(name, "queued") for name in ("1", "3", "4", "5", "6")]


async def test_what_means_nothing_is_not_stored(client: Client, pool: Pool) -> None:
    """An event that names no contact gets a 202, so that it is not sent again, and is not stored."""
    answer = await post(client, event(1, "company.creation"))

    assert (answer.status, answer.json()) == (202, {"accepted": 0, "ignored": 1})
    assert await nothing_is_stored(pool)


async def test_a_privacy_deletion_stays_one_whatever_comes_after_it(client: Client, pool: Pool) -> None:
    """A later deletion event does not undo the order to erase, whatever the order of the two."""
    await post(client, event(123, "contact.privacyDeletion"))
    await post(client, event(123, "contact.deletion"))

    assert await pool.fetchval("SELECT erases FROM readings") is True


@pytest.mark.parametrize("path", [f"{PATH}/", f"/{PATH}", f"{PATH}?a=b%3Ac&d=%20e", "/events/hubspot//?x"])
async def test_the_address_is_signed_as_it_was_sent(client: Client, pool: Pool, path: str) -> None:
    """Before the gate tidies it, with its slashes and its query."""
    assert (await post(client, event(), path=path)).status == 202
    assert await readings(pool) == [("123", "queued")]


async def test_another_address_was_not_signed(client: Client, pool: Pool) -> None:
    """A signature for one address is none for another."""
    body = json.dumps([event()]).encode()

    answers = [await client.post(path, body, signed(body)) for path in (f"{PATH}/", f"{PATH}?x=1")]

    assert [answer.status for answer in answers] == [401, 401]
    assert await nothing_is_stored(pool)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE_V3: "", TIMESTAMP: ""},
        {SIGNATURE_V3: "wrong", TIMESTAMP: str(int(time.time() * 1000))},
        {SIGNATURE_V3: "wrong"},
        {SIGNATURE: sign_v1(SECRET, json.dumps([event()]).encode())},
        {"authorization": "Bearer wrong"},
        {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"},
    ],
)
async def test_what_is_not_signed_is_refused_and_not_stored(
    client: Client, pool: Pool, headers: dict[str, str]
) -> None:
    """401, with the way in, for a missing, wrong, half or old signature."""
    answer = await client.post(PATH, json.dumps([event()]).encode(), headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert await nothing_is_stored(pool)


@pytest.mark.parametrize("age", [301, -310])
async def test_a_stale_or_early_event_is_refused(client: Client, pool: Pool, age: float) -> None:
    """Five minutes both ways."""
    body = json.dumps([event()]).encode()

    answer = await client.post(PATH, body, signed(body, at=time.time() - age))

    assert answer.status == 401
    assert await nothing_is_stored(pool)


async def test_a_changed_byte_is_refused(client: Client, pool: Pool) -> None:
    """A body that names another contact than the signed one is refused."""
    body = json.dumps([event(123)]).encode()

    answer = await client.post(PATH, body.replace(b"123,", b"124,"), signed(body))

    assert answer.status == 401
    assert await nothing_is_stored(pool)


@pytest.mark.parametrize("doubled", [SIGNATURE_V3, TIMESTAMP])
async def test_a_header_that_comes_twice_is_refused(client: Client, pool: Pool, doubled: str) -> None:
    """A doubled signature header is refused: which of the two was meant is unclear."""
    body = json.dumps([event()]).encode()
    headers = [*signed(body).items(), *JSON.items(), ("content-length", str(len(body)))]
    headers.append((doubled, dict(headers)[doubled]))

    assert await _status(client, body, headers) == 401
    assert await nothing_is_stored(pool)


async def test_an_old_signature_counts_only_if_it_is_wanted_and_alone(client_with: ClientWith, pool: Pool) -> None:
    """HUBSPOT_ACCEPT_V1 lets v1 in, and never beside a wrong v3."""
    lenient = Client((await client_with(hubspot_client_secret=SECRET, hubspot_accept_v1=True)).app)
    body = json.dumps([event()]).encode()
    old = {SIGNATURE: sign_v1(SECRET, body), "x-hubspot-signature-version": "v1"}

    beside = await lenient.post(PATH, body, old | signed(body, secret="another"))
    nothing = await nothing_is_stored(pool)
    alone = await lenient.post(PATH, body, old)

    assert (beside.status, nothing, alone.status) == (401, True, 202)


async def test_without_a_secret_every_signature_is_refused(client_with: ClientWith, pool: Pool) -> None:
    """Without a secret, every signature is refused."""
    closed = Client((await client_with()).app)

    assert (await post(closed, event())).status == 401
    assert await nothing_is_stored(pool)


async def test_a_secret_that_was_learned_verifies(client_with: ClientWith, pool: Pool) -> None:
    """A secret that `ringback connect` stored is as good as one of the environment."""
    await pool.execute(
        "INSERT INTO connections (crm, learned) VALUES ('hubspot', $1::jsonb)", json.dumps({"client_secret": SECRET})
    )

    assert (await post(await client_with(), event())).status == 202


async def test_another_account_is_ignored(client: Client, pool: Pool) -> None:
    """A second portal that installed the app does not spend the first one's credits."""
    await pool.execute("INSERT INTO connections (crm, account) VALUES ('hubspot', $1)", str(ACCOUNT))

    other = await post(client, event(1, portalId=999))
    nothing = await nothing_is_stored(pool)
    both = await post(client, event(1, portalId=999), event(2), event(3, portalId=None))

    assert (other.status, other.json(), nothing) == (202, {"accepted": 0, "ignored": 1}, True)
    assert both.json() == {"accepted": 2, "ignored": 1}
    assert await readings(pool) == [("2", "queued"), ("3", "queued")]


async def test_gzip_is_read_and_its_signature_is_of_what_was_sent(client: Client, pool: Pool) -> None:
    """Whether the sender or a proxy compressed it."""
    body = json.dumps([event()]).encode()
    packed = gzip.compress(body)

    for content in (packed, body):
        answer = await client.post(PATH, packed, signed(content) | {"content-encoding": "gzip"})
        assert answer.status == 202

    assert await readings(pool) == [("123", "queued")]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"7", 422), (b'"text"', 422), (json.dumps([event()] * 101).encode(), 422)]
)
async def test_a_genuine_body_that_holds_no_events_is_refused(
    client: Client, pool: Pool, body: bytes, status: int
) -> None:
    """The answer says what is wrong with the body."""
    answer = await client.post(PATH, body, signed(body))

    assert answer.status == status
    assert await nothing_is_stored(pool)


async def test_a_body_is_as_large_as_that_of_any_event(client: Client) -> None:
    """413 beyond a mebibyte, before it is verified."""
    assert (await client.post(PATH, b" " * (1024 * 1024 + 1), signed(b""))).status == 413


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ids=st.lists(
        st.one_of(
            st.integers(), st.floats(), st.text(max_size=30), st.none(), st.booleans(),
            st.lists(st.integers(), max_size=2), st.just(10**400), st.just("\ud800"), st.just("1\0"),
        ),
        max_size=8,
    )
)  # fmt: skip
async def test_whatever_the_ids_are_every_event_is_counted(ids: list[Any], client: Client, pool: Pool) -> None:
    """A signed list of anything is answered with the number of accepted events, never with a 500."""
    answer = await post(client, *(event(one) for one in ids))

    assert answer.status == 202
    assert answer.json()["accepted"] + answer.json()["ignored"] == len(ids)


async def test_a_contact_that_is_named_again_is_read_again(client: Client, pool: Pool) -> None:
    """An ended reading is queued anew, with nothing left of its end."""
    await reading(pool, state="skipped", reason="has a mobile", ended_at=_now(), attempt=3, tries=2)

    await post(client, event())

    row = await pool.fetchrow("SELECT * FROM readings")
    assert row is not None
    assert (row["state"], row["attempt"], row["tries"]) == ("queued", 4, 0)
    assert (row["reason"], row["ended_at"], row["lease_expires_at"]) == (None, None, None)
    assert row["due_at"] <= _now()


async def test_an_event_takes_a_reading_under_way_from_its_submitter(client: Client, pool: Pool) -> None:
    """The submitter may have looked before the change: its attempt does not match any more."""
    await reading(pool, state="reading", attempt=1, lease_expires_at=_now())

    await post(client, event())

    row = await pool.fetchrow("SELECT state::text, attempt, lease_expires_at FROM readings")
    assert row is not None
    assert tuple(row.values()) == ("queued", 2, None)


async def test_a_backfill_keeps_what_it_asked_for(client: Client, pool: Pool) -> None:
    """A contact older than the connection is read for the backfill, also when an event names it before."""
    await reading(pool, named_by="backfill")
    await reading(pool, "124", named_by="backfill", state="skipped", reason="gone", ended_at=_now())

    await post(client, event(123), event(124))

    rows = await pool.fetch("SELECT named_by FROM readings ORDER BY record_id")
    assert [row["named_by"] for row in rows] == ["backfill", "event"]


async def test_what_comes_while_postgresql_is_away_is_stored_when_it_is_back(
    database_url: str, pool: Pool, make_settings: MakeSettings
) -> None:
    """The event is held, and acknowledged once it is committed; a forged one is refused meanwhile."""
    async with proxied(database_url) as proxy:
        mine = await open_pool(proxy.url, name="tests", size=2)
        app = create_app(make_settings(hubspot_client_secret=SECRET), mine, proxy.url)
        async with living(app):
            proxy.cut()
            posting = asyncio.create_task(post(Client(app), event()))
            await held(proxy)
            body = json.dumps([event()]).encode()
            forged = await Client(app).post(PATH, body, signed(body, secret="another"))
            nothing = await nothing_is_stored(pool)
            proxy.mend()
            async with asyncio.timeout(SOON):
                answer = await posting
        await close_pool(mine)

    assert (forged.status, nothing, answer.status) == (401, True, 202)
    assert await readings(pool) == [("123", "queued")]


@pytest.mark.parametrize("secret", [{"hubspot_client_secret": SECRET}, {}])
async def test_an_outage_that_lasts_is_a_503(
    database_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, secret: dict[str, str]
) -> None:
    """Never a 4xx for our own trouble: not even when the secret itself is in the database."""
    monkeypatch.setattr(patience, "FOR_AN_EVENT", SHORT)
    async with proxied(database_url) as proxy:
        mine = await open_pool(proxy.url, name="tests", size=2)
        app = create_app(make_settings(**secret), mine, proxy.url)
        async with living(app):
            proxy.cut()
            answer = await post(Client(app), event())
            proxy.mend()
        await close_pool(mine)

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_events_are_counted_by_what_became_of_them(client: Client) -> None:
    """/metrics tells accepted from ignored."""
    await post(client, event(1), event(2, "company.creation"), event(3, "company.creation"))

    metrics = (await client.get("/metrics")).body.decode()

    assert 'ringback_crm_events_total{source="hubspot",verdict="accepted"} 1.0' in metrics
    assert 'ringback_crm_events_total{source="hubspot",verdict="ignored"} 2.0' in metrics


async def test_the_address_tells_what_it_is_for(client: Client) -> None:
    """A sender that looks first needs no credentials."""
    assert (await client.get(PATH)).status == 200


def _now() -> datetime:
    return datetime.now(UTC)


async def _status(client: Client, body: bytes, headers: list[tuple[str, str]]) -> int:
    """Post with headers of which some come twice; return the status."""
    sent: list[Any] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": PATH, "raw_path": PATH.encode(), "root_path": "", "query_string": b"", "state": {},
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    await client.app(scope, receive, send)
    status: int = sent[0]["status"]
    return status
