"""HubSpot keeps the rules of every CRM; the oracle of its signatures is HubSpot's own library."""

from __future__ import annotations

import base64
import hashlib
import hmac

from hubspot.utils.signature import Signature  # type: ignore[import-untyped]
from pydantic import SecretStr

from enrichment.crms import CRMS, build_crm
from enrichment.crms.hubspot import HubSpot
from enrichment.crms.hubspot_signatures import SIGNATURE_V3, TIMESTAMP
from enrichment.setting_types import Condition
from tests.conftest import MakeSettings
from tests.crm_suite import CrmSuite, Signed

TOKEN, SECRET = "pat-token-of-tests", "client-secret-of-tests"
ONLY_IF = (Condition("lifecyclestage", frozenset({"salesqualifiedlead", "opportunity"})),)


class TestHubSpot(CrmSuite):
    """https://api.hubapi.com"""

    crm = HubSpot(
        access_token=SecretStr(TOKEN), client_secrets=(SecretStr(SECRET),), only_if=ONLY_IF, has_own_properties=True
    )
    silent = HubSpot()
    secrets = (TOKEN, SECRET)

    def sign(self, request: Signed) -> list[tuple[str, str]]:
        """Sign as HubSpot's library does."""
        timestamp = str(int(request.at * 1000))
        return [(SIGNATURE_V3, oracle(request, timestamp)), (TIMESTAMP, timestamp)]

    def test_secrets_travel_in_headers_only(self) -> None:
        """The client secret never travels."""
        for request in self.requests():
            assert request.headers["Authorization"] == f"Bearer {TOKEN}"
            assert SECRET not in repr((request.url, request.headers, request.body))
            assert TOKEN not in request.url


def oracle(request: Signed, timestamp: str) -> str:
    """Return the signature of HubSpot's library, which knows no body that is not text; of that, as its page says."""
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        signed = f"{request.method}{request.url}".encode() + request.body + timestamp.encode()
        return base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    signature = Signature.get_signature(SECRET, text, "v3", request.url, request.method, timestamp)
    return signature if isinstance(signature, str) else signature.decode()


def test_the_registry_knows_it() -> None:
    """One line in the registry makes it a CRM."""
    assert CRMS["hubspot"] is HubSpot


def test_the_environment_wins_over_what_was_learned(make_settings: MakeSettings) -> None:
    """What `ringback connect` learned fills in what the environment leaves out."""
    learned = {"client_secret": "learned", "linkedin_field": "learned_field", "own_properties": True}

    by_learning = build_crm("hubspot", make_settings(), learned)
    by_environment = build_crm(
        "hubspot", make_settings(hubspot_client_secret="given", hubspot_linkedin_field="given_field"), learned
    )

    assert isinstance(by_learning, HubSpot)
    assert isinstance(by_environment, HubSpot)
    assert (by_learning.client_secrets, by_learning.linkedin_field) == ((SecretStr("learned"),), "learned_field")
    assert (by_environment.client_secrets, by_environment.linkedin_field) == ((SecretStr("given"),), "given_field")
    assert by_learning.has_own_properties
    assert not by_learning.can_call


def test_what_was_learned_may_be_anything(make_settings: MakeSettings) -> None:
    """A row that a newer release wrote does not stop this one."""
    crm = build_crm("hubspot", make_settings(), {"client_secret": 7, "linkedin_field": None, "own_properties": None})

    assert isinstance(crm, HubSpot)
    assert crm.client_secrets == ()
    assert crm.linkedin_field == "hs_linkedin_url"
    assert not crm.has_own_properties
