"""Names of people, companies and countries; words for nothing; placeholders."""

from __future__ import annotations

import pytest

from enrichment.contact import Contact, read_contact
from tests.test_contact import problems_of, usable

NOTHING = [
    *(
        "",
        "   ",
        "\u200b",
        "-",
        "--",
        "—",
        "…",
        "?",
        ".",
        "_",
        "/",
        "0",
        "00",
        "0.0",
        "N/A",
        "n/a",
        "n.a.",
        "N.A",
        "na",
    ),
    *(
        "nan",
        "NaN",
        "nil",
        "null",
        "NULL",
        "None",
        "undefined",
        "Unknown",
        "(blank)",
        "(none)",
        "[null]",
        "<null>",
        "<NA>",
    ),
    *(
        "#N/A",
        "#REF!",
        "#NAME?",
        "#VALUE!",
        "#DIV/0!",
        "#NULL!",
        "#NV",
        "#BEZUG!",
        "TBD",
        "t.b.d.",
        "no email",
        "No E-Mail",
    ),
    *(
        "not provided",
        "Not Available",
        "not set",
        "missing",
        "empty",
        "blank",
        "false",
        "keine",
        "keine Angabe",
        "k.A.",
    ),
    *(
        "unbekannt",
        "ninguno",
        "sin correo",
        "aucun",
        "inconnu",
        "nenhum",
        "não informado",
        "nessuno",
        "geen",
        "brak",
        "нет",
    ),
    *("なし", "无", "n/a n/a", "null, null", "N/A - N/A", "\\N", "'null'", "*none*"),
]


@pytest.mark.parametrize("field", ["profile_url", "work_email", "personal_email", "name", "company", "region"])
@pytest.mark.parametrize("written", NOTHING)
def test_a_word_for_nothing_is_a_field_not_given(field: str, written: str) -> None:
    """What a CRM, a form or a spreadsheet writes for nothing is silently nothing, alone and beside good fields.

    PostHog/posthog#5527, posthog-js 1.364.0; AWS HealthLake, placeholder list; sentinl/sentinl#53.
    """
    beside, problems = read_contact(**({"work_email": "jane@acme.co", "personal_email": "j@b.co"} | {field: written}))
    alone, complaints = read_contact(**{field: written})

    assert beside is not None
    assert getattr(beside, field) is None
    assert problems == ()
    assert alone is None
    assert [path for path, _ in complaints] == [""]


@pytest.mark.parametrize(
    "written",
    ["First Last", "first last", "Firstname Lastname", "First Name Last Name", "Test Test", "test", "Test User",
     "Asdf Asdf",
     "qwerty", "xxx xxx", "aaa bbb", "Foo Bar", "Your Name", "Full Name", "Name", "Vorname Nachname",
     "Mustermann",
     "Nombre Apellido", "Unknown Contact", "Unnamed Person", "Anonymous User", "Sample Contact",
     "New Lead",
     "Maria Johnson (Sample Contact)", "LinkedIn Member", "Deleted User", "Example Person", "Null User",
     "FIRST_NAME LAST_NAME", "first-name last-name", "Lead #123", "Do Not Call",
     "DO NOT CONTACT", "Delete me", "Duplicate Contact", "Former Member", "Website Visitor", "Wireless Caller",
     "Admin Admin", "Facebook User", "WhatsApp Contact", "Имя Фамилия", "имя", "Imię Nazwisko", "Test123 Test",
     "Test1 Test2", "Lastname"],
)  # fmt: skip
def test_a_placeholder_name_is_named(written: str) -> None:
    """A name that fills a form looks like a value, and is not one: it is named, and nothing is asked by it."""
    contact, problems = read_contact(name=written)

    assert contact is None
    assert [path for path, _ in problems] == ["name"]


@pytest.mark.parametrize(
    "written",
    ["{{contact.firstname}} {{contact.lastname}}", "{{contact.firstname}} Doe", "${name}", "%FIRSTNAME%",
     "[First Name]",
     "%FIRSTNAME% %LASTNAME%", "[First Name] [Last Name]", "<name>", "*|FNAME|*", "{!Contact.Name}",
     "<%= name %>", "{name}",
     "%%name%%", "$name", "[[name]]", "{% name %}", "#{name}", "__NAME__", "[object Object]"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["name", "company"])
def test_an_unfilled_template_is_named(field: str, written: str) -> None:
    """NousResearch/hermes-agent#84173: an unrendered template is no name, and two of them are not one person."""
    contact, problems = read_contact(work_email="jane@acme.co", **{field: written})

    assert contact == Contact(work_email="jane@acme.co")
    assert [path for path, _ in problems] == [field]
    assert "template" in problems[0][1]


@pytest.mark.parametrize(
    "written", ["Jane [Last Name]", "Jane %LASTNAME%", "Jane <last>", "[First Name] Doe", "Jane $lastname",
                "Jane [[lastname]]", "Jane %%last_name%%", "Jane <Contact.LastName>",
                "Jane [Contact: Last Name]"],
)  # fmt: skip
def test_a_part_that_was_not_filled_in_is_named(written: str) -> None:
    """Half a template is no name: it would be the name of every person with that first name."""
    contact, problems = read_contact(work_email="jane@acme.co", name=written)

    assert contact == Contact(work_email="jane@acme.co")
    assert "template" in dict(problems)["name"]


@pytest.mark.parametrize(
    "written",
    ["Not Provided Not Provided", "Keine Angabe Keine Angabe", "not known, not known", "No Name No Name",
     "No Name Lastname"],
)  # fmt: skip
def test_a_phrase_for_nothing_twice_is_no_name(written: str) -> None:
    """A form that copies its phrase into both parts gives none."""
    assert read_contact(work_email="jane@acme.co", name=written)[0] == Contact(work_email="jane@acme.co")
    assert read_contact(name=written)[0] is None


@pytest.mark.parametrize(
    "written",
    ["Anton Info", "Na Li", "Nan Goldin", "Jennifer Null", "Malcolm X", "J. Doe", "Test Müller", "Guest Smith",
     "山田太郎", "김민수", "Jane 2", "María de la O", "Jean-Luc", "Foo Fighter", "Dr. No",
     "Jane Doe [VIP]", "Jane (JD) Doe", "Ng Li", "James Last", "Mueller K. A.", "Too $hort", "Jane Doe [Acme]",
     "Jane <JD> Doe", "Lead Belly", "Ad", "Person 1", "Lead 123", "Jane Doe [Customer]", "Jane 100%"],
)  # fmt: skip
def test_a_name_that_resembles_nothing_is_a_name(written: str) -> None:
    """Surnames that are words for nothing, initials, digits, brackets and any script are kept as written."""
    assert usable(work_email="jane@acme.co", name=written).name == written


@pytest.mark.parametrize(("written", "name"), [("Jane Doe undefined", "Jane Doe"), ("null Jane Doe", "Jane Doe"),
                                               ("Jane Doe -", "Jane Doe"), ("Jane undefined", "Jane"),
                                               ("Jane Not Provided", "Jane"), ("Jane Lastname", "Jane"),
                                               ("Jane No Last Name", "Jane"), ("Jane NotProvided", "Jane"),
                                               ("Jane No-Last-Name", "Jane"), ("Jane -lastname-", "Jane"),
                                               ("Peter Noone", "Peter Noone"), ("Jane (last name unknown)", "Jane"),
                                               ("Keine Angabe Doe", "Doe"), ("Firstname Doe", "Doe")])  # fmt: skip
def test_a_part_that_was_not_there_is_left_out(written: str, name: str) -> None:
    """What a template wrote for a missing part is no part of the name: it would contradict the same name elsewhere."""
    assert usable(work_email="jane@acme.co", name=written).name == name


@pytest.mark.parametrize("written", ["John", "John -", "John null", "O'Doe", "Dr.", "子", "Mr Smith", "Dr. Doe",
                                     "Frau Dr. Müller", "J. D.", "John TBD", "John (unknown)",
                                     "FNU Doe", "Jane Jr", "Jane Jr.", "Jane, PhD", "Jane Ph.D.", "Jane MBA",
                                     "Jane MD", "Jane M.D., MBA", "Jane MEng", "Jane M.Eng.", "S. K. MD",
                                     "Smith Jr", "Jane III", "Jane 3rd", "Dr. Jane MD",
                                     "Jane Not Provided", "Jane Lastname"])  # fmt: skip
def test_a_first_name_alone_is_nobody(written: str) -> None:
    """A single word without another identifier is not asked about, with or without a company. monicahq/monica#1687."""
    for company in (None, "Acme"):
        contact, problems = read_contact(name=written, company=company)

        assert contact is None
        assert [path for path, _ in problems] == ["name"]
        assert "not enough" in problems[0][1]


@pytest.mark.parametrize(
    "written",
    [
        "山田太郎",
        "김민수",
        "สมชาย",
        "Jane Doe",
        "J Doe",
        "Dr. Jane Doe",
        "Mr J Doe",
        "Jane Doe PhD",
        "Jane Doe Jr.",
        "Md Rahman",
        "Naomasa Ii",
        "Yo-Yo Ma",
        "Junior Santos",
        "Carlos Junior",
        "John Senior",
        "Li Meng",
        "LI MENG",
        "li meng",
        "Tan Beng",
        "Emeka Mba",
    ],
)
def test_a_whole_name_is_enough(written: str) -> None:
    """Two words are a name; so is one in a script that writes names without a space."""
    assert read_contact(name=written) == (Contact(name=written), ())


@pytest.mark.parametrize("written", ["jane@acme.co", "https://acme.co", "linkedin.com/in/jane", "12345", "+1 555 0100"])
def test_what_is_no_name_is_named(written: str) -> None:
    """Addresses and numbers in the name's field are not asked about as names."""
    assert list(problems_of(name=written)) == ["name"]


@pytest.mark.parametrize("field", ["name", "company"])
def test_an_overlong_name_is_named_and_dropped(field: str) -> None:
    """255 characters are a name, 256 are not; the rest of the contact is used."""
    long, problems = read_contact(work_email="jane@acme.co", **{field: "ab" * 128})

    assert getattr(usable(work_email="jane@acme.co", **{field: "a" + "bc" * 127}), field) == "a" + "bc" * 127
    assert long == Contact(work_email="jane@acme.co")
    assert [path for path, _ in problems] == [field]


@pytest.mark.parametrize("written", ["Company Name", "test", "Your Company", "Example"])
def test_a_placeholder_company_is_named(written: str) -> None:
    """A company that fills a form would make namesakes one person."""
    assert list(problems_of(name="Jane Doe", company=written)) == ["company"]


@pytest.mark.parametrize(
    "written", ["3M", "1984", "Acme & Söhne", "First Company Inc", "Test & Measure GmbH", "None Such"]
)
def test_a_company_that_resembles_nothing_is_a_company(written: str) -> None:
    """Digits and odd words are companies' names."""
    assert usable(name="Jane Doe", company=written).company == written


@pytest.mark.parametrize(
    ("written", "region"),
    [("us", "US"), (" De ", "DE"), ("UK", "GB"), ("EL", "GR"), ("USA", "US"), ("usa", "US"), ("U.S.A.", "US"),
     ("U.S.", "US"),
     ("United States", "US"), ("United States of America", "US"), ("en-US", "US"), ("en_us", "US"),
     ("de_AT.UTF-8", "AT"),
     ("zh-Hant-TW", "TW"), ("pt-BR", "BR"), ("US-NY", "US"), ("GB-ENG", "GB"), ("germany", "DE"), ("Deutschland", "DE"),
     ("DEUTSCHLAND", "DE"), ("Allemagne", "DE"), ("DEU", "DE"), ("GBR", "GB"), ("Great Britain", "GB"),
     ("England", "GB"),
     ("Österreich", "AT"), ("Oesterreich", "AT"), ("osterreich", "AT"), ("Schweiz", "CH"), ("España", "ES"),
     ("espana", "ES"),
     ("The Netherlands", "NL"), ("Holland", "NL"), ("Brasil", "BR"), ("Côte d’Ivoire", "CI"), ("Cote d'Ivoire", "CI"),
     ("Germany (DE)", "DE"), ("Boston, Massachusetts, United States", "US"), ("Berlin, Germany", "DE"), ("日本", "JP"),
     ("Россия", "RU"), ("Türkiye", "TR"), ("Korea", "KR"), ("UAE", "AE"), ("Czech Republic", "CZ"), ("Viet Nam", "VN"),
     ("Hong Kong, China", "HK"), ("Kowloon, Hong Kong, China", "HK"), ("Hong Kong (CN)", "HK"),
     ("Hong Kong SAR China", "HK"), ("Macau, China", "MO"), ("Macao, China", "MO"), ("Taiwan, China", "TW"),
     ("Taipei, Taiwan, China", "TW"), ("Taiwan, Province of China", "TW"), ("Beijing, China", "CN"),
     ("Saint-Denis, Réunion, France", "RE"), ("Gibraltar, United Kingdom", "GI"), ("Nuuk, Greenland, Denmark", "GL"),
     ("Macau, Brazil", "BR"), ("Tbilisi, Georgia", "GE"), ("Georgia", "GE"), ("Atlanta, Georgia, United States", "US"),
     ("🇩🇪", "DE"), ("🇬🇧", "GB"), ("🇩🇪 Germany", "DE"), ("Germany 🇩🇪", "DE"), ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", "GB"),
     ("🇭🇰 Hong Kong, China", "HK")],
)  # fmt: skip
def test_a_country_is_read_as_people_write_it(written: str, region: str) -> None:
    """Two letters, three, names in several languages, locales and the end of a place are one country."""
    assert read_contact(name="Jane Doe", region=written) == (Contact(name="Jane Doe", region=region), ())


@pytest.mark.parametrize("written", ["U", "1A", "ßs", "EU", "XX", "Europe", "EMEA", "US-CA", "Atlanta, GA",
                                     "Atlanta, Georgia", "🇪🇺", "🇽🇽", "🇩🇪 France", "🇩🇪🇫🇷", "🇩🇪 Nowhere",
"California",
                                     "Nowhere", "+49", "us-east-1", "a" * 2000])  # fmt: skip
def test_what_is_no_country_is_named_and_not_fatal(written: str) -> None:
    """A country that cannot be read, or is one of two, is named; the contact is used without."""
    contact, problems = read_contact(name="Jane Doe", region=written)

    assert contact == Contact(name="Jane Doe")
    assert [path for path, _ in problems] == ["region"]
    assert "ISO 3166" in problems[0][1]
