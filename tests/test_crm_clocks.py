"""Signed events that are refused only for their time: the operator is told how far apart the clocks are."""

from __future__ import annotations

import json
import time

import pytest
from structlog.testing import capture_logs

from receiver import clocks
from tests.asgi import Client
from tests.conftest import ClientWith
from tests.crm_posts import PATH, SECRET, event, signed

BODY = json.dumps([event()]).encode()
SAYS = "event_refused_for_its_time"


@pytest.fixture
async def client(client_with: ClientWith) -> Client:
    """Provide a client, without a token, of a receiver that knows HubSpot's client secret."""
    started = await client_with(hubspot_client_secret=SECRET)
    return Client(started.app)


async def refused(client: Client) -> float:
    """Return how many refusals the metrics count."""
    metrics = (await client.get("/metrics")).body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in metrics if line.startswith("ringback_crm_events_untimely_total{"))


@pytest.mark.parametrize(("age", "ours"), [(400, "ahead"), (-400, "behind")])
async def test_the_log_says_how_far_the_clocks_are_apart(client: Client, age: float, ours: str) -> None:
    """With the seconds, which of them is ahead, and what to do; it is still a 401."""
    with capture_logs() as logs:
        answer = await client.post(PATH, BODY, signed(BODY, at=time.time() - age))

    (line,) = (line for line in logs if line["event"] == SAYS)
    assert answer.status == 401
    assert (line["crm"], line["ours"], line["log_level"]) == ("hubspot", ours, "error")
    assert 399 <= line["seconds"] <= 401
    assert "NTP" in line["remedy"]


async def test_every_refusal_is_counted_and_one_a_minute_is_logged(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HubSpot sends each event ten times: the log is not filled with it."""
    with capture_logs() as logs:
        for _ in range(3):
            await client.post(PATH, BODY, signed(BODY, at=time.time() - 400))
        monkeypatch.setattr(clocks, "SAID_EVERY", 0.0)
        await client.post(PATH, BODY, signed(BODY, at=time.time() - 400))

    assert await refused(client) == 4
    assert sum(line["event"] == SAYS for line in logs) == 2


@pytest.mark.parametrize(
    ("case", "age", "secret", "path"),
    [
        ("forged", 400, "another", PATH),
        ("elsewhere", 400, SECRET, "/events/other"),
        ("in time, forged", 0, "another", PATH),
    ],
)
async def test_what_nobody_signed_says_nothing_of_the_clock(
    client: Client, case: str, age: float, secret: str, path: str
) -> None:
    """Else a stranger could fill the log."""
    with capture_logs() as logs:
        answer = await client.post(PATH, BODY, signed(BODY, path, at=time.time() - age, secret=secret))

    assert answer.status == 401, case
    assert await refused(client) == 0, case
    assert [line for line in logs if line["event"] == SAYS] == [], case
