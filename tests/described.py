"""Every operation of the API beside its description, by schemathesis: pytest's, for tests/test_openapi.py alone.

It is no test module, so that only one process loads schemathesis, and draws what it plays.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from receiver.openapi import document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]
schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(max_examples=int(os.environ["EXAMPLES"]), deadline=None, suppress_health_check=list(HealthCheck))
def test_the_receiver_keeps_to_its_description(case: Any) -> None:
    """Every request to an operation, valid or not, gets an answer that the description names."""
    authorization = {"Authorization": f"Bearer {os.environ['RECEIVER_TOKEN']}"}
    case.call_and_validate(base_url=os.environ["RECEIVER_URL"], headers=authorization, checks=CHECKS)
