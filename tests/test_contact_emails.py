"""E-mail addresses as people and programs write them; placeholders; mailboxes that many people read."""

from __future__ import annotations

import pytest

from enrichment.contact import Contact, read_contact
from enrichment.roles import is_role_address
from tests.test_contact import problems_of, usable


@pytest.mark.parametrize(
    ("written", "email"),
    [
        ("jane@acme.co", "jane@acme.co"),
        ("  Jane.Doe@ACME.co ", "jane.doe@acme.co"),
        ("mailto:jane@acme.co?subject=hi", "jane@acme.co"),
        ("mailto:jane@acme.co?subject=hi there&cc=joe@acme.co", "jane@acme.co"),
        ("mailto:jane%2Btag@acme.co", "jane+tag@acme.co"),
        ("MAILTO:jane@acme.co", "jane@acme.co"),
        ("<jane@acme.co>", "jane@acme.co"),
        ("Jane Doe <jane@acme.co>", "jane@acme.co"),
        ('"Doe, Jane" <jane@acme.co>', "jane@acme.co"),
        ("'jane@acme.co',", "jane@acme.co"),
        ("jane@acme.co.", "jane@acme.co"),
        ("jane\u200b@acme.co", "jane@acme.co"),
        ("o'jane+tag@mail.acme.co", "o'jane+tag@mail.acme.co"),
        ("jane@bücher.test", "jane@xn--bcher-kva.test"),
        ("jane@BÜCHER.test", "jane@xn--bcher-kva.test"),
        ("jane@straße.test", "jane@xn--strae-oqa.test"),
        ("jane@xn--bcher-kva.test", "jane@xn--bcher-kva.test"),
        ("jane@acme。co", "jane@acme.co"),
        ("jane@acme.test", "jane@acme.test"),
        ("<mailto:jane@acme.co|jane@acme.co>", "jane@acme.co"),
        ("[jane@acme.co](mailto:jane@acme.co)", "jane@acme.co"),
        ("[Jane](mailto:jane@acme.co?subject=hi there)", "jane@acme.co"),
        ('<a href="mailto:jane@acme.co">jane@acme.co</a>', "jane@acme.co"),
        ("jane@acme.co%20", "jane@acme.co"),
        ("%20jane@acme.co%0A", "jane@acme.co"),
        ("jane@acme.co%C2%A0", "jane@acme.co"),
        ("jane%40acme.co", "jane@acme.co"),
        ("jane＠acme.co", "jane@acme.co"),
        ("ｊａｎｅ@acme.co", "jane@acme.co"),
        ("ｊａｎｅ＠ａｃｍｅ．ｃｏ", "jane@acme.co"),
        ("jane@acme.co (work)", "jane@acme.co"),
        ("(work) jane@acme.co", "jane@acme.co"),
        ("jane(work)@acme.co", "jane@acme.co"),
        ("jane@acme.co [work]", "jane@acme.co"),
        ("work: jane@acme.co", "jane@acme.co"),
        ("E-Mail geschäftlich: jane@acme.co", "jane@acme.co"),
        ("Jane@Acme.co <jane@acme.co>", "jane@acme.co"),
        ("mailto://jane@acme.co", "jane@acme.co"),
        ("=jane@acme.co", "jane@acme.co"),
        ("**jane@acme.co**", "jane@acme.co"),
        ("_jane@acme.co_", "jane@acme.co"),
        ("jane@acme.co%22", "jane@acme.co"),
        ("%3Cjane@acme.co%3E", "jane@acme.co"),
        ("jane&#64;acme.co", "jane@acme.co"),
        ("&lt;jane@acme.co&gt;", "jane@acme.co"),
        ("jane%2540acme.co", "jane@acme.co"),
        ("「jane@acme.co」", "jane@acme.co"),
        ("o’jane@acme.co", "o'jane@acme.co"),
        ("jane&doe@acme.co", "jane&doe@acme.co"),
        ("='jane@acme.co'", "jane@acme.co"),
        ('="jane@acme.co"', "jane@acme.co"),
        ("={jane@acme.co}", "jane@acme.co"),
        ("{jane@acme.co}", "jane@acme.co"),
        ("'=jane@acme.co", "jane@acme.co"),
        ('=HYPERLINK("mailto:jane@acme.co")', "jane@acme.co"),
        ("http://jane@acme.co", "jane@acme.co"),
        ("https://jane@acme.co/", "jane@acme.co"),
        ("//jane@acme.co", "jane@acme.co"),
        ("jane%2Bcrm@acme.co", "jane+crm@acme.co"),
        ("jane%2bcrm@acme.co", "jane+crm@acme.co"),
        ("jane%252Bcrm@acme.co", "jane+crm@acme.co"),
        ("o%27brien@acme.co", "o'brien@acme.co"),
        ("jane%2Edoe@acme.co", "jane.doe@acme.co"),
        ("%6Aane%2Bcrm%40acme.co", "jane+crm@acme.co"),
        ("jane@acme.co?cc=joe@acme.co", "jane@acme.co"),
        ("jane @acme.co", "jane@acme.co"),
        ("jane@ acme.co", "jane@acme.co"),
        ("jane @ acme.co", "jane@acme.co"),
        ("jane\u00a0@acme.co", "jane@acme.co"),
        ("jane%20@acme.co", "jane@acme.co"),
    ],
)
def test_an_email_has_one_form(written: str, email: str) -> None:
    """Letter case, width, wrapping, mark-up, comments and the spelling of the domain make no difference.

    RFC 5322 comments; opengovsg/FormSG#222; datacite/bracco#277; Azure SaaS-Accelerator#320.
    """
    assert read_contact(work_email=written) == (Contact(work_email=email), ())
    assert usable(personal_email=written).personal_email == email


@pytest.mark.parametrize(
    "written",
    ["a@x.test;b@y.test", "a@x.test, b@y.test", "a@x.test\nb@y.test", "a@x.test | b@y.test", "a@x.test/b@y.test",
     "a@x.test b@y.test", "a@x.test and b@y.test", "a@x.test oder b@y.test", "Ann <a@x.test>, Bob <b@y.test>",
     "mailto:a@x.test,b@y.test", "['a@x.test', 'b@y.test']", "a@x.test (work); b@y.test (home)",
     "a@x.test、b@y.test"],
)  # fmt: skip
def test_several_addresses_are_several(written: str) -> None:
    """The first is the field's, the second takes the free place, whatever stands between them."""
    assert read_contact(work_email=written) == (Contact(work_email="a@x.test", personal_email="b@y.test"), ())


@pytest.mark.parametrize(
    "written",
    [
        "jane",
        "x",
        "jane@",
        "@acme.co",
        "jane@acme",
        "jane@@acme.co",
        "ja ne@acme.co",
        "ja%20ne@acme.co",
        "jane,doe@acme.co",
        "jane;doe@acme.co",
        "jane@acme,co",
        "jane@acme .co",
        "jane@acme.co m",
        ".jane@acme.co",
        "ja..ne@acme.co",
        "jane@-acme.co",
        "jane@acme-.co",
        "jane@ac_me.co",
        "jane@acme..co",
        "jane@127.0.0.1",
        "jane@[127.0.0.1]",
        "jane@acme.c",
        "jané@acme.co",
        "jane@🚀.test",
        "a" * 65 + "@acme.co",
        "jane@" + ".".join(["a" * 60] * 5) + ".co",
        "https://user:secret@acme.co/path",
        "https://user:secret@acme.co",
        "https://x.test/?email=jane@acme.co",
        "x.test/?email=jane@acme.co",
        "https://x.test/jane@acme.co",
        "ja ne @acme.co",
        "jane @acme.co m",
        "jane @acme .co",
        "ja%2Fne@acme@acme.co",
        "'@acme.co",
        "jan%C3%A9@acme.co",
    ],
)
def test_what_is_no_email_is_named(written: str) -> None:
    """Neither provider can use it; half of an address is not taken for another person's whole one."""
    contact, problems = read_contact(work_email=written)

    assert contact is None
    assert [path for path, _ in problems] == ["work_email"]
    assert "name@company.tld" in problems[0][1]


@pytest.mark.parametrize(
    "written",
    ["jane@example.com", "jane@Example.org", "jane@mail.example.net", "jane@example.co.uk", "jane@acme.invalid",
     "jane@app.localhost", "test@test.com", "jane@test.com", "TEST@acme.co", "test1@acme.co", "test+1@acme.co",
     "test.user@acme.co", "noemail@noemail.com", "noemail@acme.co", "no-email@acme.co", "no_email@acme.co",
     "no.email@acme.co", "none@none.com", "none@acme.co", "na@na.com", "n.a@na.com", "a@a.com", "aa@aa.com",
     "x@x.com", "xxx@xxx.com", "xxxx@acme.co", "aaa@bbb.com", "abc@abc.com", "asdf@asdf.com", "asdf@acme.co",
     "qwerty@acme.co", "unknown@unknown.com", "unknown@acme.co", "undefined@acme.co", "null@acme.co",
     "redacted@hubspot.com", "deleted@acme.co", "anonymous@acme.co", "fake@acme.co", "email@email.com",
     "mail@mail.com", "user@user.com", "you@yourcompany.com", "name@domain.com", "your.name@acme.co",
     "firstname.lastname@acme.co", "not-provided@acme.co", "nobody@acme.co", "keine@acme.co", "info@info.com",
     "foo@bar.com", "x@y.com", "fake@test-test.de", "xyz@xyz.com", "name@company.com", "your@email.com",
     "no@email.com", "changeme@acme.co", "not.an.email@acme.co", "email.needed@acme.co", "temp@temp.com",
     "pasdemail@acme.co"],
)  # fmt: skip
def test_a_placeholder_is_named_and_not_used(written: str) -> None:
    """A placeholder is neither asked about nor shared by two people.

    Sierra Interactive ("the same fake email"); blog.teknkl.com, dummy emails; AWS HealthLake, placeholder filtering.
    """
    contact, problems = read_contact(profile_url="linkedin.com/in/janedoe", personal_email=written)

    assert contact == Contact(profile_url="linkedin.com/in/janedoe")
    assert [path for path, _ in problems] == ["personal_email"]
    assert "placeholder" in problems[0][1]


@pytest.mark.parametrize(
    "written",
    ["nike@nike.com", "smith@smith.com", "jane.test@acme.co", "jane+test@acme.co", "testa@acme.co", "nan@acme.co",
     "na@acme.co", "jane@testing-labs.com", "none.smith@acme.co", "jane.none@acme.co", "jane@acme.test", "jo@acme.co",
     "jane@example-media.com", "nulla@acme.co", "jane@noemail.de", "j@b.co", "foo@acme.co", "jane@company.com",
     "jane@email.com", "temple@temple.com"],
)  # fmt: skip
def test_a_person_is_no_placeholder(written: str) -> None:
    """Names that resemble a placeholder, and companies that bear their founder's name, are people's addresses."""
    assert read_contact(work_email=written) == (Contact(work_email=written), ())


@pytest.mark.parametrize("written", ["{{contact.email}}", "${email}", "%EMAIL%", "[Email]", "<email>", "*|EMAIL|*",
                                     "{email}", "{!Contact.Email}", "%%emailaddr%%", "{{email}}@acme.co",
                                     "%EMAIL%@acme.co", "${email}@acme.co", "$email@acme.co", "#{email}@acme.co",
                                     "%FIRST%.%LAST%@acme.co", "j.%LAST%@acme.co", "{{first}}.{{last}}@acme.co",
                                     "jane@{{domain}}", "jane@{domain}.co", "jane@%DOMAIN%", "__EMAIL__@acme.co",
                                     "%7B%7Bemail%7D%7D@acme.co", "{{email}}@{{domain}}"])  # fmt: skip
def test_an_unfilled_template_is_named(written: str) -> None:
    """NousResearch/hermes-agent#84173: what a template left behind says so."""
    assert "template" in problems_of(work_email=written)["work_email"]


@pytest.mark.parametrize(
    "local",
    ["info", "INFO", "info2", "info-de", "info.uk", "sales", "sales.de", "sales-team", "office", "office.berlin",
     "noreply", "no-reply", "no_reply", "do-not-reply", "noreply+x", "support", "support1", "contact", "contact.us",
     "hello", "hi", "admin", "administrator", "team", "the.team", "hr", "hr.emea", "jobs", "careers", "billing",
     "accounts", "accounts.payable", "marketing", "press", "webmaster", "postmaster", "abuse", "invoice", "invoices",
     "orders", "help", "helpdesk", "service", "customer.service", "customercare", "enquiries", "reception", "mail",
     "kontakt", "buero", "vertrieb", "bewerbung", "rechnung", "buchhaltung", "anfrage", "personal", "zentrale",
     "contacto", "ventas", "administracion", "rrhh", "contato", "vendas", "comercial", "atendimento", "commercial",
     "accueil", "comptabilite", "recrutement", "segreteria", "amministrazione", "vendite", "verkoop", "salg",
     "hola", "hallo", "ola", "ciao", "bonjour", "hej", "hei", "moin", "servus", "kontakte", "vente", "ventes",
     "headoffice", "head-office", "crew", "join", "connect", "sayhello", "say.hello", "letstalk", "getintouch",
     "get-in-touch", "agency", "agentur", "lager", "versand", "versand.berlin", "finanzen", "immobilien",
     "versicherung", "insurance", "leasing", "tickets", "boxoffice", "rathaus", "gemeinde", "pfarramt", "verein",
     "family", "familie", "famille", "family2",
     "faktura", "biuro", "sprzedaz", "iletisim", "acme.info", "acme-sales", "global.sales", "finance", "legal"],
)  # fmt: skip
def test_a_shared_mailbox_is_a_role(local: str) -> None:
    """Many people stand behind it, in any language, with tags, digits and regions. tutanota/tutanota#4186."""
    assert is_role_address(f"{local}@acme.co")


@pytest.mark.parametrize(
    "local",
    ["jane", "jane.doe", "j.doe", "anton.info", "hello.kitty", "steve.jobs", "mary.sales", "john.press", "paul.main",
     "jane+info", "infante", "salesa", "teamer", "contino", "officer", "pl", "de", "uk", "fr", "adminov",
     "helpa", "accountson", "presser", "hector.mail", "postma", "billy", "jobst", "service.jane",
     "ola.nordmann", "karl.lager", "lagerfeld", "familie.doe", "moina", "heidi", "hallo.doe", "joink",
     "rosa.personal", "lm-found--jane", "o'hara"],
)  # fmt: skip
def test_a_person_is_no_role(local: str) -> None:
    """A word within a name, a surname that is also a role, and initials stay a person's."""
    assert not is_role_address(f"{local}@acme.co")


def test_a_role_address_stays_in_the_contact() -> None:
    """A vendor may be asked with it; only as a key it is worth nothing."""
    assert read_contact(work_email="info@acme.co") == (Contact(work_email="info@acme.co"), ())
