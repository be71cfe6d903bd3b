"""Find out which column holds what: by its name, by its values, or by what a person says with --map."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence

from enrichment.emails import read_emails
from enrichment.event_fields import IGNORED, TEXT_FIELDS, comes_first, field_of, fold_field
from enrichment.files.table import FileProblem, Row, Table
from enrichment.linkedin import read_profiles
from enrichment.texts import Unusable, tidy

Mapping = dict[str, str]  # column -> field of a contact

MAPPED = (*TEXT_FIELDS, "record_id")  # the fields that a column may be
_SHOWN = 20  # columns in a message

# Names in exports that mean something else in an event, or nothing: of HubSpot, Pipedrive, Close, Apollo, Evaboot,
# PhantomBuster; English and German.
_NAMES = {
    "profile_url": "linkedinurlpublic linkedinurlunique publiclinkedinurl linkedinprofilurl defaultprofileurl",
    "work_email": "geschäftlicheemail geschäftlicheemailadresse primaryemail dienstlicheemail",
    "personal_email": "emailother emailsonstige",
    "name": "ansprechpartner kontaktname namedeskontakts",
    "company": "unternehmensname namedesunternehmens arbeitgeber",
    "region": "landregion",
    "record_id": "id datensatzid apollocontactid",
}
_FOLDED = {name: field for field, names in _NAMES.items() for name in names.split()}
# Pipedrive writes "Person - Email - Work", Close "primary_contact_name".
_PREFIXES = ("primarycontactprimary", "primarycontact", "person", "contact", "kontakt")
# E-mail addresses of colleagues, in columns of any other name.
_COLLEAGUES = ("owner", "creator", "created", "updated", "modified", "assign", "sender", "rep", "zuständig", "besitzer")


def guess_mapping(table: Table, first: Sequence[Row]) -> Mapping:
    """Return what the columns seem to be, by their names and by the values of the *first* rows; each field once."""
    found: dict[str, str] = {}
    for column in sorted(table.columns, key=_comes_late):
        field = _named(column)
        if field and field not in found and not _is_other_profile(column, field, table, first):
            found[field] = column
    if "name" in found and "first_name" in found and "last_name" not in found:
        found["last_name"] = found.pop("name")  # Vorname, Name
    for field, read in _READERS.items():
        if field not in found and (valued := _valued(table, first, read, set(found.values()))):
            found[field] = valued
    fields = {column: field for field, column in found.items()}
    return {column: fields[column] for column in table.columns if column in fields}


def _named(column: str) -> str | None:
    """Return the field that the column's name means, if it is one that a column may be."""
    folded = fold_field(column)
    shorter = (folded.removeprefix(prefix) for prefix in _PREFIXES if folded.startswith(prefix))
    for name in (folded, *shorter):
        field = _FOLDED.get(name) or field_of(name, {})
        if field in MAPPED:
            return field
    return None


def _comes_late(column: str) -> int:
    """Order the columns of one field: our own name for it first; last the leads of Close, which are companies."""
    field = _named(column)
    if field and comes_first(column, field, {}):
        return 0
    return 2 if fold_field(column).startswith(("lead", "displayname")) else 1


def _is_other_profile(column: str, field: str, table: Table, first: Sequence[Row]) -> bool:
    """Tell whether a column such as `Profile` holds no LinkedIn profiles: Gold would be read as a member's slug."""
    folded = fold_field(column)
    if field != "profile_url" or comes_first(column, field, {}) or "linkedin" in folded or "salesnav" in folded:
        return False
    values = _values(column, table, first)
    return not values or sum("linkedin" in value.lower() for value in values) * 2 < len(values)


def _reads_profile(value: str) -> bool:
    return "linkedin." in value.lower() and bool(read_profiles(value))


def _reads_email(value: str) -> bool:
    return "@" in value and bool(read_emails(value))


_READERS: dict[str, Callable[[str], bool]] = {"profile_url": _reads_profile, "work_email": _reads_email}


def _valued(table: Table, first: Sequence[Row], read: Callable[[str], bool], taken: set[str]) -> str | None:
    """Return the first free column in which most values can be *read*, and most differ."""
    for column in table.columns:
        folded = fold_field(column)
        if column in taken or any(word in folded for word in _COLLEAGUES):
            continue
        values = _values(column, table, first)
        readable = {value for value in values if _can(read, value)}
        if readable and len(readable) * 2 > len(values):
            return column
    return None


def _can(read: Callable[[str], bool], value: str) -> bool:
    try:
        return read(tidy(value))
    except Unusable:
        return False


def _values(column: str, table: Table, first: Sequence[Row]) -> list[str]:
    place = table.columns.index(column)
    return [row.values[place].strip() for row in first if row.values[place].strip()]


def read_mapping(text: str, table: Table) -> Mapping:
    """Read `E-Mail=work_email, Firma=company`. Raise FileProblem.

    A column with a comma in its name stands in quotation marks; `ignore` is the field of one that is not to be used.
    """
    mapping: Mapping = {}
    for part in _parts(text):
        column, equals, field = (side.strip() for side in part.rpartition("="))
        if not equals or not column:
            raise FileProblem(f"--map needs column=field, such as E-Mail=work_email; {_columns(table)}")
        mapping[_column(column, table)] = _field(field)
    return mapping


def contact_of(row: Row, table: Table, mapping: Mapping) -> dict[str, str]:
    """Return the row's contact as /events/generic takes it; of several columns of one field, the first with a value."""
    contact: dict[str, str] = {}
    for column, value in zip(table.columns, row.values, strict=True):
        field = mapping.get(column, IGNORED)
        if field != IGNORED and value.strip():
            contact.setdefault(field, value)
    return contact


def _parts(text: str) -> Iterator[str]:
    for record in csv.reader([text], skipinitialspace=True):
        yield from (part for part in record if part.strip())


def _column(name: str, table: Table) -> str:
    for column in table.columns:
        if column == name:
            return column
    alike = [column for column in table.columns if fold_field(column) == fold_field(name) != ""]
    if len(alike) != 1:
        raise FileProblem(f"no column is called {name!r}; {_columns(table)}")
    return alike[0]


def _field(name: str) -> str:
    field = IGNORED if name == IGNORED else field_of(name, {})
    if field not in (*MAPPED, IGNORED):
        raise FileProblem(f"{name!r} is no field; a column can be {', '.join((*MAPPED, IGNORED))}")
    return field


def _columns(table: Table) -> str:
    shown = ", ".join(repr(column[:60]) for column in table.columns[:_SHOWN])
    more = len(table.columns) - _SHOWN
    return f"the file's columns are {shown}" + (f" and {more} more" if more > 0 else "")
