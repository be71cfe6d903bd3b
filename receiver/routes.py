"""Every route of the receiver, in one table: the source of the app and of /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from enrichment.crms import CRMS
from enrichment.event import LONGEST_ID, MOST_CONTACTS
from enrichment.selection import WITHOUT_NUL, Wanted
from enrichment.shown import Lookup
from enrichment.states import DELIVERY_STATES
from receiver.api import MOST_OF_A_DECISION
from receiver.auth import Handler, Tokens
from receiver.bodies import MOST_OF_A_CALLBACK, MOST_OF_AN_EVENT
from receiver.deliveries import CHANNELS
from receiver.lookup_lists import STATUSES
from receiver.messages import (
    CancelAnswer,
    EventAnswer,
    EventBody,
    LookupPage,
    ReleaseAnswer,
    RetryAnswer,
    RetryBody,
    Usage,
)
from receiver.messages_audit import AuditPage
from receiver.messages_crms import CrmEventAnswer, ReadingPage
from receiver.messages_deliveries import DeliveryPage, ReplayAnswer
from receiver.messages_pauses import Pause, PauseBody, PauseList
from receiver.messages_rights import ErasedAnswer, SuppressionBody, SuppressionPage, SuppressionsMade
from receiver.messages_selections import SelectionAnswer
from receiver.operations import Handlers, Operation, Parameter
from receiver.pages import CURSOR_PATTERN, DEFAULT_LIMIT, LARGEST_LIMIT
from receiver.usage import DEFAULT_DAYS, MOST_DAYS
from store.readings import STATES as READING_STATES

AN_ID = "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"
PERSON = (
    Parameter(name="email", place="query", schema={"type": "string"}, description="an e-mail", example="jane@acme.co"),
    Parameter(name="profile", place="query", schema={"type": "string"}, description="a LinkedIn profile"),
    Parameter(name="number", place="query", schema={"type": "string"}, description="a number with its country code"),
    Parameter(name="suppress", place="query", schema={"type": "boolean", "default": False},
              description="suppress each of these as well"),
)  # fmt: skip
SOURCE = Parameter(name="source", place="path", schema={"type": "string"}, description="generic", example="generic")
LIMITED = {429: "The token, or the address without valid credentials, has sent too many requests; see Retry-After."}
UNAUTHORIZED = {401: "Neither token nor signature is valid; nothing was stored.", **LIMITED}
UNAVAILABLE = {503: "It cannot be stored or read at the moment; send it again after Retry-After."}
NO_SUCH_LOOKUP = {404: "There is no such lookup."}
BODY_PROBLEMS = {
    400: "The body is not JSON, or not what its headers say.",
    408: "The body did not arrive in time.",
    413: f"The body has more than {MOST_OF_AN_EVENT:,} bytes, as it came or decompressed.",
    415: "Another type than JSON, another coding than gzip, or a charset that cannot be read.",
    422: "No contact can be used: `errors` names each field and says why. Nothing was stored.",
}
SMALL_BODY_PROBLEMS = {
    400: "The body is not what its Content-Encoding says.",
    408: "The body did not arrive in time.",
    413: f"The body has more than {MOST_OF_A_DECISION:,} bytes, as it came or decompressed.",
    415: "Another coding than gzip.",
    422: "Not JSON, or a field cannot be used.",
}
STORED = (
    "What can be used of a contact is used, and every field that cannot is named in `problems`. All usable "
    "contacts are stored, or none. 202 means that they are committed."
)
STRICT = Parameter(
    name="strict", place="query", schema={"type": "boolean", "default": False},
    description="refuse the event if a single field cannot be used",
)  # fmt: skip
CURSOR = Parameter(
    name="cursor", place="query", schema={"type": "string", "pattern": CURSOR_PATTERN},
    description="next_cursor of a page",
)  # fmt: skip
NAME = {"type": "string", "maxLength": LONGEST_ID, "pattern": WITHOUT_NUL}
_LIST = {"type": "array", "minItems": 1, "maxItems": MOST_CONTACTS}
# A CRM's own events, or contacts with a token.
CRM_BODY = {"anyOf": [
    _LIST,
    {"type": "object", "properties": {"contacts": {"anyOf": [_LIST, {"type": "null"}]}}},
]}  # fmt: skip


def id_of(what: str) -> Parameter:
    """Describe the id in a path."""
    schema = {"type": "string", "format": "uuid"}
    return Parameter(name="id", place="path", schema=schema, description=f"the {what}'s id", example=AN_ID)


def limit(description: str) -> Parameter:
    """Describe the parameter `limit` of a list."""
    schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT}
    return Parameter(name="limit", place="query", schema=schema, description=description)


def crm_operations(name: str, label: str) -> tuple[Operation, Operation]:
    """Describe the address of one CRM's events."""
    return (
        Operation(
            method="post", path=f"/events/{name}", handler=lambda h: h.crm_events[name].receive,
            group="Events", summary=f"{label}'s events",
            description=f"As {label} signs and sends them: Ringback then reads each named contact from {label}. With "
                        f"a token, the body may also be that of /events/generic, with {label}'s id of each contact as "
                        "`record_id`. 202 means that the events are committed.",
            who="token or signature", scope="events", any_body=CRM_BODY, success=202, answer=CrmEventAnswer,
            problems={**UNAUTHORIZED, **BODY_PROBLEMS, 422: "JSON, but no events and no contacts.", **UNAVAILABLE},
        ),
        Operation(
            method="get", path=f"/events/{name}", handler=lambda h: h.crm_events[name].probe, group="Events",
            summary="What the address is for", description="As for the other sources.", who="anybody", answer="text",
            problems={
                401: "A challenge without a token.", 422: "The challenge is too long, or not printable.", **LIMITED,
            },
        ),
    )  # fmt: skip


OPERATIONS = (
    *(one for name, crm in CRMS.items() for one in crm_operations(name, crm.label)),
    Operation(
        method="post", path="/events/{source}", handler=lambda h: h.events.receive,
        group="Events", summary="A CRM's event",
        description=f"Each contact becomes a lookup. {STORED} The same event again is answered with the same lookups.",
        who="token or signature",
        scope="events",
        parameters=(SOURCE, STRICT),
        body=EventBody, success=202, answer=EventAnswer,
        problems={404: "There is no such source.", **UNAUTHORIZED, **BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/events/{source}", handler=lambda h: h.events.probe, group="Events",
        summary="What the address is for",
        description="For senders that look at an address first. It needs no verification: a challenge (`?challenge=`, "
                    "`?hub.challenge=`, `?validationToken=`, or in the body of a POST) is sent back to those that "
                    "carry a token.",
        who="anybody",
        parameters=(SOURCE,), answer="text",
        problems={
            401: "A challenge without a token.", 404: "There is no such source.",
            422: "The challenge is too long, or not printable.", **LIMITED,
        },
    ),
    Operation(
        method="post", path="/callbacks/{provider}/{job_id}/{token}", handler=lambda h: h.callbacks.receive,
        group="Callbacks", summary="A provider's message",
        description="The address is the credential: it is made for one job, and only its provider knows it. "
                    "200 means that the message is stored, and applied where it can be believed.",
        who="anybody",
        parameters=(
            Parameter(name="provider", place="path", schema={"type": "string"}, description="nyne", example="nyne"),
            Parameter(name="job_id", place="path", schema={"type": "string", "format": "uuid"}, description="the job",
                      example=AN_ID),
            Parameter(name="token", place="path", schema={"type": "string"}, description="signed by CALLBACK_KEYS",
                      example="5f2c"),
        ),
        any_body={}, answer="object",
        problems={404: "Not an address of ours.", 408: "The body did not arrive in time.",
                  413: f"The body has more than {MOST_OF_A_CALLBACK:,} bytes.", **UNAVAILABLE},
        silent=(404,),
    ),
    Operation(
        method="post", path="/v1/lookups", handler=lambda h: h.events.create, scope="operate",
        group="Lookups", summary="Look a person up",
        description=f"The same as an event of the source `api`. {STORED}",
        parameters=(STRICT,),
        body=EventBody, success=202, answer=EventAnswer, problems={**UNAUTHORIZED, **BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/lookups", handler=lambda h: h.api.page, scope="read",
        group="Lookups", summary="List lookups", description="Newest first.",
        parameters=(
            Parameter(name="status", place="query", schema={"type": "string", "enum": list(STATUSES)},
                      description="only these", example="found"),
            Parameter(name="record_id", place="query", schema=NAME,
                      description="only this record of the CRM"),
            Parameter(name="source", place="query", schema=NAME,
                      description="only of this source", example="generic"),
            Parameter(name="q", place="query", schema={"type": "string"},
                      description="only with this e-mail, LinkedIn profile or number, exactly",
                      example="jane@acme.co"),
            CURSOR, limit("lookups per page"),
        ),
        answer=LookupPage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/lookups/{id}", handler=lambda h: h.api.read, scope="read",
        group="Lookups", summary="One lookup", parameters=(id_of("lookup"),),
        answer=Lookup, problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/lookups/{id}/retry", handler=lambda h: h.api.retry, scope="operate",
        group="Lookups", summary="Try a lookup again",
        description="For a lookup that is failed, unresolved or held. The answer warns when it may be charged again.",
        parameters=(id_of("lookup"),), body=RetryBody, body_is_optional=True, success=202, answer=RetryAnswer,
        problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, 409: "The lookup's state does not allow this.",
                  **SMALL_BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/lookups/{id}/cancel", handler=lambda h: h.api.cancel, scope="operate",
        group="Lookups", summary="Cancel a lookup",
        description="For a lookup that is queued, held, failed or unresolved. What has been asked is waited for.",
        parameters=(id_of("lookup"),), answer=CancelAnswer,
        problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, 409: "The lookup's state does not allow this.", **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/lookups/{id}/release", handler=lambda h: h.api.release, scope="operate",
        group="Lookups", summary="Release a held lookup",
        description="For a lookup that is held, for whatever reason. It is held again if the reason is still there: "
                    "a budget without credits, a paused provider, the brake.",
        parameters=(id_of("lookup"),), answer=ReleaseAnswer,
        problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, 409: "The lookup is not held.", **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/readings", handler=lambda h: h.readings.page, scope="read",
        group="Readings", summary="Contacts that CRMs named",
        description="Each with its state, and what became of it. Newest first.",
        parameters=(
            Parameter(name="status", place="query", schema={"type": "string", "enum": list(READING_STATES)},
                      description="only these", example="skipped"),
            Parameter(name="source", place="query", schema={"type": "string", "enum": list(CRMS)},
                      description="only this CRM's"),
            Parameter(name="record_id", place="query", schema=NAME,
                      description="only this record of the CRM"),
            CURSOR, limit("readings per page"),
        ),
        answer=ReadingPage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/usage", handler=lambda h: h.usage.read, scope="read",
        group="Usage", summary="Credits and budgets",
        parameters=(
            Parameter(name="days", place="query",
                      schema={"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": DEFAULT_DAYS},
                      description="how many UTC days, today included"),
        ),
        answer=Usage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/selections", handler=lambda h: h.selections.create, scope="operate",
        group="Selections", summary="Preview an action on many lookups",
        description="Finds and counts what matches the filter, and says what applying can cost at most. Changes "
                    "nothing else. `replay` is for deliveries; `erase` needs the scope `admin`.",
        body=Wanted, answer=SelectionAnswer, accepted="The preview goes on: read the selection again.",
        problems={**UNAUTHORIZED, **BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/selections/{id}", handler=lambda h: h.selections.read, scope="read",
        group="Selections", summary="A selection, and how far it has come", parameters=(id_of("selection"),),
        answer=SelectionAnswer, problems={**UNAUTHORIZED, 404: "There is no such selection.", **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/selections/{id}/apply", handler=lambda h: h.selections.apply, scope="operate",
        group="Selections", summary="Apply exactly what was previewed",
        description="Leaves out each item that has changed since, so that the action does not apply any more. "
                    "Called again, it answers how far it has come.",
        parameters=(id_of("selection"),), answer=SelectionAnswer, accepted="It goes on: read the selection again.",
        problems={**UNAUTHORIZED, 404: "There is no such selection.", 409: "The preview has not ended.", **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/pauses", handler=lambda h: h.pauses.list, scope="read",
        group="Pauses", summary="What a person paused", description="Oldest first.",
        answer=PauseList, problems={**UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/pauses", handler=lambda h: h.pauses.add, scope="operate",
        group="Pauses", summary="Stop paid questions",
        description="Of one provider, of one source, or without either all of them, within a second in every process. "
                    "Polls, callbacks and deliveries go on; lookups that wait for the pause are `held`.",
        body=PauseBody, success=201, answer=Pause,
        problems={**UNAUTHORIZED, 409: "The same is paused already.", **SMALL_BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="delete", path="/v1/pauses/{id}", handler=lambda h: h.pauses.remove, scope="operate",
        group="Pauses", summary="Let paid questions go on",
        parameters=(id_of("pause"),), answer=Pause,
        problems={**UNAUTHORIZED, 404: "There is no such pause.", **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/suppressions", handler=lambda h: h.rights.suppress, scope="operate",
        group="People", summary="Suppress a person or a number",
        description="One, or a list of up to 1,000. No provider is asked about that person from now on; a suppressed "
                    "number is neither passed on nor stored. Waiting lookups end at once.",
        body=SuppressionBody, success=201, answer=SuppressionsMade,
        problems={**UNAUTHORIZED, **BODY_PROBLEMS, 422: "A suppression cannot be made; none was.", **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/suppressions", handler=lambda h: h.rights.page, scope="read",
        group="People", summary="List suppressions", description="Newest first, without their values.",
        parameters=(CURSOR, limit("suppressions per page")),
        answer=SuppressionPage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="delete", path="/v1/suppressions/{id}", handler=lambda h: h.rights.unsuppress, scope="operate",
        group="People", summary="Remove a suppression", parameters=(id_of("suppression"),),
        success=204, answer="nothing",
        problems={**UNAUTHORIZED, 404: "There is no such suppression.", **UNAVAILABLE},
    ),
    Operation(
        method="delete", path="/v1/people", handler=lambda h: h.rights.erase, scope="admin",
        group="People", summary="Erase a person",
        description="Every lookup that holds one of the values, and all that was kept for it. Nothing found is no "
                    "error. After a 503 or an interruption, send it again: what was erased stays erased.",
        parameters=(*PERSON,), answer=ErasedAnswer,
        problems={422: "A value cannot be used; nothing was erased.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/deliveries", handler=lambda h: h.deliveries.page, scope="read",
        group="Deliveries", summary="List deliveries", description="Newest first.",
        parameters=(
            Parameter(name="status", place="query", schema={"type": "string", "enum": list(DELIVERY_STATES)},
                      description="only these", example="given_up"),
            Parameter(name="lookup_id", place="query", schema={"type": "string", "format": "uuid"},
                      description="only this lookup's"),
            Parameter(name="channel", place="query", schema={"type": "string", "enum": list(CHANNELS)},
                      description="only to the result webhook, or to this CRM", example="webhook"),
            CURSOR, limit("deliveries per page"),
        ),
        answer=DeliveryPage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/deliveries/{id}/replay", handler=lambda h: h.deliveries.replay, scope="operate",
        group="Deliveries", summary="Send a result again",
        description="For a delivery that has ended: at once, from the beginning of its schedule, under the same id.",
        parameters=(id_of("delivery"),), success=202, answer=ReplayAnswer,
        problems={**UNAUTHORIZED, 404: "There is no such delivery.", 409: "The delivery has not ended.", **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/audit", handler=lambda h: h.audit.page, scope="admin",
        group="Audit", summary="Who did what", description="Newest first.",
        parameters=(CURSOR, limit("entries per page")),
        answer=AuditPage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/healthz", handler=lambda h: h.health.alive, group="Health",
        summary="Whether the process runs", who="anybody", answer="object",
    ),
    Operation(
        method="get", path="/readyz", handler=lambda h: h.health.ready, group="Health",
        summary="Whether events would be stored now", who="anybody", answer="object",
        problems={503: "The database does not answer, or the process is stopping."},
    ),
    Operation(
        method="get", path="/metrics", handler=lambda h: h.health.metrics, group="Health",
        summary="Numbers for Prometheus", who="anybody", answer="text",
        problems={401: "METRICS_TOKEN is set, and was not sent.", **LIMITED},
    ),
    Operation(
        method="get", path="/openapi.json", handler=lambda h: h.docs.document, group="Description",
        summary="This description", who="anybody", answer="object",
    ),
    Operation(
        method="get", path="/docs", handler=lambda h: h.docs.page, group="Description",
        summary="This description, to read", who="anybody", answer="html",
    ),
)  # fmt: skip


def build_routes(handlers: Handlers, tokens: Tokens) -> list[Route]:
    """Build one route per path, so that a 405 names every method of the path."""
    paths: dict[str, dict[str, Handler]] = {}
    for operation in OPERATIONS:
        handler = operation.handler(handlers)
        # Events are verified by their handler: a signature is as good as a token.
        guarded = tokens.guard(handler, operation.scope) if operation.who == "token" and operation.scope else handler
        paths.setdefault(operation.path, {})[operation.method.upper()] = guarded
    return [Route(path, _by_method(methods), methods=list(methods)) for path, methods in paths.items()]


def _by_method(methods: Mapping[str, Handler]) -> Handler:
    """Return one handler for several methods. It answers HEAD like GET; the server omits the body."""
    if len(methods) == 1:
        return next(iter(methods.values()))

    async def handle(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return handle
