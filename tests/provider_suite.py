"""The rules for every provider. A provider is done when a class inherits from ProviderSuite and its samples exist.

    class TestAcme(ProviderSuite):                       # tests/test_provider_acme.py
        provider = Acme(api_key=SecretStr("acme-key-of-tests"))
        secrets = ("acme-key-of-tests",)

Samples are what it sends: tests/samples/<provider>/<operation>-<case>.json, with operation submit, poll, callback or
health, holding `status`, `headers`, `body` (JSON, or a text sent as it is), the `outcome` it reads to, and `limits`
where its headers tell of any. `says` is the rule it stands for.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from enrichment.contact import Contact
from enrichment.outcome import Outcome, Pause, Refused, Retry, Unclear, Unreadable
from enrichment.providers.base import CallsBack, Health, HttpRequest, HttpResponse, LimitNews
from enrichment.providers.replies import read_object

SAMPLES = Path(__file__).parent / "samples"
CALLBACK_URL = "https://ringback.test/callbacks/acme/0197/token-of-tests"
CONTACT = Contact(
    profile_url="linkedin.com/in/johndoe",
    work_email="john@acme.test",
    personal_email="john@mail.test",
    name="John Doe",
    company="Acme",
)
KINDS = {kind.__name__: kind for kind in (*get_args(Outcome), Health)}

# The classes share these functions, so hypothesis meets them with more than one self.
quick = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.differing_executors])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
statuses = st.integers(0, 999) | st.sampled_from([200, 202, 400, 401, 402, 403, 404, 429, 500, 502, 503, 504])
headers = st.dictionaries(
    st.sampled_from(
        ["retry-after", "date", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-reset"]
    ),
    st.text(max_size=40) | st.integers().map(str) | st.floats().map(str) | st.just("Fri, 31 Dec 9999 23:59:59 GMT"),
)
bodies = (
    st.binary(max_size=200)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xef\xbb\xbf{}", b"null", b"\xff\xfe{}"])
)


def samples_of(provider: str, operation: str = "*") -> list[Path]:
    """Return the provider's recorded samples, by name."""
    return sorted((SAMPLES / provider).glob(f"{operation}-*.json"))


class ProviderSuite:
    """The rules, each a test."""

    provider: ClassVar[Any]
    secrets: ClassVar[tuple[str, ...]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run tests that take a sample once for each of the provider's."""
        paths = samples_of(self.provider.name)
        samples = [json.loads(path.read_text()) | {"case": path.stem} for path in paths]
        with_fields = [sample for sample in samples if isinstance(sample["body"], dict)]
        for name, values in {"sample": samples, "sample_with_fields": with_fields}.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=[value["case"] for value in values])

    def test_a_sample_reads_to_its_outcome(self, sample: dict[str, Any]) -> None:
        """Each recorded answer reads to the outcome that its sample names."""
        outcome = self.read(sample, sample["body"])

        assert outcome == expected(sample), f"{sample['says']} Read: {outcome!r}"
        assert_fit(outcome)

    def test_a_sample_tells_its_limits(self, sample: dict[str, Any]) -> None:
        """Headers give the allowance, its window and the time to rest; without them, no limit is read."""
        told = self.provider.read_limits(response_of(sample, sample["body"]))

        assert told == (LimitNews(**sample["limits"]) if "limits" in sample else None), f"Read: {told!r}"

    def test_unknown_fields_change_nothing(self, sample_with_fields: dict[str, Any]) -> None:
        """A field the provider adds tomorrow, anywhere, leaves every outcome as it is."""
        body = with_more_fields(sample_with_fields["body"])

        assert self.read(sample_with_fields, body) == expected(sample_with_fields)

    @quick
    @given(data=st.data())
    def test_wrong_types_never_raise(self, data: st.DataObject) -> None:
        """Any value of any sample may turn into any other type."""
        sample = json.loads(data.draw(st.sampled_from(samples_of(self.provider.name))).read_text())
        assume(isinstance(sample["body"], dict) and sample["body"])
        body = copy.deepcopy(sample["body"])
        place, key = data.draw(st.sampled_from(list(places_in(body))))
        place[key] = data.draw(anything)

        for operation in self.operations():
            assert_fit(self.read(sample | {"case": operation}, body))

    @quick
    @given(status=statuses, headers=headers, body=bodies)
    def test_garbage_never_raises(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Any status, headers and bytes read to an outcome that can be stored and shown."""
        response = HttpResponse(status, headers, body)

        for outcome in self.read_all(response):
            assert_fit(outcome)
        news = self.provider.read_limits(response)
        assert news is None or news.allowance is None or news.allowance >= 1
        assert news is None or news.rest is None or 0 <= news.rest <= 3600

    @quick
    @given(status=st.integers(200, 299), body=st.binary(max_size=200).filter(lambda body: read_object(body) is None))
    def test_an_unreadable_success_is_never_asked_again(self, status: int, body: bytes) -> None:
        """A success that is no JSON object may have cost something: it is kept for a person."""
        assert isinstance(self.provider.read_submit(HttpResponse(status, {}, body)), Unreadable)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            *[(status, Refused) for status in (302, 400, 404, 405, 409, 413, 415, 422)],
            *[(status, Pause) for status in (401, 402)],
            *[(status, Retry) for status in (403, 408, 429, 503)],
            *[(status, Unclear) for status in (501, 504, 520, 524, 599)],
        ],
    )
    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}"])
    def test_money_rules_hold_without_a_readable_body(self, status: int, kind: type, body: bytes) -> None:
        """The status alone decides whether a question may be asked again."""
        outcome = self.provider.read_submit(HttpResponse(status, {}, body))

        assert isinstance(outcome, kind)
        assert not isinstance(outcome, Retry) or outcome.throttled == (status == 429)
        assert not isinstance(outcome, Retry) or outcome.blocked == (status == 403)

    @pytest.mark.parametrize(
        ("asked", "after"),
        [
            ("7", 7.0),
            ("0", 0.0),
            ("-3", 0.0),
            ("86400", 3600.0),
            ("1.5", 1.5),
            ("soon", None),
            ("nan", None),
            ("", None),
        ],
    )
    def test_retry_after_is_kept_within_an_hour(self, asked: str, after: float | None) -> None:
        """A wait is as asked for, never negative and never beyond an hour; nonsense is no wait."""
        outcome = self.provider.read_submit(HttpResponse(429, {"retry-after": asked}, b""))

        assert isinstance(outcome, Retry)
        assert outcome.after == after

    @pytest.mark.parametrize("status", [200, 400, 402, 404, 429, 500, 504])
    def test_reasons_repeat_nothing_about_anyone(self, status: int) -> None:
        """Reasons are shown and logged, so they repeat nothing about the person and none of our secrets."""
        given = [
            CONTACT.profile_url,
            CONTACT.work_email,
            CONTACT.personal_email,
            CALLBACK_URL,
            *self.secrets,
            "+15551234567",
        ]
        for value in given:
            for body in echoes(f"cannot use {value} here"):
                response = HttpResponse(status, {}, json.dumps(body).encode())

                assert str(value) not in repr(list(self.read_all(response)))

    def test_secrets_and_people_are_in_no_repr(self) -> None:
        """A provider and its requests can be logged by mistake, and tell nothing."""
        shown = repr([self.provider, *self.requests()])

        for value in (*self.secrets, CONTACT.work_email, CONTACT.name, CALLBACK_URL):
            assert str(value) not in shown

    def test_secrets_travel_in_headers_only(self) -> None:
        """Addresses and bodies end up in logs of proxies."""
        for request in self.requests():
            for secret in self.secrets:
                assert secret in request.headers.values()
                assert secret not in request.url
                assert secret not in json.dumps(dict(request.body or {}))

    def test_requests_go_to_the_base_url(self) -> None:
        """https unless another address is configured, and then there, with or without a slash at its end."""
        for request in self.requests():
            assert request.url.startswith("https://")

        for address in ("http://127.0.0.1:8801/pretend", "http://127.0.0.1:8801/pretend/"):
            for request in self.requests(dataclasses.replace(self.provider, base_url=address)):
                assert request.url.startswith("http://127.0.0.1:8801/pretend/")
                assert "//" not in request.url.removeprefix("http://")

    def test_the_paid_request_is_a_post(self) -> None:
        """Paid requests are POSTs, which aiohttp never repeats by itself on a lost connection; free ones are GETs.

        https://github.com/aio-libs/aiohttp/issues/10790
        """
        assert self.provider.submit(CONTACT, None).method == "POST"
        assert self.provider.health().method == "GET"
        if isinstance(self.provider, CallsBack):
            assert self.provider.poll("a1b2_1717000000_4271").method == "GET"

    def test_the_callback_url_is_carried_once(self) -> None:
        """A provider that calls back gets the callback URL once; without PUBLIC_URL it gets none, nor do others."""
        told = json.dumps(dict(self.provider.submit(CONTACT, CALLBACK_URL).body))
        untold = json.dumps(dict(self.provider.submit(CONTACT, None).body))

        assert told.count(CALLBACK_URL) == (1 if isinstance(self.provider, CallsBack) else 0)
        assert "callback" not in untold

    def test_only_what_can_be_asked_is_asked(self) -> None:
        """A contact without any identifier is never asked about, one with a profile always."""
        assert self.provider.can_ask(CONTACT)
        assert self.provider.can_ask(Contact(profile_url="linkedin.com/in/johndoe"))
        assert not self.provider.can_ask(Contact())
        assert not self.provider.can_ask(Contact(company="Acme", region="US"))

    def test_what_a_provider_cannot_do_it_does_not_have(self) -> None:
        """A provider that answers at once has nothing to poll and no callback to read, not even as a stub."""
        if not isinstance(self.provider, CallsBack):
            assert not any(hasattr(self.provider, name) for name in ("poll", "read_poll", "read_callback"))

    def test_a_price_is_one_that_the_ledger_holds(self) -> None:
        """A price with three decimals would be reserved as one sum and released as another."""
        dear = dataclasses.replace(self.provider, price=Decimal("4.999"))

        assert dear.price == Decimal(5)

    @pytest.mark.parametrize("status", [401, 402])
    def test_an_account_that_is_refused_is_not_well(self, status: int) -> None:
        """The free endpoint refuses the account in words of its own, or in none."""
        assert self.provider.read_health(HttpResponse(status, {}, b"<html>")).well is False

    @pytest.mark.parametrize("status", [200, 403, 404, 429, 500, 502, 503, 504])
    def test_a_page_of_somebody_elses_says_nothing_about_the_account(self, status: int) -> None:
        """HTML of a gateway or a firewall means neither that the account is well nor that it is not."""
        assert self.provider.read_health(HttpResponse(status, {}, b"<html>Sorry</html>")).well is None

    @pytest.mark.parametrize("body", [b"{}", b'{"account": {"remaining": 7}}', b'{"data": {"credits_left": "many"}}'])
    def test_a_health_answer_in_another_shape_does_not_pause_for_ever(self, body: bytes) -> None:
        """An unknown answer of the free endpoint that accepts our key must not keep a provider paused."""
        assert self.provider.read_health(HttpResponse(200, {}, body)).well is True

    def test_price_and_limits_are_of_use(self) -> None:
        """A question reserves something, and each limit has a window of its own."""
        windows = [limit.window for limit in self.provider.limits]

        assert self.provider.price > 0
        assert windows
        assert len(set(windows)) == len(windows)
        assert all(limit.allowance > 0 and limit.window > 0 for limit in self.provider.limits)

    def requests(self, provider: Any = None) -> list[HttpRequest]:
        """Return all requests the provider can make."""
        provider = provider or self.provider
        polls = [provider.poll("a1b2_1717000000_4271")] if isinstance(provider, CallsBack) else []
        return [provider.submit(CONTACT, CALLBACK_URL), provider.health(), *polls]

    def operations(self) -> list[str]:
        """Return the operations whose answers the provider reads."""
        return ["submit", "health", *(["poll", "callback"] if isinstance(self.provider, CallsBack) else [])]

    def read_all(self, response: HttpResponse) -> Iterator[Outcome | Health]:
        """Yield *response* read in every way."""
        yield self.provider.read_submit(response)
        yield self.provider.read_health(response)
        if isinstance(self.provider, CallsBack):
            yield self.provider.read_poll(response)
            yield self.provider.read_callback(response.body)

    def read(self, sample: dict[str, Any], body: Any) -> Outcome | Health:
        """Return *body* read as the operation of *sample*."""
        response = response_of(sample, body)
        operation = sample["case"].partition("-")[0]
        if operation == "callback":
            outcome: Outcome | Health = self.provider.read_callback(response.body)
        else:
            outcome = getattr(self.provider, f"read_{operation}")(response)
        return outcome


def response_of(sample: dict[str, Any], body: Any) -> HttpResponse:
    """Return the response as it came, header names in lower case as the transport has them."""
    named = {name.lower(): value for name, value in sample.get("headers", {}).items()}
    text = body if isinstance(body, str) else json.dumps(body)
    return HttpResponse(sample.get("status", 200), named, text.encode())


def expected(sample: dict[str, Any]) -> Outcome | Health:
    """Return the outcome decided for *sample*."""
    decided = dict(sample["outcome"])
    kind = KINDS[decided.pop("is")]
    credits_in = {name: Decimal(decided[name]) for name in ("credits", "balance", "used") if name in decided}
    outcome: Outcome | Health = kind(**(decided | credits_in))
    return outcome


def assert_fit(outcome: object) -> None:
    """Assert that this is an outcome of ours whose texts fit into PostgreSQL and into a line of a log."""
    assert type(outcome).__name__ in KINDS
    for field in dataclasses.fields(outcome):  # type: ignore[arg-type]
        value = getattr(outcome, field.name)
        if isinstance(value, str):
            assert value.encode().decode().isprintable()
            assert len(value) <= 200
        if isinstance(value, Decimal):
            assert value.is_finite()
            assert field.name == "balance" or value >= 0
    after = getattr(outcome, "after", None)
    assert after is None or 0 <= after <= 3600


def with_more_fields(value: Any) -> Any:
    """Return *value* with one more field in every object."""
    if isinstance(value, dict):
        return {key: with_more_fields(inner) for key, inner in value.items()} | {"added_in_2030": ["x", {"y": 1}]}
    return [with_more_fields(inner) for inner in value] if isinstance(value, list) else value


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in *value* where another value can be put."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places_in(value[key])


def echoes(words: str) -> Iterator[dict[str, Any]]:
    """Yield *words* in all shapes of a complaint."""
    yield {"message": words}
    yield {"error": words}
    yield {"error": "invalid", "message": words, "detail": words}
    yield {"error": {"code": "invalid", "message": words}}
    yield {"errors": [{"code": "invalid", "title": words, "detail": words}]}
    yield {"errors": [words]}
    yield {"success": False, "data": {"status": "failed", "error": words}}
    yield {"success": False, "data": {"status": "failed", "error": {"message": words}}}
