"""The checks of `ringback doctor` for CRMs: the token, its scopes, and the fields of contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from console.crm_checks import check_token, find_fields, read_fields
from console.crm_clock import check_clock
from console.database import connected, embedded_exists
from console.findings import Finding
from enrichment.crms import CRMS, build_crm
from enrichment.crms.hubspot import LINKEDIN_FIELD
from enrichment.settings import Settings
from store.connections import Connection, read_connections
from store.database import DatabaseDown
from store.migrations import require_current
from store.steps import SchemaError


async def check_crms(session: aiohttp.ClientSession, settings: Settings) -> list[Finding]:
    """Check every CRM that has a token or is connected."""
    known = await _read_known(settings)
    findings = []
    for name in CRMS:
        if name in known or build_crm(name, settings, {}).can_call:
            findings += await _check_crm(session, settings, name, known.get(name))
    return findings


async def _read_known(settings: Settings) -> Mapping[str, Connection]:
    """Return the connections; none while the database is unreachable, which another check reports."""
    if not embedded_exists(settings):
        return {}
    try:
        async with connected(settings) as connection:
            await require_current(connection)
            return await read_connections(connection)
    except (DatabaseDown, SchemaError):
        return {}


async def _check_crm(
    session: aiohttp.ClientSession, settings: Settings, name: str, connection: Connection | None
) -> list[Finding]:
    learned: Mapping[str, Any] = connection.learned if connection else {}
    crm = build_crm(name, settings, learned)
    if not crm.can_call:
        return [
            Finding(crm.label, "fail", "is connected, and there is no token", f"`ringback connect {name}` says how")
        ]
    standing = await check_token(session, crm, writes=settings.write_back != "off")
    if standing.troubles:
        remedy = "give the token the scopes, or make another; `ringback connect` says which"
        return [Finding(crm.label, "fail", trouble, remedy) for trouble in standing.troubles]
    findings = [Finding(crm.label, "ok", f"takes the token; account {standing.account or 'unknown'}")]
    if connection is not None and connection.account not in (None, standing.account) and standing.account:
        found = f"the token is of account {standing.account}, and account {connection.account} is connected"
        findings.append(Finding(crm.label, "fail", found, f"`ringback disconnect {name}`, then connect it again"))
    clock = await check_clock(session, crm)
    return [*findings, *([clock] if clock else []), *await _check_fields(session, settings, name, learned)]


async def _check_fields(
    session: aiohttp.ClientSession, settings: Settings, name: str, learned: Mapping[str, Any]
) -> list[Finding]:
    """Check that the fields of our settings exist, and list those that may hold LinkedIn profiles."""
    crm, own = build_crm(name, settings, learned), settings.crm(name)
    properties = await read_fields(session, crm)
    about = f"{crm.label} fields"
    if not isinstance(properties, tuple):
        return [Finding(about, "fail", f"cannot be read: {properties.reason}", "give the token the scope")]
    wanted = own.linkedin_field or learned.get("linkedin_field")
    conditions = [one.name for one in own.only_if]
    fields = find_fields(properties, usual=LINKEDIN_FIELD, wanted=wanted, conditions=conditions)
    findings = [
        Finding(
            about, "fail", f"no field of contacts is called {one}", "use its internal name, as its settings show it"
        )
        for one in fields.unknown
    ]
    others = ", ".join(f"{one.name} ({one.label})" for one in fields.candidates if one.name != fields.linkedin)
    choose = f"if the profiles are in another one: {name.upper()}_LINKEDIN_FIELD"
    if fields.linkedin is None:
        found = f"several may hold LinkedIn profiles: {others}" if others else "none holds LinkedIn profiles"
        findings.append(Finding(about, "warn", found, f"set {name.upper()}_LINKEDIN_FIELD"))
    elif not fields.unknown:
        found = f"LinkedIn profiles are read from {fields.linkedin}"
        findings.append(
            Finding(about, "ok", f"{found}; also: {others}", choose) if others else Finding(about, "ok", found)
        )
    return findings
