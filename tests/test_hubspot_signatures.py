"""HubSpot's signatures: the vectors of its pages and libraries, and which are refused.

https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests
https://github.com/HubSpot/hubspot-api-python/blob/master/tests/unit/utils/test_signature.py
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hubspot.utils.signature import Signature  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from enrichment.crms.hubspot import HubSpot
from enrichment.crms.hubspot_signatures import sign_v1, sign_v2, sign_v3
from tests.provider_suite import quick

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://www.example.com/webhook_uri"
OLD = b"{'example_field':'example_value'}"
BODY = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW",'
    b'"appId":54321}]'
)
AT = "1700000300000"
NOW = 1_700_000_300.0
V3 = "smW6rgegs09CsNkBMkt7S2A8yJh/NGA8hRa/1lTI9wc="  # of BODY at AT
V1 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"  # of BODY
V2 = "4fe4e3a7d3cf09db53be39d0a58130e2aaba074ec123a9e355b876a689a1c383"  # of POST URL OLD
CRM = HubSpot(client_secrets=(SecretStr(SECRET),))
LENIENT = dataclasses.replace(CRM, accept_v1=True)

GENUINE = {"x-hubspot-signature-v3": V3, "x-hubspot-request-timestamp": AT}
OLD_V1 = {"x-hubspot-signature": V1, "x-hubspot-signature-version": "v1"}
OLD_V2 = {"x-hubspot-signature": V2, "x-hubspot-signature-version": "v2"}


def verifies(headers: dict[str, str], *, crm: HubSpot = CRM, body: bytes = BODY, **request: Any) -> bool:
    """Tell whether a request with these headers is genuine."""
    asked: dict[str, Any] = {"method": "POST", "url": URL, "now": NOW} | request
    return crm.verify(headers=list(headers.items()), body=body, **asked)


@pytest.mark.parametrize(
    ("url", "body", "timestamp", "signature"),
    [
        (URL, OLD, "15000000", "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw="),
        (URL, OLD, "1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        (URL, OLD, AT, "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
        (URL, BODY, AT, V3),
        (URL, '[{"propertyName":"firstname","propertyValue":"Zoë"}]'.encode(), AT,
         "8hoyRyGFrKEX8LNZ1lED/Hn/DulDHxGsXX8h6fD+xrk="),
        ("https://hooks.example.com/events/hubspot?x=a%3Ab%2Fc", b"[]", AT,
         "ursjomz3cMXt0xi/NjM4dnodLyF86ndS81KqCf5/MSg="),
    ],
)  # fmt: skip
def test_the_vectors_of_v3(url: str, body: bytes, timestamp: str, signature: str) -> None:
    """METHOD, decoded URI, body and timestamp, in base64."""
    assert sign_v3(SECRET, "POST", url, body, timestamp) == signature


@pytest.mark.parametrize(
    ("method", "body", "signature"),
    [("GET", b"", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"), ("POST", OLD, V2)],
)
def test_the_vectors_of_v2(method: str, body: bytes, signature: str) -> None:
    """Secret, METHOD, URI and body, in hex."""
    assert sign_v2(SECRET, method, URL, body) == signature


@pytest.mark.parametrize(
    ("body", "signature"), [(BODY, V1), (OLD, "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750")]
)
def test_the_vectors_of_v1(body: bytes, signature: str) -> None:
    """Secret and body, in hex."""
    assert sign_v1(SECRET, body) == signature


@quick
@given(body=st.text(max_size=80).filter(lambda text: text.isprintable()), timestamp=st.integers(10**12, 10**13 - 1))
def test_hubspots_own_library_signs_alike(body: str, timestamp: int) -> None:
    """The oracle and we agree on every body and moment."""
    theirs = Signature.get_signature(SECRET, body, "v3", URL, "POST", str(timestamp))
    theirs = theirs.decode() if isinstance(theirs, bytes) else theirs

    assert sign_v3(SECRET, "POST", URL, body.encode(), str(timestamp)) == theirs
    assert sign_v2(SECRET, "POST", URL, body.encode()) == Signature.get_signature(SECRET, body, "v2", URL, "POST")
    assert sign_v1(SECRET, body.encode()) == Signature.get_signature(SECRET, body, "v1")


@pytest.mark.parametrize("escape", ["3A", "2F", "3F", "40", "21", "24", "27", "28", "29", "2A", "2C", "3B", "3a", "2f"])
def test_the_listed_escapes_are_decoded(escape: str) -> None:
    """HubSpot signs the characters themselves."""
    plain = f"{URL}?a={chr(int(escape, 16))}"

    assert sign_v3(SECRET, "POST", f"{URL}?a=%{escape}", b"", AT) == sign_v3(SECRET, "POST", plain, b"", AT)


@pytest.mark.parametrize("escape", ["20", "25", "26", "3D", "2B", "23", "C3%AB", "253A"])
def test_no_other_escape_is_decoded(escape: str) -> None:
    """A space, a percent sign or a letter stays as it was written."""
    expected = Signature.get_signature(SECRET, "", "v3", f"{URL}?a=%{escape}", "POST", AT)
    expected = expected.decode() if isinstance(expected, bytes) else expected

    assert sign_v3(SECRET, "POST", f"{URL}?a=%{escape}", b"", AT) == expected


def test_a_genuine_request_is_taken() -> None:
    """Spaces around a value are not part of it."""
    assert verifies(GENUINE)
    assert verifies({name: f" {value}\t" for name, value in GENUINE.items()})


@pytest.mark.parametrize(
    "headers",
    [
        GENUINE | {"x-hubspot-request-timestamp": "15000000"},
        GENUINE | {"x-hubspot-request-timestamp": "1700000300"},
        GENUINE | {"x-hubspot-request-timestamp": "1700000300000.0"},
        GENUINE | {"x-hubspot-request-timestamp": "１７０００００３０００００"},
        GENUINE | {"x-hubspot-request-timestamp": "1700000300001"},
        GENUINE | {"x-hubspot-signature-v3": V3.rstrip("=")},
        GENUINE | {"x-hubspot-signature-v3": V3.replace("/", "_")},
        GENUINE | {"x-hubspot-signature-v3": V1},
        {"x-hubspot-signature-v3": V3},
        {"x-hubspot-request-timestamp": AT},
        {},
    ],
)
def test_what_is_not_quite_a_signature_is_refused(headers: dict[str, str]) -> None:
    """Thirteen digits, standard base64, both headers."""
    assert not verifies(headers)
    assert not verifies(headers, crm=LENIENT)


@pytest.mark.parametrize(("after", "genuine"), [(0, True), (300, True), (-300, True), (300.001, False), (-301, False)])
def test_five_minutes_are_to_the_millisecond(after: float, genuine: bool) -> None:
    """300,000 ms both ways."""
    assert verifies(GENUINE, now=NOW + after) is genuine


def test_the_whole_address_is_signed() -> None:
    """Another method, host, path, slash or query is another request."""
    for url in (f"{URL}/", f"{URL}?", "http://www.example.com/webhook_uri", "https://example.com/webhook_uri"):
        assert not verifies(GENUINE, url=url)
    assert not verifies(GENUINE, method="PUT")


def test_old_signatures_count_only_if_they_are_wanted() -> None:
    """The old forms have no timestamp: a recorded event could be sent again for ever."""
    assert not verifies(OLD_V1)
    assert not verifies(OLD_V2, body=OLD)
    assert verifies(OLD_V1, crm=LENIENT)
    assert verifies({"x-hubspot-signature": V1}, crm=LENIENT)
    assert verifies(OLD_V2, crm=LENIENT, body=OLD)


@pytest.mark.parametrize("version", ["v2", "v3", "v4", ""])
def test_an_old_signature_is_checked_as_the_version_that_it_names(version: str) -> None:
    """A v1 signature is no other."""
    assert not verifies(OLD_V1 | {"x-hubspot-signature-version": version}, crm=LENIENT)


@pytest.mark.parametrize(
    "beside",
    [
        {"x-hubspot-signature-v3": "wrong", "x-hubspot-request-timestamp": AT},
        {"x-hubspot-signature-v3": V3, "x-hubspot-request-timestamp": "1600000300000"},
        {"x-hubspot-signature-v3": V3},
        {"x-hubspot-signature-v3": ""},
        {"x-hubspot-request-timestamp": AT},
    ],
)
def test_an_old_signature_does_not_mend_a_new_one(beside: dict[str, str]) -> None:
    """Beside a wrong, stale or half v3 signature, a right v1 signature counts for nothing."""
    assert not verifies(OLD_V1 | beside, crm=LENIENT)


def test_a_wrong_old_signature_does_not_spoil_a_new_one() -> None:
    """HubSpot sends both; only v3 is looked at."""
    assert verifies(GENUINE | {"x-hubspot-signature": "0" * 64}, crm=LENIENT)
    assert verifies(GENUINE | OLD_V1)


def test_an_empty_secret_verifies_nothing() -> None:
    """Any sender could sign with an empty secret."""
    empty = HubSpot(client_secrets=(SecretStr(""),), accept_v1=True)
    forged = {"x-hubspot-signature": sign_v1("", BODY)}

    assert not verifies(forged, crm=empty)
