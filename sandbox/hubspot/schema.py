"""The endpoints for the definitions of contacts' properties and groups, and for the account's details."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.hubspot.answers import failure, nothing, ok
from sandbox.hubspot.calls import Call
from sandbox.hubspot.definitions import Definition, Definitions
from sandbox.wire import Answer

NAME = re.compile(r"^[a-z][a-z0-9_]{0,99}$")
FIELD_TYPES = {
    "string": ("text", "textarea", "phonenumber", "html", "file"),
    "enumeration": ("select", "radio", "checkbox", "booleancheckbox"),
    "number": ("number",),
    "bool": ("booleancheckbox",),
    "date": ("date",),
    "datetime": ("date",),
}


class Schema:
    """The endpoints of one account's definitions."""

    def __init__(self, definitions: Definitions) -> None:
        """Serve these definitions."""
        self._definitions = definitions

    def all(self, call: Call) -> Answer:
        """List the properties."""
        archived = call.text("archived") == "true"
        return ok({"results": [one.as_json() for one in self._definitions.all.values() if one.archived == archived]})

    def one(self, call: Call) -> Answer:
        """Show one property."""
        definition = self._definitions.known(call.name)
        return failure(404) if definition is None else ok(definition.as_json())

    def create(self, call: Call) -> Answer:
        """Create a property; the name of an archived one brings it back."""
        document = call.document()
        name = str(document.get("name"))
        if wrong := self._wrong_with(document):
            return failure(400, wrong)
        if self._definitions.known(name):
            return failure(
                409,
                f"A property named '{name}' already exists.",
                "OBJECT_ALREADY_EXISTS",
                subCategory="Properties.PROPERTY_WITH_NAME_EXISTS",
            )
        definition = Definition(
            name,
            str(document.get("label") or name),
            str(document["type"]),
            str(document["fieldType"]),
            str(document["groupName"]),
            list(document.get("options") or []),
            native=False,
        )
        self._definitions.all[name] = definition
        return ok(definition.as_json(), 201)

    def change(self, call: Call) -> Answer:
        """Change label or options; new options replace all old ones."""
        definition = self._definitions.known(call.name)
        if definition is None:
            return failure(404)
        document = call.document()
        definition.label = str(document.get("label", definition.label))
        definition.options = list(document.get("options", definition.options))
        return ok(definition.as_json())

    def archive(self, call: Call) -> Answer:
        """Archive a property that the account created."""
        definition = self._definitions.known(call.name)
        if definition is None or definition.native:
            return failure(404 if definition is None else 400)
        definition.archived = True
        return nothing()

    def groups(self, _: Call) -> Answer:
        """List the groups."""
        return ok({"results": [_group(name, label) for name, label in self._definitions.groups.items()]})

    def create_group(self, call: Call) -> Answer:
        """Create a group."""
        document = call.document()
        name, label = str(document.get("name")), str(document.get("label"))
        if not NAME.match(name) or "label" not in document:
            return failure(400, "A group has a name and a label")
        if name in self._definitions.groups:
            return failure(409, f"A property group named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
        self._definitions.groups[name] = label
        return ok(_group(name, label), 201)

    def _wrong_with(self, document: dict[str, Any]) -> str:
        missing = [key for key in ("name", "label", "type", "fieldType", "groupName") if not document.get(key)]
        if missing:
            return f"Some required fields were not set: {missing}"
        if not NAME.match(str(document["name"])):
            return "name must begin with a letter and hold lower-case letters, digits and underscores only"
        if document["fieldType"] not in FIELD_TYPES.get(str(document["type"]), ()):
            return f"fieldType {document['fieldType']} does not go with type {document['type']}"
        if document["groupName"] not in self._definitions.groups:
            return f"The property group {document['groupName']} does not exist"
        return ""


def details(portal: int, zone: str) -> Answer:
    """Return the account's details."""
    offset = datetime.now(ZoneInfo(zone)).strftime("%z")
    return ok(
        {
            "portalId": portal,
            "accountType": "STANDARD",
            "timeZone": zone,
            "companyCurrency": "USD",
            "additionalCurrencies": [],
            "utcOffset": f"{offset[:3]}:{offset[3:]}",
            "utcOffsetMilliseconds": int(offset[:3]) * 3_600_000,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }
    )


def _group(name: str, label: str) -> dict[str, Any]:
    return {"name": name, "label": label, "displayOrder": -1, "archived": False}
