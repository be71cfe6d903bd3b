"""A provider counts as added when it is registered, has a suite, and has samples."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from enrichment.crms import CRMS
from enrichment.providers import PROVIDERS
from enrichment.providers.base import CallsBack
from tests.provider_suite import SAMPLES, ProviderSuite, samples_of


def suites_of(name: str) -> list[Any]:
    """The suite classes in the test module of the provider *name*."""
    module = importlib.import_module(f"tests.test_provider_{name}")
    found = [value for value in vars(module).values() if isinstance(value, type)]
    return [cls for cls in found if issubclass(cls, ProviderSuite) and cls is not ProviderSuite]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_registered_provider_has_a_suite(name: str) -> None:
    """A provider without its conformance suite is not registered."""
    tested = [type(suite.provider) for suite in suites_of(name)]

    assert tested == [PROVIDERS[name]], f"tests/test_provider_{name}.py needs one class that is a ProviderSuite"


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_registered_provider_has_samples(name: str) -> None:
    """Every answer is recorded: submit and health of all providers, polls and callbacks of those with callbacks."""
    provider = suites_of(name)[0].provider
    operations = ["submit", "health", *(["poll", "callback"] if isinstance(provider, CallsBack) else [])]

    assert provider.name == name
    assert [operation for operation in operations if not samples_of(name, operation)] == []


def test_every_sample_is_of_a_registered_provider_or_crm() -> None:
    """Samples that nothing reads say nothing."""
    assert {path.name for path in SAMPLES.iterdir()} == {*PROVIDERS, *CRMS}
