"""What is fuzzed: for each parser and verifier, what to draw, and what must hold. None may raise anything else."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from uuid import UUID

import typer
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from starlette.datastructures import Headers

from console.suppress import read_file, read_values
from enrichment.contact import fingerprint
from enrichment.crms.hubspot import HubSpot
from enrichment.emails import read_emails
from enrichment.event import NotAnEvent, read_event, read_fields
from enrichment.event_json import NotJson, parse_json
from enrichment.facts import names_agree
from enrichment.files import open_table, read_rows
from enrichment.files.columns import contact_of, guess_mapping
from enrichment.files.table import FileProblem
from enrichment.linkedin import read_profiles
from enrichment.names import read_company, read_name
from enrichment.phone import is_valid, read_phone
from enrichment.postgres_url import read_postgres_url
from enrichment.providers.base import CallsBack, HttpResponse
from enrichment.providers.leadmagic import LeadMagic
from enrichment.providers.nyne import Nyne
from enrichment.public_addresses import is_public
from enrichment.query import read_query
from enrichment.regions import read_region
from enrichment.result_webhook import read_said
from enrichment.selection import Wanted
from enrichment.settings import Settings, SettingsError, setting_fields
from enrichment.signatures import sign_webhook, verify_webhook
from enrichment.suppression import KINDS, read_identifier
from enrichment.texts import Unusable, tidy
from enrichment.tokens import is_genuine
from receiver.encodings import as_signed, json_text, readable_text
from receiver.pages import read_place
from receiver.problems import Problem
from tests.crm_fits import assert_fits, assert_heard_fits
from tests.crm_suite import READERS
from tests.fuzz.inputs import answers, bodies, samples, texts
from tests.provider_suite import assert_fit

KEY = b"key of the fuzzed"
NOW = 1_700_000_300.0
LARGEST = 1 << 20
SECRET = SecretStr("secret of the fuzzed")
PROVIDERS = {"leadmagic": LeadMagic(api_key=SECRET), "nyne": Nyne(api_key=SECRET, api_secret=SECRET)}
HUBSPOT = HubSpot(client_secrets=(SECRET,), accept_v1=True)
EVENTS = [
    {"event_id": "evt-1", "record_id": "crm-42", "profile_url": "linkedin.com/in/janedoe", "work_email": "jane@acme.co",
     "personal_email": None, "name": "Jane Doe", "company": "Acme", "providers": ["leadmagic", "nyne"], "region": "US"},
    [{"First Name": "Jane", "lastName": "Doe", "LinkedIn URL": "https://www.linkedin.com/in/jd/"}, {"email": "a@b.co"}],
    {"contacts": [{"full_name": "Jane Doe", "companyName": "Acme"}, {"linkedin": ["x", {"url": "linkedin.com/in/j"}]}]},
]  # fmt: skip
SELECTIONS = [
    {"action": "retry", "filter": {"status": "failed", "source": "hubspot", "since": "2026-11-01T00:00:00Z"}},
    {"action": "replay", "filter": {"channel": "webhook", "state": "given_up", "q": "jane@acme.co"}},
]
regions = st.sampled_from([None, "US", "DE", "GB", "IT", "ZZ", "", "us", "é"])
header_lists = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "content-encoding", "webhook-id", "webhook-timestamp", "webhook-signature",
                         "x-hubspot-signature-v3", "x-hubspot-request-timestamp", "x-hubspot-signature",
                         "x-hubspot-signature-version"]),
        texts()
        | st.sampled_from(["gzip", "gzip, gzip", "application/json; charset=utf-16", "v2", "1700000300", "1" * 13]),
    ).map(list),
    max_size=5,
)  # fmt: skip
columns = st.sampled_from(
    ["email,note", "number;profile", "\ufeffEmail , domain", "note", "profile,email,number,domain"]
)
VARIABLES = sorted(name.upper() for name in setting_fields() if name != "ringback_home")
Check = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads what others send."""

    drawn: st.SearchStrategy[Any]
    check: Check


def _event(body: bytes) -> None:
    with suppress(NotJson, NotAnEvent):
        for read in read_event(body, providers=PROVIDERS, fields={"Their Name": "work_email"}):
            assert (read.contact is None) <= bool(read.problems), "unusable, and nothing says why"
            assert "\0" not in repr(read.problems)
            if read.contact is not None:
                fingerprint(read.contact, read.named)
                json.dumps([read.record_id, read.event_id, read.problems]).encode()


def _json(body: bytes) -> None:
    with suppress(NotJson):
        parse_json(body)


def _crm_event(body: bytes) -> None:
    with suppress(NotJson, NotAnEvent):
        assert_heard_fits(HUBSPOT, HUBSPOT.read_event(body))


def _crm_signature(case: list[Any]) -> None:
    headers, body, url = case
    given = [(name, value) for name, value in headers]
    assert not HUBSPOT.verify(method="POST", url=url, headers=given, body=body, now=NOW), "forged, and taken as genuine"
    HUBSPOT.clocks_apart(method="POST", url=url, headers=given, body=body, now=NOW)
    HUBSPOT.may_be_signed(given)


def _webhook_signature(case: list[Any]) -> None:
    headers, body = case
    sent = Headers(raw=[(name.encode(), value.encode("latin-1", "replace")) for name, value in headers])
    assert verify_webhook(sent, body, keys=[KEY], now=NOW) is None, "forged, and taken as genuine"
    signed = sign_webhook("msg_1", body, keys=[KEY], now=NOW)
    assert verify_webhook(signed, body, keys=[KEY], now=NOW) == "msg_1"


def _callback_token(token: str) -> None:
    assert not is_genuine(token, [SECRET], "nyne", UUID(int=7))


def _encoding(case: list[Any]) -> None:
    headers, body = case
    sent = Headers(raw=[(name.encode(), value.encode("latin-1", "replace")) for name, value in headers])
    readable_text(sent, body, LARGEST)
    list(as_signed(sent, body, LARGEST))
    with suppress(Problem):
        json_text(sent, body, LARGEST)


def _answer_of(provider: Any) -> Check:
    def check(case: list[Any]) -> None:
        response = HttpResponse(case[0], case[1], case[2])
        outcomes = [provider.read_submit(response), provider.read_health(response)]
        if isinstance(provider, CallsBack):
            outcomes += [provider.read_poll(response), provider.read_callback(response.body)]
        for outcome in outcomes:
            assert_fit(outcome)
        provider.read_limits(response)

    return check


def _crm_answer(case: list[Any]) -> None:
    response = HttpResponse(case[0], case[1], case[2])
    for reader in READERS:
        assert_fits(getattr(HUBSPOT, f"read_{reader}")(response))
    HUBSPOT.read_limits(response)


def _result_answer(case: list[Any]) -> None:
    read_said(HttpResponse(case[0], case[1], case[2]))


def _phone(case: list[Any]) -> None:
    text, region = case
    phone = read_phone(text, region)
    if phone is not None:
        digits = phone.e164.removeprefix("+")
        assert re.fullmatch(r"\+[0-9]{4,15}", phone.e164), "not E.164"
        again = read_phone(phone.e164, None)
        assert again is not None, "does not read to itself"
        assert again.e164 == phone.e164, "reads to another number"
        is_valid(digits)


def _idempotent(read: Callable[[str], Any]) -> Check:
    """Return the check that what *read* makes of a tidied text reads to itself."""

    def check(text: str) -> None:
        with suppress(Unusable):
            found = read(tidy(text))
            for one in found if isinstance(found, tuple) else (found,):
                if one is not None:
                    one.encode()
                    assert read(one) in ((one,), one), f"{one!r} reads to {read(one)!r}"

    return check


def _names(case: list[str]) -> None:
    one, other = case
    assert names_agree(one, other) == names_agree(other, one), "agrees one way only"


def _identifier(case: list[Any]) -> None:
    for kind in KINDS:
        with suppress(Unusable):
            found = read_identifier(kind, case[0])
            assert read_identifier(kind, found.value).value == found.value
    with suppress(Unusable):
        read_query(case[0])


def _selection(body: bytes) -> None:
    with suppress(ValidationError):
        wanted = Wanted.model_validate_json(body)
        assert Wanted.model_validate_json(wanted.model_dump_json()) == wanted


def _place(case: list[str]) -> None:
    with suppress(Problem):
        read_place({"cursor": case[0], "limit": case[1]})


def _database_url(text: str) -> None:
    with suppress(ValueError):
        read_postgres_url(text)


def _address(text: str) -> None:
    with suppress(ValueError):
        is_public(text)


def _csv(body: bytes) -> None:
    with TemporaryDirectory() as folder, suppress(typer.Exit), redirect_stderr(io.StringIO()):
        path = Path(folder) / "file.csv"
        path.write_bytes(body)
        read_values(read_file(path, None))


def _table(body: bytes) -> None:
    with TemporaryDirectory() as folder, suppress(FileProblem):
        path = Path(folder) / "contacts"
        path.write_bytes(body)
        table = open_table(path, name="contacts")
        rows = list(read_rows(path, table))
        mapping = guess_mapping(table, rows)
        for row in rows:
            assert len(row.values) == len(table.columns) == len(set(table.columns)), "values without a column"
            read_fields(contact_of(row, table, mapping), providers=PROVIDERS)


def _settings(given: dict[str, str]) -> None:
    env = {name: text for name, text in given.items() if "\0" not in text and text.isprintable()}
    with patch.dict(os.environ, env, clear=True), suppress(SettingsError):
        settings = Settings.load("receiver")
        for name, text in env.items():
            assert not ("KEY" in name and len(text) > 8 and text in repr(settings)), "shows a secret"


def _of(vendor: str, operation: str = "*") -> list[Any]:
    return [one["body"] for one in samples(vendor, operation)]


def _both(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(*strategies).map(list)


lines = st.lists(st.lists(texts(), max_size=4).map(",".join), max_size=4).map("\n".join)
TARGETS: dict[str, Target] = {
    "event": Target(bodies(EVENTS), _event),
    "json": Target(bodies(EVENTS), _json),
    "hubspot-event": Target(bodies(_of("hubspot", "event")), _crm_event),
    "hubspot-signature": Target(_both(header_lists, bodies(EVENTS), texts()), _crm_signature),
    "hubspot-answer": Target(answers("hubspot"), _crm_answer),
    "webhook-signature": Target(_both(header_lists, bodies(EVENTS)), _webhook_signature),
    "callback-token": Target(texts(), _callback_token),
    "encoding": Target(_both(header_lists, bodies(EVENTS)), _encoding),
    "leadmagic-answer": Target(answers("leadmagic"), _answer_of(PROVIDERS["leadmagic"])),
    "nyne-answer": Target(answers("nyne"), _answer_of(PROVIDERS["nyne"])),
    "result-answer": Target(answers("nyne"), _result_answer),
    "phone": Target(_both(texts(), regions), _phone),
    "profile": Target(texts(), _idempotent(read_profiles)),
    "email": Target(texts(), _idempotent(read_emails)),
    "name": Target(texts(), _idempotent(read_name)),
    "company": Target(texts(), _idempotent(read_company)),
    "region": Target(texts(), _idempotent(read_region)),
    "text": Target(texts(), _idempotent(tidy)),
    "names": Target(_both(texts(), texts()), _names),
    "identifier": Target(_both(texts()), _identifier),
    "selection": Target(bodies(SELECTIONS), _selection),
    "page": Target(_both(texts(), texts()), _place),
    "database-url": Target(texts(), _database_url),
    "address": Target(texts(), _address),
    "csv": Target(st.builds(lambda head, rest: f"{head}\n{rest}".encode(errors="replace"), columns, lines), _csv),
    "table": Target(
        st.binary() | st.builds(lambda *of: "\n".join(of).encode(errors="replace"), columns, lines), _table
    ),
    "settings": Target(st.dictionaries(st.sampled_from(VARIABLES), texts(), max_size=4), _settings),
}
