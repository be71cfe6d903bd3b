"""Every operation of the receiver, described: the source of /openapi.json and /docs, tested against the routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from enrichment.event import LONGEST_ID
from receiver.api import DEFAULT_LIMIT, LARGEST_LIMIT, STATUSES
from receiver.bodies import MOST_OF_A_CALLBACK, MOST_OF_AN_EVENT
from receiver.messages import (
    CancelAnswer,
    EventAnswer,
    EventBody,
    Lookup,
    LookupPage,
    RetryAnswer,
    Usage,
)
from receiver.usage import DEFAULT_DAYS, MOST_DAYS

Who = Literal["token", "token or signature", "anybody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value in the path or the query."""

    name: str
    place: Literal["path", "query"]
    schema: dict[str, Any]
    description: str
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address."""

    method: Literal["get", "post"]
    path: str
    group: str
    summary: str
    description: str = ""
    who: Who = "token"
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    any_body: bool = False  # whatever a provider sends
    success: int = 200
    answer: type[BaseModel] | Literal["nothing", "text", "html", "object"]
    problems: dict[int, str] = field(default_factory=dict)
    silent: tuple[int, ...] = ()  # problems without a body


LOOKUP_ID = Parameter(
    name="id", place="path", schema={"type": "string", "format": "uuid"}, description="the lookup's id",
    example="019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b",
)  # fmt: skip
UNAUTHORIZED = {401: "Neither token nor signature is valid; nothing was stored."}
UNAVAILABLE = {503: "It cannot be stored or read at the moment; send it again after Retry-After."}
NO_SUCH_LOOKUP = {404: "There is no such lookup."}
BODY_PROBLEMS = {
    400: "The body is not JSON.",
    408: "The body did not arrive in time.",
    413: f"The body has more than {MOST_OF_AN_EVENT:,} bytes.",
    415: "The body is of another type than JSON.",
    422: "No contact can be used: `errors` names each field and says why. Nothing was stored.",
}
STORED = (
    "What can be used of a contact is used, and every field that cannot is named in `problems`. All usable "
    "contacts are stored, or none. 202 means that they are committed."
)
STRICT = Parameter(
    name="strict", place="query", schema={"type": "boolean", "default": False},
    description="refuse the event if a single field cannot be used",
)  # fmt: skip

OPERATIONS = (
    Operation(
        method="post", path="/events/{source}", group="Events", summary="A CRM's event",
        description=f"Each contact becomes a lookup. {STORED} The same event again is answered with the same lookups.",
        who="token or signature",
        parameters=(
            Parameter(name="source", place="path", schema={"type": "string"}, description="generic", example="generic"),
            STRICT,
        ),
        body=EventBody, success=202, answer=EventAnswer,
        problems={404: "There is no such source.", **UNAUTHORIZED, **BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/lookups", group="Lookups", summary="Look somebody up",
        description=f"The same as an event of the source `api`. {STORED}",
        parameters=(STRICT,),
        body=EventBody, success=202, answer=EventAnswer, problems={**UNAUTHORIZED, **BODY_PROBLEMS, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/lookups", group="Lookups", summary="List lookups", description="Newest first.",
        parameters=(
            Parameter(name="status", place="query", schema={"type": "string", "enum": list(STATUSES)},
                      description="only these", example="found"),
            Parameter(name="record_id", place="query", schema={"type": "string", "maxLength": LONGEST_ID},
                      description="only this record of the CRM"),
            Parameter(name="cursor", place="query", schema={"type": "string"}, description="next_cursor of a page"),
            Parameter(name="limit", place="query",
                      schema={"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
                      description="lookups per page"),
        ),
        answer=LookupPage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/lookups/{id}", group="Lookups", summary="One lookup", parameters=(LOOKUP_ID,),
        answer=Lookup, problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/lookups/{id}/retry", group="Lookups", summary="Try a lookup again",
        description="For a lookup that is failed, unresolved or held. The answer warns when it may be charged again.",
        parameters=(LOOKUP_ID,), success=202, answer=RetryAnswer,
        problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, 409: "It is in no such state.", **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/v1/lookups/{id}/cancel", group="Lookups", summary="Cancel a lookup",
        description="For a lookup that is queued, held, failed or unresolved. What has been asked is waited for.",
        parameters=(LOOKUP_ID,), answer=CancelAnswer,
        problems={**UNAUTHORIZED, **NO_SUCH_LOOKUP, 409: "It is in no such state.", **UNAVAILABLE},
    ),
    Operation(
        method="get", path="/v1/usage", group="Usage", summary="Credits and budgets",
        parameters=(
            Parameter(name="days", place="query",
                      schema={"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": DEFAULT_DAYS},
                      description="how many UTC days, today included"),
        ),
        answer=Usage, problems={422: "A parameter cannot be used.", **UNAUTHORIZED, **UNAVAILABLE},
    ),
    Operation(
        method="post", path="/callbacks/{provider}/{job_id}/{token}", group="Callbacks", summary="A provider's message",
        description="The address is the credential: it is made for one job, and only its provider knows it. "
                    "200 means that the message is stored, and applied where it can be believed.",
        who="anybody",
        parameters=(
            Parameter(name="provider", place="path", schema={"type": "string"}, description="nyne", example="nyne"),
            Parameter(name="job_id", place="path", schema={"type": "string", "format": "uuid"}, description="the job",
                      example="019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"),
            Parameter(name="token", place="path", schema={"type": "string"}, description="signed by CALLBACK_KEYS",
                      example="5f2c"),
        ),
        any_body=True, answer="object",
        problems={404: "Not an address of ours.", 408: "The body did not arrive in time.",
                  413: f"The body has more than {MOST_OF_A_CALLBACK:,} bytes.", **UNAVAILABLE},
        silent=(404,),
    ),
    Operation(method="get", path="/healthz", group="Health", summary="Whether the process runs", who="anybody",
              answer="object"),
    Operation(method="get", path="/readyz", group="Health", summary="Whether events would be stored now", who="anybody",
              answer="object", problems={503: "The database does not answer, or the process is stopping."}),
    Operation(method="get", path="/metrics", group="Health", summary="Numbers for Prometheus", who="anybody",
              answer="text"),
    Operation(method="get", path="/openapi.json", group="Description", summary="This description", who="anybody",
              answer="object"),
    Operation(method="get", path="/docs", group="Description", summary="This description, to read", who="anybody",
              answer="html"),
)  # fmt: skip
