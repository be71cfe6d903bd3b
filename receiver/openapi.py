"""Build the OpenAPI 3.1 document from the routes and the models."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from receiver.messages import ProblemBody
from receiver.operations import Operation, Parameter, Who
from receiver.problems import MEDIA_TYPE
from receiver.routes import OPERATIONS

REF = "#/components/schemas/{model}"
CREDENTIALS: dict[Who, tuple[str, ...]] = {
    "token": ("bearer", "key"),
    "token or signature": ("bearer", "key", "signature"),
    "anybody": (),
}
OTHER_ANSWERS = {
    "nothing": {},
    "object": {"application/json": {"schema": {"type": "object"}}},
    "text": {"text/plain": {"schema": {"type": "string"}}},
    "html": {"text/html": {"schema": {"type": "string"}}},
}
_WORD = re.compile(r"[a-z0-9]+")


@cache
def document() -> dict[str, Any]:
    """Return the description of every operation, field and answer."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringback",
            "version": version("ringback"),
            "description": "A CRM event comes in, the person's mobile number goes out. Errors are "
            "application/problem+json. A 2xx means: committed.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _security_schemes()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.method + "".join(word.title() for word in _WORD.findall(operation.path)),
        "tags": [operation.group],
        "summary": operation.summary,
        "security": _security(operation),
        "responses": {
            str(operation.success): {"description": "Done.", "content": _content(operation.answer)},
            **(
                {"202": {"description": operation.accepted, "content": _content(operation.answer)}}
                if operation.accepted
                else {}
            ),
            **{str(s): _problem(s, text, operation) for s, text in sorted(_problems(operation).items())},
            "500": _problem(500, "A defect of ours; it was logged.", operation),
        },
    }
    words = [operation.description, f"Needs the scope `{operation.scope}`." if operation.scope else ""]
    if any(words):
        described["description"] = " ".join(filter(None, words))
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {"required": not operation.body_is_optional, "content": _content(operation.body)}
    if operation.any_body is not None:
        content = {"application/json": {"schema": operation.any_body}}
        described["requestBody"] = {"required": bool(operation.any_body), "content": content}
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Return the credentials, each with the scope that it needs; a signature has none."""
    scopes = [operation.scope] if operation.scope else []
    return [{name: [] if name == "signature" else [*scopes]} for name in CREDENTIALS[operation.who]]


def _problems(operation: Operation) -> dict[int, str]:
    lacks = {403: f"The token lacks the scope `{operation.scope}`."} if operation.scope else {}
    return lacks | operation.problems


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }
    return described if parameter.example is None else described | {"example": parameter.example}


def _content(answer: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return OTHER_ANSWERS[answer]
    return {"application/json": {"schema": {"$ref": REF.format(model=answer.__name__)}}}


def _problem(status: int, text: str, operation: Operation) -> dict[str, Any]:
    if status in operation.silent:
        return {"description": text}
    schema = {"$ref": REF.format(model=ProblemBody.__name__)}
    described: dict[str, Any] = {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}
    header = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}.get(status)
    if header:
        described["headers"] = {header: {"schema": {"type": "string"}}}
    return described


def _schemas() -> dict[str, Any]:
    given = {operation.body for operation in OPERATIONS if operation.body is not None}
    told = {operation.answer for operation in OPERATIONS if not isinstance(operation.answer, str)} | {ProblemBody}
    models = [(model, "validation") for model in given] + [(model, "serialization") for model in told]
    models.sort(key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]  # it wants literals
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _security_schemes() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "one of API_TOKENS"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "one of API_TOKENS"},
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks, signed with EVENTS_SIGNING_SECRET; webhook-id and webhook-timestamp "
            "belong to it, and the svix-* names are accepted as well. A CRM signs its own way",
        },
    }
