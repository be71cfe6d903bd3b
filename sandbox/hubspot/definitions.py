"""The properties of contacts: HubSpot's own, those created in the account, and the values that each takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.hubspot.times import milliseconds

EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
STAGES = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
)


class Fault(NamedTuple):
    """A property with a value that it does not take, as the error names it."""

    code: str
    message: str
    names: tuple[str, ...]


@dataclass(slots=True)
class Definition:
    """One property."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group: str = "contactinformation"
    options: list[dict[str, Any]] = field(default_factory=list)
    read_only: bool = False
    native: bool = True
    archived: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the property as HubSpot describes it."""
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": "",
            "groupName": self.group,
            "options": self.options,
            "displayOrder": -1,
            "calculated": False,
            "externalOptions": False,
            "archived": self.archived,
            "hasUniqueValue": self.name in {"email", "hs_object_id"},
            "hidden": False,
            "hubspotDefined": self.native,
            "modificationMetadata": {
                "archivable": not self.native,
                "readOnlyDefinition": self.native,
                "readOnlyValue": self.read_only,
            },
            "formField": not self.read_only,
        }

    def fault_of(self, value: str) -> Fault | None:
        """Return what is wrong with this new value; None if nothing is."""
        if self.read_only:
            message = f'"{self.name}" is a read only property; its value cannot be set'
            return Fault("READ_ONLY_VALUE", message, (self.name,))
        if not value:
            return None
        if self.name == "email" and not EMAIL.match(value):
            return Fault("INVALID_EMAIL", f"Email address {value} is invalid", (self.name,))
        allowed = [option["value"] for option in self.options]
        if self.type == "enumeration" and value not in allowed:
            message = f"{value} was not one of the allowed options: {allowed}"
            return Fault("INVALID_OPTION", message, (self.name,))
        if self.type in {"date", "datetime"} and not _is_time(value):
            return Fault("INVALID_DATE", f"{value} was not a valid date", (self.name,))
        return None


def _is_time(value: str) -> bool:
    try:
        milliseconds(value)
    except ValueError:
        return False
    return True


def _options(*values: str) -> list[dict[str, Any]]:
    return [
        {"label": value, "value": value, "displayOrder": order, "hidden": False} for order, value in enumerate(values)
    ]


def native() -> dict[str, Definition]:
    """Return those of HubSpot's own properties that this project uses."""
    return {
        one.name: one
        for one in (
            Definition("email", "Email"),
            Definition("hs_additional_emails", "Additional email addresses", "string", "textarea", read_only=True),
            Definition("firstname", "First Name"),
            Definition("lastname", "Last Name"),
            Definition("company", "Company Name"),
            Definition("jobtitle", "Job Title"),
            Definition("phone", "Phone Number", "string", "phonenumber"),
            Definition("mobilephone", "Mobile Phone Number", "string", "phonenumber"),
            Definition("hs_linkedin_url", "LinkedIn URL"),
            Definition("website", "Website URL"),
            Definition("city", "City"),
            Definition("state", "State/Region"),
            Definition("country", "Country/Region"),
            Definition("hs_country_region_code", "Country/Region Code"),
            Definition("lifecyclestage", "Lifecycle Stage", "enumeration", "radio", options=_options(*STAGES)),
            Definition("hs_lead_status", "Lead Status", "enumeration", "radio", options=_options("NEW", "OPEN")),
            Definition("hubspot_owner_id", "Contact owner", "number", "number"),
            Definition("createdate", "Create Date", "datetime", "date", read_only=True),
            Definition("lastmodifieddate", "Last Modified Date", "datetime", "date", read_only=True),
            Definition("hs_object_id", "Record ID", "number", "number", read_only=True),
            Definition("hs_merged_object_ids", "Merged record IDs", read_only=True),
        )
    }


class Definitions:
    """The properties and their groups."""

    def __init__(self) -> None:
        """Begin with HubSpot's own."""
        self.all = native()
        self.groups = {"contactinformation": "Contact information"}

    def known(self, name: str) -> Definition | None:
        """Return the property of that name unless it is archived."""
        definition = self.all.get(name)
        return None if definition is None or definition.archived else definition

    def faults_of(self, values: dict[str, str]) -> list[Fault]:
        """Return everything that is wrong with these values."""
        faults = []
        for name, value in values.items():
            if (definition := self.known(name)) is None:
                faults.append(Fault("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist', (name,)))
            elif fault := definition.fault_of(value):
                faults.append(fault)
        return faults
