"""The rules for every CRM. A CRM is done when a class inherits from CrmSuite and its samples exist.

    class TestAcme(CrmSuite):                            # tests/test_crm_acme.py
        crm = Acme(access_token=SecretStr("acme-token-of-tests"), ...)
        silent = Acme()                                  # without any secret
        secrets = ("acme-token-of-tests",)
        def sign(self, request): ...                     # by a signer that is not ours, where there is one

Samples are what it sends: tests/samples/<crm>/<operation>-<case>.json, where read_<operation> reads them, holding
`status`, `headers`, `body` (JSON, or a text sent as it is), what it `reads` to, and `limits` where its headers tell of
any. `reads` names the kind under `is`, and those of its fields that matter; of a batch, the `ids`. `says` is the rule
it stands for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from enrichment.crms.base import Crm, Writing
from enrichment.event import LONGEST_ID, NotAnEvent
from enrichment.event_json import NotJson
from enrichment.outcome import Pause, Refused, Retry, Unclear
from enrichment.providers.base import HttpRequest, HttpResponse, LimitNews
from tests.crm_contacts import contact
from tests.crm_fits import assert_fits, assert_heard_fits
from tests.provider_suite import anything, bodies, echoes, places_in, quick, response_of, statuses, with_more_fields

SAMPLES = Path(__file__).parent / "samples"
NOW = 1_700_000_300.0  # seconds
URL = "https://ringback.test/events/acme"
SINCE, UNTIL = datetime(2026, 11, 28, 12, tzinfo=UTC), datetime(2026, 11, 28, 12, 5, tzinfo=UTC)
WRITING = Writing("found", "+15551234567", provider="nyne", at=UNTIL)
READERS = ("contacts", "contact", "write", "page", "account", "properties")

headers = st.dictionaries(
    st.sampled_from(
        [
            "retry-after", "date", "ratelimit-limit", "ratelimit-remaining", "x-hubspot-ratelimit-max",
            "x-hubspot-ratelimit-remaining", "x-hubspot-ratelimit-interval-milliseconds",
            "x-hubspot-ratelimit-daily-remaining",
        ]
    ),
    st.text(max_size=40) | st.integers().map(str) | st.floats().map(str) | st.just("Fri, 31 Dec 9999 23:59:59 GMT"),
)  # fmt: skip


@dataclass(frozen=True)
class Signed:
    """A request as a CRM sends it."""

    method: str = "POST"
    url: str = URL
    body: bytes = b'[{"a":1}]'
    at: float = NOW  # seconds


class CrmSuite:
    """The rules, each a test."""

    crm: ClassVar[Crm]
    silent: ClassVar[Crm]
    secrets: ClassVar[tuple[str, ...]]
    record_id: ClassVar[str] = "123"

    def sign(self, request: Signed) -> list[tuple[str, str]]:
        """Return the headers with which the CRM sends *request*, names in lower case."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run tests that take a sample once for each of the CRM's."""
        samples = samples_of(self.crm.name)
        with_fields = [sample for sample in samples if isinstance(sample["body"], dict | list)]
        for name, values in {"sample": samples, "sample_with_fields": with_fields}.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=[value["case"] for value in values])

    def verifies(self, request: Signed, given: Sequence[tuple[str, str]], *, now: float = NOW) -> bool:
        """Tell whether the CRM's adapter takes *request* with these headers for genuine."""
        return self.crm.verify(method=request.method, url=request.url, headers=given, body=request.body, now=now)

    # Signatures.

    @pytest.mark.parametrize(
        "request_",
        [Signed(), Signed(body=b""), Signed(body='[{"name":"Zoë"}]'.encode()), Signed(url=f"{URL}/?x=1&y="),
         Signed(body=b"\xff\xfe"), Signed(method="PUT")],
    )  # fmt: skip
    def test_what_the_crm_signed_is_genuine(self, request_: Signed) -> None:
        """The CRM's own signature is accepted, whatever the body and the address."""
        assert self.verifies(request_, self.sign(request_))

    def test_without_a_secret_nothing_is_genuine(self) -> None:
        """A receiver that knows no secret cannot be talked into anything."""
        one = Signed()

        assert not self.silent.can_verify
        assert not self.silent.verify(method="POST", url=URL, headers=self.sign(one), body=one.body, now=NOW)

    @quick
    @given(place=st.integers(0, 8), change=st.integers(1, 255))
    def test_a_changed_byte_is_refused(self, place: int, change: int) -> None:
        """No byte of the body may differ from the signed one."""
        one = Signed()
        changed = bytearray(one.body)
        changed[place] ^= change

        assert not self.verifies(dataclasses.replace(one, body=bytes(changed)), self.sign(one))

    @pytest.mark.parametrize("age", [-301, 301, -86_400, 86_400])
    def test_a_stale_or_early_request_is_refused(self, age: int) -> None:
        """A recorded request is refused after five minutes, and so is one dated later than now."""
        one = Signed(at=NOW - age)

        assert not self.verifies(one, self.sign(one))

    @pytest.mark.parametrize("age", [-299, 299])
    def test_clocks_may_differ_by_five_minutes(self, age: int) -> None:
        """Within that, a request is taken."""
        one = Signed(at=NOW - age)

        assert self.verifies(one, self.sign(one))

    def test_every_header_is_needed_and_only_once(self) -> None:
        """A header that is missing, empty or there twice is no signature."""
        one, signed = Signed(), self.sign(Signed())
        for header in signed:
            others = [other for other in signed if other != header]
            assert not self.verifies(one, others)
            assert not self.verifies(one, [*others, (header[0], "")])
            assert not self.verifies(one, [*signed, header])
            assert not self.verifies(one, [*signed, (header[0], "another")])

    @quick
    @given(values=st.lists(st.text(max_size=60), min_size=1, max_size=4), now=st.floats(0, 4e9))
    @example(values=["1" * 5000, "é", "\x00"], now=NOW)
    def test_any_header_may_hold_anything(self, values: list[str], now: float) -> None:
        """A forged header is refused, and never an error."""
        one = Signed()
        names = [name for name, _ in self.sign(one)]
        forged = [(name, values[index % len(values)]) for index, name in enumerate(names)]

        assert not self.verifies(one, forged, now=now)

    # Events.

    @quick
    @given(body=bodies)
    @example(body=b'{"a":' * 100_000)
    def test_a_body_is_events_or_is_none(self, body: bytes) -> None:
        """Any bytes read to contacts with ids that can be stored, or to NotJson or NotAnEvent."""
        try:
            heard = self.crm.read_event(body)
        except (NotJson, NotAnEvent):
            return
        assert_heard_fits(self.crm, heard)

    @quick
    @given(data=st.data())
    def test_an_events_fields_may_be_of_any_type(self, data: st.DataObject) -> None:
        """Any value of any recorded event may turn into any other."""
        sample = data.draw(st.sampled_from([one for one in samples_of(self.crm.name, "event") if one["body"]]))
        body = json.loads(json.dumps(sample["body"]))
        place, key = data.draw(st.sampled_from(list(places_in(body))))
        place[key] = data.draw(anything)

        assert_heard_fits(self.crm, self.crm.read_event(json.dumps(body).encode()))

    # Answers.

    def test_a_sample_reads_to_what_it_says(self, sample: dict[str, Any]) -> None:
        """Each recorded answer reads to the result that its sample names."""
        read = self.read(sample, sample["body"])

        assert_as_decided(read, sample)

    def test_unknown_fields_change_nothing(self, sample_with_fields: dict[str, Any]) -> None:
        """A field that the CRM adds tomorrow, anywhere, changes no reading."""
        read = self.read(sample_with_fields, with_more_fields(sample_with_fields["body"]))

        assert_as_decided(read, sample_with_fields)

    def test_a_sample_tells_its_limits(self, sample: dict[str, Any]) -> None:
        """Headers give the allowance, its window and the time to rest; without them, no limit is read."""
        told = self.crm.read_limits(response_of(sample, sample["body"]))

        assert told == (LimitNews(**sample["limits"]) if "limits" in sample else None), f"Read: {told!r}"

    @quick
    @given(data=st.data())
    def test_wrong_types_never_raise(self, data: st.DataObject) -> None:
        """Any value of any sample may turn into any other type, for every reader."""
        sample = data.draw(st.sampled_from(samples_of(self.crm.name)))
        assume(isinstance(sample["body"], dict) and sample["body"] and "status" in sample)
        body = json.loads(json.dumps(sample["body"]))
        place, key = data.draw(st.sampled_from(list(places_in(body))))
        place[key] = data.draw(anything)

        for read in self.read_all(response_of(sample, body)):
            assert_fits(read)

    @quick
    @given(status=statuses, headers=headers, body=bodies)
    def test_garbage_never_raises(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Any status, headers and bytes read to a result that can be stored and shown."""
        response = HttpResponse(status, headers, body)

        for read in self.read_all(response):
            assert_fits(read)
        news = self.crm.read_limits(response)
        assert news is None or news.allowance is None or news.allowance >= 1
        assert news is None or (news.window >= 1 and (news.rest is None or 0 <= news.rest <= 3600))

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'"ok"', b'{"results": 7}'])
    @pytest.mark.parametrize("status", [200, 202, 299])
    def test_a_success_that_cannot_be_read_is_looked_at_again(self, status: int, body: bytes) -> None:
        """A write whose answer is unreadable was perhaps done; a read is repeated."""
        response = HttpResponse(status, {}, body)

        assert isinstance(self.crm.read_write(response), Unclear)
        for reader in ("contacts", "contact", "page", "account", "properties"):
            assert isinstance(self.reader(reader)(response), Retry), reader

    @pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]"])
    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 599])
    def test_an_outage_is_waited_for(self, status: int, body: bytes) -> None:
        """A gateway's error says nothing about a write that went through it; a read is repeated."""
        response = HttpResponse(status, {}, body)

        assert isinstance(self.crm.read_write(response), Unclear)
        for reader in ("contacts", "contact", "page", "account", "properties"):
            assert isinstance(self.reader(reader)(response), Retry), reader

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, Refused), (422, Refused), (401, Pause), (403, Retry), (404, Retry), (408, Retry), (429, Retry)],
    )
    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
    def test_the_status_alone_decides_without_a_readable_body(self, status: int, kind: type, body: bytes) -> None:
        """A page of a proxy is neither a missing contact nor a missing scope."""
        for reader in READERS:
            read = self.reader(reader)(HttpResponse(status, {}, body))
            assert isinstance(read, kind), reader
            assert not isinstance(read, Retry) or read.throttled == (status == 429)
            assert not isinstance(read, Retry) or read.blocked == (status == 403)

    @pytest.mark.parametrize(("asked", "after"), [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("86400", 3600.0)])
    def test_retry_after_is_kept_within_an_hour(self, asked: str, after: float) -> None:
        """A wait is as asked for, never negative and never beyond an hour."""
        read = self.crm.read_contact(HttpResponse(429, {"retry-after": asked}, b""))

        assert isinstance(read, Retry)
        assert read.after == after

    @pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 404, 409, 422, 429, 500, 504])
    def test_reasons_repeat_nothing_about_anyone(self, status: int) -> None:
        """Reasons are shown and logged, so they repeat nothing about the person and none of our secrets."""
        for value in ("jane@acme.test", "linkedin.com/in/janedoe", "+15551234567", *self.secrets):
            for body in echoes(f"cannot use {value} here"):
                response = HttpResponse(status, {}, json.dumps(body).encode())

                assert value not in repr(list(self.read_all(response)))

    # Requests.

    def test_secrets_and_people_are_in_no_repr(self) -> None:
        """The repr of an adapter, its requests and its results shows no secret and no personal data."""
        contacts = [self.read(sample, sample["body"]) for sample in samples_of(self.crm.name, "contact")]
        shown = repr([self.crm, *self.requests(), WRITING, *contacts])

        for value in (*self.secrets, "+15551234567", "@", "janedoe"):
            assert value not in shown

    def test_secrets_travel_in_headers_only(self) -> None:
        """Addresses and bodies end up in logs of proxies."""
        for request in self.requests():
            assert any(secret in value for secret in self.secrets for value in request.headers.values())
            for secret in self.secrets:
                assert secret not in request.url
                assert secret not in json.dumps(dict(request.body or {}))

    def test_requests_go_to_the_base_url(self) -> None:
        """https unless another address is configured, and then there, with or without a slash at its end."""
        for request in self.requests():
            assert request.url.startswith("https://")
        for address in ("http://127.0.0.1:8801/pretend", "http://127.0.0.1:8801/pretend/"):
            for request in self.requests(dataclasses.replace(self.crm, base_url=address)):  # type: ignore[type-var]
                assert request.url.startswith("http://127.0.0.1:8801/pretend/")
                assert "//" not in request.url.removeprefix("http://")

    def test_a_record_id_stays_a_part_of_the_address(self) -> None:
        """An id cannot lead to another address, however it came into the database."""
        for hostile in ("../1", "1/../../2", "1?a=b", "1#x", "1%2F2"):
            for request in (self.crm.read_one(hostile), self.crm.write(contact(hostile), WRITING)):
                path = request.url.removeprefix("https://").partition("?")[0]
                assert path.count("/") == self.crm.write(contact("1"), WRITING).url.removeprefix("https://").count("/")
                assert "#" not in path
        for none in ("", ".", "..", "1" * (LONGEST_ID + 1)):
            assert not self.crm.is_record_id(none)

    def test_limits_are_of_use(self) -> None:
        """Each limit has a purpose and a window of its own."""
        kinds = [(one.purpose, one.limit.window) for one in self.crm.limits]

        assert len(set(kinds)) == len(kinds)
        assert "any" in {purpose for purpose, _ in kinds}
        assert all(one.limit.allowance > 0 and one.limit.window > 0 for one in self.crm.limits)
        assert self.crm.most_per_read >= 1

    def requests(self, crm: Crm | None = None) -> list[HttpRequest]:
        """Return all requests that the CRM's adapter can make."""
        crm = crm or self.crm
        return [
            crm.read_many([self.record_id, "456"]),
            crm.read_one(self.record_id),
            crm.write(contact(self.record_id), WRITING),
            crm.sweep(since=SINCE, until=UNTIL, after=None),
            crm.sweep(since=SINCE, until=UNTIL, after="7", news_only=False),
            crm.walk(None),
            crm.account(),
            crm.properties(),
            *crm.create_properties(),
        ]

    def reader(self, operation: str) -> Any:
        """Return the method that reads the answers to *operation*."""
        return getattr(self.crm, f"read_{operation}")

    def read_all(self, response: HttpResponse) -> Iterator[Any]:
        """Yield *response* read in every way."""
        yield from (self.reader(operation)(response) for operation in READERS)

    def read(self, sample: dict[str, Any], body: Any) -> Any:
        """Return *body* read as the operation of *sample*."""
        operation = sample["case"].partition("-")[0]
        response = response_of(sample, body)
        return self.crm.read_event(response.body) if operation == "event" else self.reader(operation)(response)


def samples_of(crm: str, operation: str = "*") -> list[dict[str, Any]]:
    """Return the CRM's recorded samples, by name."""
    paths = sorted((SAMPLES / crm).glob(f"{operation}-*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) | {"case": path.stem} for path in paths]


def assert_as_decided(read: Any, sample: dict[str, Any]) -> None:
    """Assert that *read* is of the kind that the sample names, with the fields that it names."""
    decided = sample["reads"]
    shown: Any = as_json(read)
    if isinstance(decided, list):
        assert shown == decided, f"{sample['says']} Read: {shown}"
        return
    if isinstance(read, Mapping):
        shown = {"ids": list(read)}
    assert {name: shown.get(name) for name in decided} == decided, f"{sample['says']} Read: {shown}"


def as_json(value: Any) -> Any:
    """Return a result as JSON, with its kind under `is`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"is": type(value).__name__} | fields
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {name: as_json(inner) for name, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, tuple | list) else value
