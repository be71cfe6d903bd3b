"""HubSpot: contacts by webhook and by search, and the number back onto the contact.

    POST  /crm/objects/2026-09/contacts/batch/read      read_many: 50 at most, because their history is asked for
    GET   /crm/objects/2026-09/contacts/{id}            read_one: an id that was merged answers with another id
    PATCH /crm/objects/2026-09/contacts/{id}            write
    POST  /crm/objects/2026-09/contacts/search          sweep
    GET   /crm/objects/2026-09/contacts                 walk: those there are, then those that were deleted
    GET   /account-info/2026-09/details                 account
    GET   /crm/properties/2026-09/contacts              properties
    POST  /crm/properties/2026-09/contacts[/groups]     create_properties: 409 means that it is there

https://github.com/HubSpot/HubSpot-public-api-spec-collection. Signatures, events, contacts and refusals have modules
of their own beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from enrichment.crms.base import (
    Account,
    Crm,
    CrmContact,
    CrmLimit,
    Failure,
    Gone,
    Headers,
    Heard,
    Page,
    Property,
    Writing,
    Written,
)
from enrichment.crms.hubspot_answers import TEN_SECONDLY, read_failure, read_scopes, read_throttle
from enrichment.crms.hubspot_contacts import MOBILE, PHONE, history_of, properties_of, read_contact
from enrichment.crms.hubspot_events import is_record_id, read_event, read_id
from enrichment.crms.hubspot_pages import ARCHIVED, LISTED, SEARCHED, WALKED, read_page
from enrichment.crms.hubspot_properties import FOUND_AT, GROUP, PROVIDER, STATUS, own_properties, read_properties
from enrichment.crms.hubspot_signatures import SIGNATURE, SIGNATURE_V3, clocks_apart, verify
from enrichment.crms.hubspot_ways import WAYS
from enrichment.outcome import Retry, Unclear
from enrichment.providers.base import HttpRequest, HttpResponse, Limit, LimitNews
from enrichment.providers.replies import read_object
from enrichment.providers.waits import LONGEST_WAIT, MOST_REQUESTS
from enrichment.setting_types import Condition
from enrichment.settings import Settings

VERSION = "2026-09"  # supported until March 2028
CONTACTS = f"/crm/objects/{VERSION}/contacts"
PROPERTIES = f"/crm/properties/{VERSION}/contacts"
ACCOUNT = f"/account-info/{VERSION}/details"
# Of the calls in ten seconds, those that take no permit: the free ones for the account, which count for HubSpot, and
# reads that aiohttp repeats where an idle connection was closed.
UNCOUNTED = 5

LINKEDIN_FIELD = "hs_linkedin_url"  # HubSpot's own, unless a setting or `ringback connect` names another


@dataclass(slots=True)
class HubSpot(Crm):
    """https://api.hubapi.com, for one account."""

    access_token: SecretStr | None = None
    client_secrets: tuple[SecretStr, ...] = ()  # several while one is rotated
    base_url: str = "https://api.hubapi.com"
    linkedin_field: str = LINKEDIN_FIELD
    only_if: tuple[Condition, ...] = ()
    accept_v1: bool = False
    has_own_properties: bool = False
    name = "hubspot"
    label = "HubSpot"
    ways = WAYS
    # Those of the smallest plan; HubSpot's headers correct the first. Searches have a limit of the whole account.
    limits = (
        CrmLimit("any", Limit(100 - UNCOUNTED, 10)),
        CrmLimit("any", Limit(250_000, 86_400)),
        CrmLimit("search", Limit(5, 1)),
    )
    # The page names 100 without history. With it, HubSpot was seen to refuse more than 50
    # (https://github.com/PipedreamHQ/pipedream/pull/8462).
    most_per_read = 50

    @classmethod
    def from_settings(cls, settings: Settings, learned: Mapping[str, Any]) -> Self:
        """Build the adapter from the settings that begin with HUBSPOT_; take those that are not set from *learned*."""
        own = settings.hubspot
        kept = learned.get("client_secret")
        return cls(
            access_token=own.access_token,
            client_secrets=own.client_secret or ((SecretStr(kept),) if isinstance(kept, str) and kept else ()),
            base_url=own.base_url,
            linkedin_field=own.linkedin_field or learned.get("linkedin_field") or LINKEDIN_FIELD,
            only_if=own.only_if,
            accept_v1=own.accept_v1,
            has_own_properties=bool(learned.get("own_properties")),
        )

    def is_record_id(self, text: str) -> bool:
        """Tell whether *text* is an id of HubSpot's."""
        return is_record_id(text)

    @property
    def can_call(self) -> bool:
        """Tell whether there is an access token."""
        return self.access_token is not None

    @property
    def can_verify(self) -> bool:
        """Tell whether there is the app's client secret."""
        return bool(self.client_secrets)

    def may_be_signed(self, headers: Headers) -> bool:
        """Tell whether the headers carry a signature of any version."""
        return any(name in (SIGNATURE_V3, SIGNATURE) for name, _ in headers)

    def verify(self, *, method: str, url: str, headers: Headers, body: bytes, now: float) -> bool:
        """Tell whether one of the app's client secrets signed this request."""
        request: dict[str, Any] = {"method": method, "url": url, "headers": headers, "body": body, "now": now}
        # All are tried, so that the time does not reveal which one fits.
        verified = [
            verify(secret=secret.get_secret_value(), accept_old=self.accept_v1, **request)
            for secret in self.client_secrets
        ]
        return any(verified)

    def clocks_apart(self, *, method: str, url: str, headers: Headers, body: bytes, now: float) -> float | None:
        """Return by how many seconds *now* is ahead of a request of HubSpot's, if `verify` refuses it for that."""
        request: dict[str, Any] = {"method": method, "url": url, "headers": headers, "body": body, "now": now}
        found = (clocks_apart(secret=secret.get_secret_value(), **request) for secret in self.client_secrets)
        return next((apart for apart in found if apart is not None), None)

    def read_event(self, body: bytes) -> Heard:
        """Read a body of HubSpot's webhooks. Raise NotJson or NotAnEvent."""
        return read_event(body)

    def read_many(self, record_ids: Sequence[str]) -> HttpRequest:
        """Build the batch read."""
        return self._request("POST", f"{CONTACTS}/batch/read", {
            "inputs": [{"id": record_id} for record_id in record_ids],
            "properties": properties_of(self.linkedin_field, self.only_if),
            "propertiesWithHistory": history_of(self.linkedin_field, self.only_if),
        })  # fmt: skip

    def read_contacts(self, response: HttpResponse) -> Mapping[str, CrmContact] | Failure:
        """Read the contacts of a batch: 200, or 207 if some are missing. Never raise."""
        answer = read_object(response.body) if response.status in (200, 207) else None
        results, errors = (answer.get("results"), answer.get("errors")) if answer else (None, None)
        results = [] if results is None and errors and isinstance(errors, list) else results
        if not isinstance(results, list):
            # A 404 for a whole batch means a wrong address; it says nothing about a contact.
            failure = self._failure(response)
            return Retry("HTTP 404 for a whole batch") if isinstance(failure, Gone) else failure
        contacts = (self._contact(one) for one in results)
        return {contact.record_id: contact for contact in contacts if contact}

    def read_one(self, record_id: str) -> HttpRequest:
        """Build the request for one contact."""
        asked = {
            "properties": ",".join(properties_of(self.linkedin_field, self.only_if)),
            "propertiesWithHistory": ",".join(history_of(self.linkedin_field, self.only_if)),
        }
        return self._request("GET", f"{_contact_path(record_id)}?{urlencode(asked, safe=',')}")

    def read_contact(self, response: HttpResponse) -> CrmContact | Gone | Failure:
        """Read that contact, or the one that it was merged into. Never raise."""
        answer = read_object(response.body) if response.status == 200 else None
        if answer is not None and answer.get("archived") is True and read_id(answer.get("id")):
            return Gone()
        return self._contact(answer) or self._failure(response)

    def write(self, contact: CrmContact, writing: Writing) -> HttpRequest:
        """Build the write: the number, and our own properties if the account has them."""
        properties: dict[str, str] = {}
        if writing.number is not None:
            properties[MOBILE if writing.number_in == "mobile" else PHONE] = writing.number
        if self.has_own_properties:
            properties[STATUS] = writing.status
            if writing.provider is not None:
                properties[PROVIDER] = writing.provider
            if writing.at is not None:
                properties[FOUND_AT] = _iso(writing.at)
        return self._request("PATCH", _contact_path(contact.record_id), {"properties": properties})

    def read_write(self, response: HttpResponse) -> Written | Gone | Failure:
        """Read the answer to a write. Never raise."""
        if 200 <= response.status < 300:
            written = read_id((read_object(response.body) or {}).get("id"))
            return Written(written) if written else Unclear("perhaps written (a success without a contact)")
        return self._failure(response, writing=True)

    def sweep(self, *, since: datetime, until: datetime, after: str | None, news_only: bool = True) -> HttpRequest:
        """Build the search for a page. *after* is the last id of the page before, so no search has 10,000 results."""
        moved = "lastmodifieddate" if news_only else "createdate"
        filters: list[dict[str, str]] = [
            {"propertyName": moved, "operator": "GTE", "value": _milliseconds(since)},
            {"propertyName": moved, "operator": "LT", "value": _milliseconds(until)},
        ]
        if news_only:
            filters.append({"propertyName": MOBILE, "operator": "NOT_HAS_PROPERTY"})
        if after is not None:
            filters.append({"propertyName": "hs_object_id", "operator": "GT", "value": after})
        return self._request("POST", f"{CONTACTS}/search", {
            "filterGroups": [{"filters": filters}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(LISTED),
            "limit": SEARCHED,
        })  # fmt: skip

    def walk(self, after: str | None) -> HttpRequest:
        """Build the request for a page: first of the existing contacts, then of the deleted ones."""
        asked = {"limit": str(WALKED), "properties": ",".join(LISTED)}
        if after is not None and after.startswith(ARCHIVED):
            asked["archived"], after = "true", after.removeprefix(ARCHIVED)
        if after:
            asked["after"] = after
        return self._request("GET", f"{CONTACTS}?{urlencode(asked, safe=',')}")

    def read_page(self, response: HttpResponse) -> Page | Failure:
        """Read a page of a sweep or of a walk. Never raise."""
        answer = read_object(response.body) if response.status == 200 else None
        results = answer.get("results") if answer else None
        if answer is None or not isinstance(results, list):
            failure = self._failure(response)
            return Retry("HTTP 404 for a list") if isinstance(failure, Gone) else failure
        return read_page(answer, results)

    def account(self) -> HttpRequest:
        """Build the request for the account's details."""
        return self._request("GET", ACCOUNT)

    def read_account(self, response: HttpResponse) -> Account | Failure:
        """Read the account. Never raise.

        Whether a service key may read its account without the scope `oauth` is not confirmed: a 403 that names scopes
        proves that the token is accepted.
        """
        answer = read_object(response.body) if response.status == 200 else None
        portal = read_id(answer.get("portalId")) if answer else None
        if portal:
            return Account(portal)
        if response.status == 403 and (lacks := read_scopes(response)):
            return Account(None, lacks)
        failure = self._failure(response)
        return Retry("HTTP 404 for the account") if isinstance(failure, Gone) else failure

    def properties(self) -> HttpRequest:
        """Build the request for the definitions of contacts' properties."""
        return self._request("GET", PROPERTIES)

    def read_properties(self, response: HttpResponse) -> tuple[Property, ...] | Failure:
        """Read the definitions. Never raise."""
        answer = read_object(response.body) if response.status == 200 else None
        results = answer.get("results") if answer else None
        if not isinstance(results, list):
            failure = self._failure(response)
            return Retry("HTTP 404 for the properties") if isinstance(failure, Gone) else failure
        return tuple(read_properties(results))

    def create_properties(self) -> tuple[HttpRequest, ...]:
        """Build the requests that create a group and our three properties."""
        return (
            self._request("POST", f"{PROPERTIES}/groups", GROUP),
            *(self._request("POST", PROPERTIES, definition) for definition in own_properties()),
        )

    def read_limits(self, response: HttpResponse) -> LimitNews | None:
        """Read the ten-second allowance, less UNCOUNTED, and how long to rest. Never raise.

        Answers to searches have no such headers.
        """
        allowance = _number(response, "max")
        window = max(1, (_number(response, "interval-milliseconds") or int(1000 * TEN_SECONDLY)) // 1000)
        rest: float | None = None
        if response.status == 429:
            rest = read_throttle(response)
        elif _number(response, "daily-remaining") == 0:
            rest = LONGEST_WAIT
        elif _number(response, "remaining") == 0:
            rest = float(window)
        if not allowance and rest is None:
            return None
        return LimitNews(max(1, allowance - UNCOUNTED) if allowance else None, window, rest)

    def _contact(self, answer: Any) -> CrmContact | None:
        return read_contact(answer, self.linkedin_field, self.only_if)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> HttpRequest:
        token = self.access_token.get_secret_value() if self.access_token else ""
        return HttpRequest(method, f"{self.base_url.rstrip('/')}{path}", {"Authorization": f"Bearer {token}"}, body)

    def _failure(self, response: HttpResponse, *, writing: bool = False) -> Failure | Gone:
        kept = (self.access_token, *self.client_secrets)
        secrets = tuple(secret.get_secret_value() for secret in kept if secret is not None)
        return read_failure(response, secrets=secrets, writing=writing)


def _contact_path(record_id: str) -> str:
    return f"{CONTACTS}/{quote(record_id, safe='')}"


def _number(response: HttpResponse, name: str) -> int | None:
    text = response.headers.get(f"x-hubspot-ratelimit-{name}", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 and int(text) <= MOST_REQUESTS else None


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
