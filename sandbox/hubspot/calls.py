"""A request as HubSpot's endpoints take it: the token, the path's name, the query and the document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from sandbox.hubspot.answers import failure
from sandbox.hubspot.records import Author
from sandbox.wire import Answer, Asked

READ = "crm.objects.contacts.read"
WRITE = "crm.objects.contacts.write"
SCHEMAS_READ = "crm.schemas.contacts.read"
SCHEMAS_WRITE = "crm.schemas.contacts.write"
OAUTH = "oauth"
SCOPES = (READ, WRITE, SCHEMAS_READ, SCHEMAS_WRITE)


class Refusal(Exception):
    """An answer that ends the handling of a request."""

    def __init__(self, answer: Answer) -> None:
        """Keep the answer."""
        super().__init__(answer.status)
        self.answer = answer


@dataclass(slots=True)
class Token:
    """A token of an app; the app shares its limit among its tokens."""

    name: str
    app: str
    scopes: frozenset[str]
    revoked: bool = False

    @property
    def author(self) -> Author:
        """Return the author of values written with this token."""
        return Author("INTEGRATION", self.app)


class Call(NamedTuple):
    """One request that was let through; *name* is the value in the path's braces."""

    asked: Asked
    query: dict[str, list[str]]
    token: Token
    name: str = ""

    def text(self, key: str, usual: str = "") -> str:
        """Return one value of the query."""
        return self.query.get(key, [usual])[0]

    def names(self, key: str) -> list[str]:
        """Return the names that the query lists, with commas or by repetition."""
        return [name for text in self.query.get(key, []) for name in text.split(",") if name]

    def whole(self, key: str, usual: int) -> int:
        """Return a whole number of the query. Raise Refusal."""
        text = self.text(key, str(usual))
        if not text.isdecimal():
            raise Refusal(failure(400, f"{key} is not a number"))
        return int(text)

    def document(self) -> dict[str, Any]:
        """Return the body. Raise Refusal when it is no JSON object."""
        try:
            document = json.loads(self.asked.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Refusal(failure(400, "Invalid input JSON on line 1, column 1"))
        return document


def values_of(document: dict[str, Any]) -> dict[str, str]:
    """Return the values to write. Raise Refusal."""
    properties = document.get("properties")
    if not isinstance(properties, dict) or not properties:
        raise Refusal(failure(400, "No properties found to update, please provide at least one."))
    if any(isinstance(value, dict | list) for value in properties.values()):
        raise Refusal(failure(400, "Invalid input JSON: a property's value is a string"))
    return {name: _written(value) for name, value in properties.items()}


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).strip()
