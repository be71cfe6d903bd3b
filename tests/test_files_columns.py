"""What a column holds is guessed by its name and its values, or said by a person, and becomes a contact."""

from __future__ import annotations

import pytest

from enrichment.contact import Contact
from enrichment.event import read_fields
from enrichment.files.columns import contact_of, guess_mapping, read_mapping
from enrichment.files.table import FileProblem, Row, Table
from tests.test_event_fields import PROVIDERS


def table_of(columns: str) -> Table:
    """Return a table with these columns."""
    return Table(tuple(columns.split("|")), "csv", "ascii", ",", None)


def rows_of(*rows: str) -> list[Row]:
    """Return rows with these values."""
    return [Row(number, tuple(row.split("|"))) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        (  # HubSpot
            "Record ID|First Name|Last Name|Email|Phone Number|Contact owner|Company Name|LinkedIn URL|Country/Region",
            "record_id|first_name|last_name|work_email|||company|profile_url|region",
        ),
        ("Datensatz-ID|Vorname|Nachname|E-Mail|Unternehmensname", "record_id|first_name|last_name|work_email|company"),
        (  # Pipedrive
            "Person - ID|Person - Name|Person - Organization|Person - Email - Work|Person - Email - Home",
            "record_id|name|company|work_email|personal_email",
        ),
        ("Record ID|Record|Name|Email addresses|LinkedIn|Company", "record_id||name|work_email|profile_url|company"),
        (  # Close: a lead is a company
            "id|display_name|primary_contact_name|primary_contact_primary_email|primary_contact_primary_phone",
            "record_id||name|work_email|",
        ),
        ("Lead Name|Contact Name|primary_email", "|name|work_email"),
        (  # Apollo
            "First Name|Company|Email|Email Status|Secondary Email|Person Linkedin Url|Company Linkedin Url|Country",
            "first_name|company|work_email||personal_email|profile_url||region",
        ),
        ("First Name|Last Name|Linkedin URL Public|Current Company", "first_name|last_name|profile_url|company"),
        ("Vorname|Name|Firma|Land/Region", "first_name|last_name|company|region"),
        ("Ansprechpartner|Geschäftliche E-Mail|Private E-Mail", "name|work_email|personal_email"),
        ("email|Email address|Work Email", "||work_email"),  # our own names come first, whatever else is there
        ("Provider|Event ID|providers", "||"),  # of an event, but not of a file
        ("Profile|E-mail owner", "|"),
    ],
)
def test_columns_of_common_exports_are_known_by_their_names(columns: str, fields: str) -> None:
    """HubSpot's, Pipedrive's, Attio's, Close's, Apollo's and Evaboot's; English and German."""
    table = table_of(columns)

    guessed = guess_mapping(table, [])

    assert [guessed.get(column, "") for column in table.columns] == fields.split("|")


@pytest.mark.parametrize(
    ("columns", "rows", "fields"),
    [
        (
            "First Name|URL|x",
            ["Jane|https://www.linkedin.com/in/jane|", "Rick|linkedin.com/in/rick|1"],
            "first_name|profile_url|",
        ),
        ("a|b", ["x|jane@acme.co", "y|", "z|Rick <rick@acme.co>"], "|work_email"),
        ("a|b", ["x|jane@acme.co", "y|none", "z|none", "z|none"], "|"),  # not most
        ("a|b", ["o@us.co|jane@acme.co", "o@us.co|rick@acme.co", "o@us.co|r@acme.co"], "|work_email"),  # one colleague
        ("Account Owner|b", ["o@us.co|x", "p@us.co|y"], "|"),
        ("a|b", ["https://www.linkedin.com/company/acme|https://acme.co"], "|"),
        ("Profile|Email", ["Gold|jane@acme.co", "Silver|"], "|work_email"),
        ("Profile|Email", ["https://linkedin.com/in/jane|"], "profile_url|work_email"),
    ],
)
def test_columns_are_known_by_their_values(columns: str, rows: list[str], fields: str) -> None:
    """By LinkedIn profiles and e-mail addresses that differ, and a profile is no word such as Gold."""
    table = table_of(columns)

    guessed = guess_mapping(table, rows_of(*rows))

    assert [guessed.get(column, "") for column in table.columns] == fields.split("|")


def test_a_row_is_read_as_an_event_is() -> None:
    """First and last name become one, and empty values give way to those of another column of the same field."""
    table = table_of("Vorname|Nachname|Sales Nav|LinkedIn|Firma|Notiz|ID")
    mapping = guess_mapping(table, []) | {"Sales Nav": "profile_url", "Notiz": "ignore"}
    (row,) = rows_of("Jane| Doe|  |linkedin.com/in/janedoe|Acme|=1+1|42.0")

    fields = contact_of(row, table, mapping)

    assert fields == {
        "first_name": "Jane", "last_name": " Doe", "profile_url": "linkedin.com/in/janedoe", "company": "Acme",
        "record_id": "42.0",
    }  # fmt: skip
    read = read_fields(fields, providers=PROVIDERS)
    assert read.contact == Contact(profile_url="linkedin.com/in/janedoe", name="Jane Doe", company="Acme")
    assert (read.record_id, read.problems) == ("42", ())


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("E-Mail=work_email, Firma=company", {"E-Mail": "work_email", "Firma": "company"}),
        ("e mail = email,", {"E-Mail": "work_email"}),
        ('"Name, full=name","a=b=record_id"', {"Name, full": "name", "a=b": "record_id"}),
        ("Firma=ignore", {"Firma": "ignore"}),
        ("", {}),
    ],
)
def test_a_mapping_names_columns_and_fields(text: str, mapping: dict[str, str]) -> None:
    """In any case; the fields have the names that events know; quotes hold what a comma would end."""
    assert read_mapping(text, table_of("E-Mail|Firma|Name, full|a=b")) == mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Mail=email", "no column is called 'Mail'; the file's columns are 'E-Mail', 'Firma', 'firma'"),
        ("FIRMA=company", "no column is called 'FIRMA'; the file's columns are 'E-Mail', 'Firma', 'firma'"),
        ("E-Mail", "--map needs column=field, such as E-Mail=work_email; the file's columns are"),
        ("=email", "--map needs column=field, such as E-Mail=work_email; the file's columns are"),
        ("E-Mail=phone", "'phone' is no field; a column can be profile_url, work_email, personal_email, name,"),
        ("E-Mail=providers", "'providers' is no field; a column can be profile_url"),
    ],
)
def test_a_mapping_that_cannot_be_says_what_there_is(text: str, message: str) -> None:
    """The columns of the file, or the fields that one can be."""
    with pytest.raises(FileProblem) as problem:
        read_mapping(text, table_of("E-Mail|Firma|firma"))

    assert str(problem.value).startswith(message)


def test_a_message_names_no_more_columns_than_one_reads() -> None:
    """A file may have a thousand of them."""
    with pytest.raises(FileProblem, match=r"'c18', 'c19' and 980 more$"):
        read_mapping("x=email", table_of("|".join(f"c{number}" for number in range(1000))))
