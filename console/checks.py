"""The checks of `ringback doctor`. Each returns findings; none raises, and none costs anything."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from pydantic import SecretStr

from console.crm_doctor import check_crms
from console.database import connected, embedded_exists
from console.findings import Finding, Verdict
from console.seat_checks import check_campaigns, check_dashboard, check_files
from enrichment.providers import build_providers
from enrichment.providers.base import HttpRequest, HttpResponse, Provider
from enrichment.settings import Role, Settings, SettingsError
from store.database import DatabaseDown, ignored_parameters
from store.installation import IdentityKeyError, read_hasher
from store.migrations import newest_applied, require_current
from store.reports import has_deadlines
from store.steps import SchemaError
from submitter.transport import Unanswered, Unsent, open_session, send

PATIENCE = 10.0  # seconds for one answer
SHORTEST_SECRET, GOOD_SECRET = 16, 32  # characters; a guessed one lets strangers into your CRM
OLDEST_POSTGRES = 14  # the oldest version that was maintained when this was written
FEW = 20  # numbers that the balance should still pay for
MAKE_ONE = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
REMEDIES = {  # by a part of the setting's name
    "TOKENS": MAKE_ONE,
    "KEYS": MAKE_ONE,
    "API_KEY": "copy it from your account with the provider, or leave the provider out of PROVIDERS",
    "API_SECRET": "copy it from your account with the provider, or leave the provider out of PROVIDERS",
}
OUR_TITLE = "Ringback"  # the title of our own API in /openapi.json


async def examine() -> list[Finding]:
    """Run every check that the settings allow."""
    findings = check_settings()
    try:
        settings = Settings.load("console")
    except SettingsError:
        rest = "Database, PUBLIC_URL and providers"
        return [*findings, Finding(rest, "warn", "not checked", "mend the settings above first")]
    findings += check_secrets("API_TOKENS", settings.api_tokens)
    findings += check_secrets("CALLBACK_KEYS", settings.callback_keys)
    findings += check_secrets("SESSION_KEY", [settings.session_key] if settings.session_key else [])
    findings += [*check_dashboard(settings), *check_files()]
    async with open_session(limit=10, timeout=PATIENCE) as session:
        others = await asyncio.gather(
            check_database(settings),
            check_public_url(session, settings),
            *(check_provider(session, settings, provider) for provider in build_providers(settings).values()),
        )
        of_crms = await check_crms(session, settings)  # after the database's: both may have to start an embedded one
    return [*findings, *(finding for found in others for finding in found), *of_crms]


def check_settings() -> list[Finding]:
    """Check that every process has what it needs; one finding for each setting that is missing or wrong."""
    problems: dict[str, None] = {}
    roles: tuple[Role, ...] = ("receiver", "submitter")
    for role in roles:
        try:
            Settings.load(role)
        except SettingsError as error:
            problems |= dict.fromkeys(error.problems)
    if not problems:
        return [Finding("Settings", "ok", "complete, for every process")]
    findings = []
    for problem in problems:
        name, _, found = problem.partition(": ")
        remedy = next((remedy for part, remedy in REMEDIES.items() if part in name), "the README lists every setting")
        findings.append(Finding(f"Setting {name}", "fail", found, remedy))
    return findings


def check_secrets(name: str, secrets: Sequence[SecretStr]) -> list[Finding]:
    """Check that each of these is too long to be guessed; return no finding where there are none."""
    if not secrets:
        return []
    shortest = min(len(secret.get_secret_value()) for secret in secrets)
    if shortest >= GOOD_SECRET:
        return [Finding(name, "ok", f"{len(secrets)} set, long enough")]
    verdict: Verdict = "fail" if shortest < SHORTEST_SECRET else "warn"
    found = f"one of {len(secrets)} has only {shortest} characters; use {GOOD_SECRET} or more"
    return [Finding(name, verdict, found, MAKE_ONE)]


async def check_database(settings: Settings) -> list[Finding]:
    """Check that PostgreSQL answers, is new enough, has our schema and identity key, and keeps deadlines."""
    where = "Database" if settings.database_url else f"Embedded database under {settings.ringback_home.resolve()}"
    if not embedded_exists(settings):
        return [Finding(where, "warn", "does not exist yet", "`ringback up` or `ringback migrate` makes it")]
    try:
        async with connected(settings) as connection:
            version = connection.get_server_version()
            bound = await has_deadlines(connection)
            content = await _check_content(connection, settings)
    except DatabaseDown as error:
        return [_failed(where, error)]
    told = f"PostgreSQL {version.major}.{version.minor} answers"
    if version.major < OLDEST_POSTGRES:
        return [Finding(where, "warn", told, "it is no longer maintained; upgrade it"), *content]
    findings = [Finding(where, "ok", told), *content]
    if ignored := ignored_parameters(settings):
        findings.append(Finding("DATABASE_URL", "ok", f"works; ignores {', '.join(ignored)}"))
    if not bound:
        found = "a pooler in between drops them: nothing on the server ends a statement that hangs"
        findings.append(Finding("Deadlines", "warn", found, "give them to the role: see PgBouncer in the README"))
    return findings


async def _check_content(connection: asyncpg.Connection[Any], settings: Settings) -> list[Finding]:
    """Check that the database has our newest schema, was filled with our identity key, and goes on with campaigns."""
    try:
        await require_current(connection)
    except SchemaError as error:
        return [_failed("Schema", error)]
    current = Finding("Schema", "ok", f"at step {await newest_applied(connection)}")
    try:
        await read_hasher(connection, settings)
    except IdentityKeyError as error:
        return [current, _failed("IDENTITY_KEY", error)]
    return [current, *await check_campaigns(connection)]


def _failed(about: str, error: Exception) -> Finding:
    found, _, remedy = str(error).partition(" Remedy: ")
    return Finding(about, "fail", found, remedy)


async def check_public_url(session: aiohttp.ClientSession, settings: Settings) -> list[Finding]:
    """Check that PUBLIC_URL leads to this receiver, and not to another server."""
    url = settings.public_url
    if url is None:
        found = "not set: no callbacks, Nyne is polled"
        return [Finding("PUBLIC_URL", "warn", found, "set it to where the internet reaches the receiver")]
    answer = await send(session, HttpRequest("GET", f"{url}/healthz", {}))
    if not isinstance(answer, HttpResponse):
        return [Finding("PUBLIC_URL", "fail", f"{url} does not answer: {answer.reason}", _unreachable(answer))]
    if 300 <= answer.status < 400:
        remedy = "set it to the address that is redirected to: a callback is a POST, and is not sent again"
        return [Finding("PUBLIC_URL", "fail", f"{url} redirects (HTTP {answer.status})", remedy)]
    if answer.status in {502, 503, 504}:
        found = f"{url} leads to a proxy with nothing behind it (HTTP {answer.status})"
        return [Finding("PUBLIC_URL", "fail", found, "start the receiver, or tell the proxy where it listens")]
    if not await _is_ours(session, url, answer):
        found = f"{url} leads to another server (HTTP {answer.status})"
        return [Finding("PUBLIC_URL", "fail", found, "point it, or the proxy behind it, at the receiver")]
    return [_privacy(url)]


def _unreachable(answer: Unsent | Unanswered) -> str:
    if isinstance(answer, Unsent):
        return "start the receiver; check the name, the port, and the firewall between"
    return "something accepts connections there and does not answer: check the proxy"


async def _is_ours(session: aiohttp.ClientSession, url: str, health: HttpResponse) -> bool:
    """Tell our server from others: it describes its API under its own name."""
    if health.status != 200:
        return False
    answer = await send(session, HttpRequest("GET", f"{url}/openapi.json", {}))
    if not isinstance(answer, HttpResponse):
        return False
    try:
        return bool(json.loads(answer.body)["info"]["title"] == OUR_TITLE)
    except (ValueError, KeyError, TypeError):
        return False


def _privacy(url: str) -> Finding:
    """Say who can reach the URL that leads to us."""
    parts = urlsplit(url)
    if _is_private(parts.hostname or ""):
        found = f"{url} leads to this receiver, from here"
        return Finding("PUBLIC_URL", "warn", found, "providers cannot reach a private address; use a public one")
    if parts.scheme != "https":
        found = f"{url} leads to this receiver, unencrypted"
        return Finding("PUBLIC_URL", "warn", found, "use https: callbacks carry numbers, and their URL is a credential")
    return Finding("PUBLIC_URL", "ok", f"{url} leads to this receiver")


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


async def check_provider(session: aiohttp.ClientSession, settings: Settings, provider: Provider) -> list[Finding]:
    """Check through its free endpoint that the provider takes our credentials and has credits left."""
    if settings.provider(provider.name).lacks():
        return [Finding(provider.name, "warn", "not asked", "set its credentials first")]
    answer = await send(session, provider.health())
    if not isinstance(answer, HttpResponse):
        remedy = f"check {provider.name.upper()}_BASE_URL, and that this machine may call out"
        return [Finding(provider.name, "fail", answer.reason, remedy)]
    health = provider.read_health(answer)
    if not health.well:
        found, _, remedy = (health.reason or "it is not well").partition("; ")
        return [Finding(provider.name, "fail", found, remedy or "look at the account in the provider's own console")]
    if health.balance is None:
        return [Finding(provider.name, "ok", "takes the credentials, and names no balance")]
    found = f"takes the credentials; {health.balance:,} credits left"
    if health.balance < provider.price * FEW:
        return [Finding(provider.name, "warn", found, f"top up: that is less than {FEW} numbers")]
    return [Finding(provider.name, "ok", found)]
