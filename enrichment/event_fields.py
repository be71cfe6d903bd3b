"""Recognise the fields of a contact by the names that CRMs, forms and tools use, and read their values by type."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

from enrichment.contact import Problem
from enrichment.nothing import is_nothing, is_template
from enrichment.texts import LONGEST_INPUT

TEXT_FIELDS = (
    "profile_url",
    "work_email",
    "personal_email",
    "name",
    "first_name",
    "last_name",
    "company",
    "region",
)
FIELDS = (*TEXT_FIELDS, "record_id", "event_id", "providers")
IGNORED = "ignore"  # the value in GENERIC_FIELDS for a field that is not the contact's

# Other names of our fields, as fold_field writes them; our own name comes first.
_NAMES = {
    "profile_url": """
        profileurl linkedinurl linkedin linkedinprofile linkedinprofileurl linkedinprofilelink linkedinlink
        linkedinpage linkedinuri linkedinaddress linkedinaccount linkedinhandle linkedinslug linkedinusername
        linkedinpublicid linkedinpublicurl linkedinpublicprofile linkedinpublicprofileurl
        linkedinpublicidentifier publicprofileurl publicidentifier hslinkedinurl hslinkedin personlinkedinurl
        personlinkedin contactlinkedin contactlinkedinurl leadlinkedinurl socialmediaurl sociallinkedin
        profile profilelink profileuri linkedinmemberid linkedinurn liurl liprofile liprofileurl
        salesnavigatorurl salesnavigator salesnavurl linkedinsalesnavigatorurl linkedinsalesnavurl
        linkedincontact linkedincontactprofileurl mylinkedin mylinkedinprofile linkedinprofil linkedinperfil
        urllinkedin linkedinvanityname linkedinvanity linkedinvanityurl
    """,
    "work_email": """
        workemail email emailaddress workemailaddress mail mailaddress emailwork workmail businessemail
        businessemailaddress emailbusiness companyemail corporateemail professionalemail officeemail
        officialemail primaryemail primaryemailaddress emailprimary mainemail contactemail contactemailaddress
        leademail personemail emails emailaddresses email1 emailaddress1 emailaddr emailid useremail
        customeremail hsemail emailwork1 emailadresse mailadresse geschaeftlicheemail correo correoelectronico
        courriel adressemail adresseemail
    """,
    "personal_email": """
        personalemail personalemailaddress privateemail privateemailaddress privatemail emailpersonal
        emailprivate emailhome homeemail homeemailaddress personalmail email2 emailaddress2 secondaryemail
        secondaryemailaddress secondemail alternateemail alternativeemail altemail otheremail otheremails
        additionalemail additionalemails hsadditionalemails personalemails emailprivat privateemailadresse
    """,
    "name": """
        name fullname contactname displayname personname leadname completename contactfullname namefull
        vollername nombrecompleto nomcomplet
    """,
    "first_name": """
        firstname givenname forename fname first namefirst contactfirstname leadfirstname personfirstname
        vorname prenom prénom
    """,
    "last_name": """
        lastname surname familyname lname last namelast contactlastname leadlastname personlastname nachname
        nomdefamille apellido apellidos
    """,
    "company": """
        company companyname organization organisation organizationname organisationname orgname org employer
        employername account accountname business businessname currentcompany currentcompanyname firma
        unternehmen firmenname associatedcompany associatedcompanyname companyorganization worksat empresa
        entreprise societe
    """,
    "region": """
        region country countrycode countryname countryregion hscountryregioncode countryiso countryiso2
        countryalpha2 isocountry isocountrycode regioncode mailingcountry mailingcountrycode addresscountry
        addresscountrycode locationcountry phonecountry phoneregion land pais pays
    """,
    "record_id": """
        recordid crmid crmrecordid contactid leadid personid hsobjectid vid externalid objectrecordid
    """,
    "event_id": """
        eventid eventuuid eventuid idempotencykey
    """,
    "providers": """
        providers provider
    """,
}
_KNOWN = {name: field for field, names in _NAMES.items() for name in names.split()}
# Names that say so without a value in the form of one: of a text inside an object that is not understood.
_IDENTIFIERS = frozenset(
    name for field in ("profile_url", "work_email", "personal_email") for name in _NAMES[field].split()
) - {"profile"}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LINKEDIN = re.compile(r"linked[ _-]?in", re.IGNORECASE)  # LinkedIn would be two words
_IDENTIFYING_WORDS = frozenset({"mail", "email", "emails", "mails", "linkedin", "profile"})
# Words that make a field one about an identifier, not an identifier itself: email_status, linkedin_followers.
_WORDS_OF_ABOUT_IDENTIFIERS = """
status type verified valid validity verification confidence score source count date at on time optout opt out in
bounced bounce domain provider quality followers connections headline picture photo image title industry score name
subject body text template owner phone mobile tel telephone number consent subscribed subscription preference
preferences permission campaign list lists language locale id sent opened clicked open opens click clicks reply
replies last first created updated active enabled disabled flag completeness views
"""
_ABOUT_IDENTIFIERS = frozenset(_WORDS_OF_ABOUT_IDENTIFIERS.split())
# linkedin_id and linkedin_profile_name are a person's, linkedin_campaign_id and linkedin_lead_id are not.
_WORDS_OF_PERSONS_ID = """
linkedin id ids name names profile profiles member vanity public user person people contact handle slug urn
key identifier url sales nav navigator uid
"""
_PERSONS_ID = frozenset(_WORDS_OF_PERSONS_ID.split())
# LinkedIn's ids of persons, wherever they stand. https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/urns
_MEMBER = re.compile(r"ac[a-z]aa[a-z0-9_-]{34}|urn:li:(?:member|person|[a-z_]*profile):\S+", re.IGNORECASE)
# Fewer words than elsewhere: an id such as "x" or "na" may be one.
_WORDS_OF_NO_ID = """
undefined null none nil nan nat n/a #n/a #ref! false true blank empty missing
"""
_NO_ID = frozenset(_WORDS_OF_NO_ID.split())
_SHEET_NUMBER = re.compile(r"(\d+)\.0+")
_SHOWABLE = re.compile(r"[\w .:/-]{1,64}")
MOST_FIELDS = 500  # of one contact
MOST_VALUES = 20  # of one field
_LONGEST_NAME = 100  # characters of a field's name
_MOST_NODES, _DEEPEST = 200, 6  # searched in one unknown value


def field_of(name: str, mapped: Mapping[str, str]) -> str | None:
    """Return our field for *name*, IGNORED, or None; *mapped* is GENERIC_FIELDS with folded names."""
    if not mapped and name in FIELDS:
        return name
    folded = fold_field(name)
    return mapped.get(folded) or _KNOWN.get(folded)


def fold_field(name: str) -> str:
    """Fold a field's name, so that case, spaces, hyphens, underscores and dots make no difference."""
    return _fold(name) if len(name) <= _LONGEST_NAME else ""


@lru_cache(maxsize=2048)
def _fold(name: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def comes_first(name: str, field: str, mapped: Mapping[str, str]) -> bool:
    """Tell whether *name* is our own name of *field*, or one from GENERIC_FIELDS: these precede all other names."""
    if name == field:
        return True
    folded = fold_field(name)
    return folded in mapped or folded == field.replace("_", "")


def shown(name: str, index: int) -> str:
    """Return the path of a field that the sender named: its name, unless the name itself may be personal data."""
    if name in FIELDS:
        return name
    name = name.strip()
    return name if _SHOWABLE.fullmatch(name) and "linkedin.com" not in name.lower() else f"[{index}]"


def texts_of(path: str, value: Any, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Yield (path, text) for each usable text in *value*; skip null, false, zero and empty values."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        if len(value) > MOST_VALUES:
            problems.append((path, f"at most {MOST_VALUES} values; the others are not read"))
        for index, one in enumerate(value[:MOST_VALUES]):
            if isinstance(one, list):
                problems.append((f"{path}[{index}]", "text, not a list in a list"))
            else:
                yield from texts_of(f"{path}[{index}]", one, problems)
    elif value:  # an object, a number, true
        kind = "an object" if isinstance(value, dict) else "true" if value is True else "a number"
        problems.append((path, f"text, not {kind}"))


def id_of(path: str, value: Any, longest: int, problems: list[Problem], *, deepest: int = _DEEPEST) -> str | None:
    """Return an id as text: 20002 for the numbers 20002 and 20002.0; None if it is missing or not an id."""
    if isinstance(value, list) and deepest:
        inner = enumerate(value[:MOST_VALUES])
        found = [id_of(f"{path}[{index}]", one, longest, problems, deepest=deepest - 1) for index, one in inner]
        return next(filter(None, found), None)
    if value is None or value is False or value in ({}, []):
        return None
    if isinstance(value, bool | dict | list):
        problems.append((path, "an id as text or as a whole number"))
        return None
    text = _id_text(value)
    if text is None:
        problems.append((path, "an id as text or as a whole number"))
    elif len(text) > longest:
        problems.append((path, f"at most {longest} characters"))
    elif not _is_storable(text):
        problems.append((path, "text without NUL characters, in whole Unicode characters"))
    else:
        return text
    return None


def _id_text(value: str | int | Decimal) -> str | None:
    if isinstance(value, str):
        text = value.strip()
        if _is_filler(text):
            return ""
        sheet = _SHEET_NUMBER.fullmatch(text) if len(text) < 60 else None
        return sheet[1] if sheet else text
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() and abs(value) < 10**40 else None
    return str(value)


def _is_filler(text: str) -> bool:
    """Tell whether *text* is a filler in place of an id: undefined, null, {{event.id}}."""
    if len(text) > 200:
        return False
    if text.isascii() and text.isalnum():
        return text.lower() in _NO_ID
    folded = text.casefold().strip("()[]<>\"' ")
    return folded in _NO_ID or not any(map(str.isalnum, folded)) or is_template(text)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def looks_identifying(name: str, value: Any) -> bool:
    """Tell whether an unknown field seems to hold an identifier, by its value or its name."""
    if value is None or isinstance(value, bool) or not value:
        return False
    if isinstance(value, int | Decimal):  # linkedin_id 12345678, but not profile_id 5
        return _is_linkedin_id(_words(name))
    if _holds_identifier(value):
        return True
    if isinstance(value, str) and is_nothing(" ".join(value[:100].split())):
        return False
    return _is_named_as_identifier(name)


def _is_named_as_identifier(name: str) -> bool:
    words = _words(name)
    if _is_linkedin_id(words):
        return True
    return bool(_IDENTIFYING_WORDS & words) and not _ABOUT_IDENTIFIERS & words


def _words(name: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(_LINKEDIN.sub(" linkedin ", name[:200]))}


def _is_linkedin_id(words: set[str]) -> bool:
    return "linkedin" in words and words <= _PERSONS_ID


def _holds_identifier(value: Any) -> bool:
    """Tell whether *value* contains an identifier, by its own form or by the name of its place."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    for _ in range(_MOST_NODES):
        if not waiting:
            return False
        one, depth = waiting.pop()
        if isinstance(one, str):
            if _is_identifier(one):
                return True
        elif isinstance(one, list | dict) and depth < _DEEPEST:
            if isinstance(one, dict) and any(_is_named_text(*item) for item in islice(one.items(), _MOST_NODES)):
                return True
            parts = one.values() if isinstance(one, dict) else one
            waiting.extend((part, depth + 1) for part in islice(parts, _MOST_NODES))
    return False


def _is_named_text(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and not is_nothing(" ".join(value[:100].split()))
        and (fold_field(name) in _IDENTIFIERS or _is_named_as_identifier(name))
    )


def _is_identifier(text: str) -> bool:
    """Tell whether *text* is an e-mail address, a LinkedIn URL or a member's id, and no longer text with one."""
    if len(text) > LONGEST_INPUT:
        return False
    if _MEMBER.fullmatch(text.strip()):
        return True
    lower = text.lower()
    if "linkedin.com/" in lower and len(text.split()) < 3:
        return True
    before, at, behind = text.partition("@")
    domain = behind.split(maxsplit=1)[0] if behind.strip() else ""
    return bool(at and before[-1:].strip() and behind[:1].strip()) and "." in domain and len(text.split()) < 4
