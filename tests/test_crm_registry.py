"""A CRM counts as added when it is registered, has a suite, has samples, and has settings."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from enrichment.crms import CRMS
from enrichment.settings import CRM_NAMES
from tests.crm_suite import READERS, CrmSuite, samples_of


def suites_of(name: str) -> list[Any]:
    """Return the suite classes in the test module of the CRM *name*."""
    module = importlib.import_module(f"tests.test_crm_{name}")
    found = [value for value in vars(module).values() if isinstance(value, type)]
    return [cls for cls in found if issubclass(cls, CrmSuite) and cls is not CrmSuite]


def test_every_crm_has_settings() -> None:
    """A CRM without settings could not be built."""
    assert tuple(CRMS) == CRM_NAMES


@pytest.mark.parametrize("name", CRMS)
def test_a_registered_crm_has_a_suite(name: str) -> None:
    """A CRM without its conformance suite is not registered."""
    assert [type(suite.crm) for suite in suites_of(name)] == [CRMS[name]]
    assert CRMS[name].name == name


@pytest.mark.parametrize("name", CRMS)
def test_a_registered_crm_has_samples(name: str) -> None:
    """Every kind of answer is recorded, and its events."""
    assert [operation for operation in ("event", *READERS) if not samples_of(name, operation)] == []
