"""`ringback doctor`: every fault has its own finding, with what to do about it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from console.checks import (
    check_database,
    check_provider,
    check_public_url,
    check_secrets,
    check_settings,
)
from console.findings import Finding
from enrichment.providers import build_providers
from rig.ports import free_port
from sandbox.leadmagic import LeadMagic, LeadMagicSettings
from sandbox.nyne import Nyne, NyneSettings
from sandbox.server import running as playing
from store.steps import read_steps
from submitter.transport import open_session
from tests.commands import ringback
from tests.conftest import MakeSettings

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the session that doctor uses."""
    async with open_session(limit=5, timeout=5) as opened:
        yield opened


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """Serve *answer* to every request inside the block; yield the address."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def ours(request: web.Request) -> web.Response:
    """As our receiver answers."""
    described = {"info": {"title": "Ringback"}}
    return web.json_response(described if request.path == "/openapi.json" else {"status": "ok"})


async def a_stranger(_: web.Request) -> web.Response:
    """As many other servers answer."""
    return web.json_response({"status": "ok"})


async def a_proxy(_: web.Request) -> web.Response:
    """Answer as a proxy without a server behind it."""
    return web.Response(status=502, text="<html>Bad Gateway</html>")


async def a_redirect(_: web.Request) -> web.Response:
    """As http answers that wants https."""
    raise web.HTTPMovedPermanently("https://elsewhere.test/")


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (ours, "warn", "leads to this receiver, from here"),
        (a_stranger, "fail", "leads to another server"),
        (a_proxy, "fail", "leads to a proxy with nothing behind it"),
        (a_redirect, "fail", "redirects"),
    ],
)
async def test_public_url_leads_to_us_or_is_told_apart(
    session: aiohttp.ClientSession, make_settings: MakeSettings, answer: Answer, verdict: str, words: str
) -> None:
    """Another server that is well is not taken for ours."""
    async with server(answer) as url:
        (finding,) = await check_public_url(session, make_settings(public_url=url))

    assert (finding.verdict, words in finding.found) == (verdict, True)
    assert finding.remedy


async def test_public_url_that_nobody_listens_at(session: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    """Two causes are named: the receiver does not run, or a firewall is between."""
    settings = make_settings(public_url=f"http://127.0.0.1:{free_port()}")

    (finding,) = await check_public_url(session, settings)

    assert finding.verdict == "fail"
    assert finding.remedy is not None
    assert "start the receiver" in finding.remedy


async def test_no_public_url_is_no_failure(session: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    """Without callbacks everything works, only slower."""
    (finding,) = await check_public_url(session, make_settings(public_url=None))

    assert finding.verdict == "warn"
    assert "polled" in finding.found


async def test_a_provider_that_is_well(session: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    """The finding shows the balance."""
    async with playing(LeadMagic(LeadMagicSettings(api_key="right", balance=5000))) as url:
        settings = make_settings(leadmagic_api_key="right", leadmagic_base_url=url)
        (finding,) = await check_provider(session, settings, build_providers(settings)["leadmagic"])

    assert finding == Finding("leadmagic", "ok", "takes the credentials; 5,000 credits left")


@pytest.mark.parametrize(
    ("secret", "balance", "verdict", "words"),
    [
        ("wrong", 5000, "fail", "the key was refused"),
        ("right", 0, "fail", "out of credits"),
        ("right", 30, "warn", "30 credits left"),
    ],
)
async def test_a_provider_that_is_not(
    session: aiohttp.ClientSession, make_settings: MakeSettings, secret: str, balance: int, verdict: str, words: str
) -> None:
    """A wrong secret, no credits, and few credits are three things, each with its remedy."""
    async with playing(Nyne(NyneSettings(api_key="key", api_secret="right", balance=balance))) as url:
        settings = make_settings(nyne_api_key="key", nyne_api_secret=secret, nyne_base_url=url)
        (finding,) = await check_provider(session, settings, build_providers(settings)["nyne"])

    assert (finding.verdict, words in finding.found) == (verdict, True)
    assert finding.remedy


async def test_a_provider_that_cannot_be_reached(session: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    """The setting that may be wrong is named."""
    settings = make_settings(nyne_base_url=f"http://127.0.0.1:{free_port()}")

    (finding,) = await check_provider(session, settings, build_providers(settings)["nyne"])

    assert finding.verdict == "fail"
    assert "NYNE_BASE_URL" in (finding.remedy or "")


async def test_a_database_that_is_well(make_settings: MakeSettings, database_url: str) -> None:
    """The finding shows the version, and that the schema is current."""
    answers, schema = await check_database(make_settings(database_url=database_url))

    assert answers.verdict == "ok"
    assert answers.found.startswith("PostgreSQL ")
    assert schema == Finding("Schema", "ok", f"at step {read_steps()[-1].number}")


async def test_an_identity_key_of_another_database(make_settings: MakeSettings, database_url: str) -> None:
    """No process would start with it."""
    findings = await check_database(make_settings(database_url=database_url, identity_key="of-another"))

    (finding,) = (finding for finding in findings if finding.verdict == "fail")
    assert finding.about == "IDENTITY_KEY"
    assert "set the one that was used" in (finding.remedy or "")


async def test_a_database_that_is_away(make_settings: MakeSettings) -> None:
    """It fails with the remedy that the processes would name."""
    (finding,) = await check_database(make_settings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))

    assert finding.verdict == "fail"
    assert "DATABASE_URL" in (finding.remedy or "")


async def test_no_embedded_database_is_made_by_looking(make_settings: MakeSettings, tmp_path: Path) -> None:
    """Before the first start there is none, and that is no failure."""
    (finding,) = await check_database(make_settings(ringback_home=tmp_path / "home"))

    assert finding.verdict == "warn"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("length", "verdict"), [(12, "fail"), (20, "warn"), (43, "ok")])
def test_short_secrets_are_found(length: int, verdict: str) -> None:
    """The shortest counts, and it is never shown."""
    (finding,) = check_secrets("CALLBACK_KEYS", [SecretStr("k" * 50), SecretStr("s" * length)])

    assert finding.verdict == verdict
    assert "sss" not in finding.found


def test_settings_are_those_of_every_process(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver lacks its token, the submitter its keys: one finding for each, with a remedy."""
    make_settings()  # the environment is empty now
    monkeypatch.setenv("PROVIDERS", "leadmagic")

    findings = check_settings()

    assert [finding.about for finding in findings] == ["Setting API_TOKENS", "Setting LEADMAGIC_API_KEY"]
    assert all(finding.verdict == "fail" and finding.remedy for finding in findings)


async def test_doctor_fails_with_1_and_speaks_json(tmp_path: Path) -> None:
    """A program can act on the findings; no process needs to run, and no file is made."""
    told = await ringback("doctor", "--json", cwd=tmp_path, PORT="99999", NYNE_API_KEY="key")

    findings = json.loads(told.out)
    assert told.code == 1
    assert {"about", "verdict", "found", "remedy"} == set(findings[0])
    assert "Setting PORT" in {finding["about"] for finding in findings}
    assert all(finding["remedy"] for finding in findings if finding["verdict"] == "fail")
    assert list(tmp_path.iterdir()) == []


async def test_parameters_without_a_use_are_told(make_settings: MakeSettings, database_url: str) -> None:
    """Parameters in DATABASE_URL that are for libpq only do no harm, and are named."""
    findings = await check_database(make_settings(database_url=f"{database_url}&gssencmode=disable"))

    assert Finding("DATABASE_URL", "ok", "works; ignores gssencmode") in findings
