"""Read names of people and companies; refuse placeholders."""

from __future__ import annotations

import re

from enrichment.nothing import ALSO_NAMES, NOTHING, is_junk_word, is_nothing, is_nothing_beside_a_name, is_template
from enrichment.texts import TEMPLATE, Unusable, tidy

LONGEST_NAME = 255  # characters; the longest company that Nyne's sibling endpoints take

_PLACEHOLDER = "this is a placeholder; needed is the person's own name"
_FILLERS = frozenset({
    "undefined", "null", "none", "nan", "nil", "n/a", "#n/a", "unknown", "(null)", "<null>", "(unknown)", "(none)",
    "tbd", "tba", "lnu", "fnu", "firstname", "lastname", "givenname", "familyname", "forename", "surname", "vorname",
    "nachname", "apellido", "apellidos", "cognome", "sobrenome", "voornaam", "achternaam", "фамилия",
})  # fmt: skip
# Phrases for a missing part; those with dots may be initials.
_MISSING = frozenset(phrase for phrase in NOTHING if " " in phrase and "." not in phrase) | {
    "first name", "last name", "family name", "given name", "no first name", "no last name", "no lastname",
    "no surname", "no family name", "name unknown", "last name unknown", "unknown last name", "last name missing",
    "missing last name", "last name not provided", "kein nachname", "ohne nachname", "sin apellido", "sin apellidos",
    "sans nom", "senza cognome", "sem sobrenome",
}  # fmt: skip
# NotProvided, No-Last-Name; a shorter one may be a name: Noone.
_MISSING_WORDS = frozenset(word for phrase in _MISSING if len(word := "".join(filter(str.isalnum, phrase))) > 6)
_LONGEST_MISSING = max(phrase.count(" ") + 1 for phrase in _MISSING)
# The names of a name's fields, beside the junk words of English and its neighbours.
_WORDS_OF_FIELDS = """
имя фамилия отчество фио имʼя ім'я прізвище imię imie nazwisko jméno jmeno příjmení prijmeni meno priezvisko név
vezetéknév keresztnév adı soyad soyadı isim soyisim nume prenume ime prezime naam navn fornavn etternavn efternavn
förnamn efternamn etunimi sukunimi όνομα επώνυμο שם משפחה الاسم 姓名 名前 氏名 姓 名 이름 성명
"""
_FIELDS = frozenset(_WORDS_OF_FIELDS.split())
_WORDS_OF_NAME_FIELDS = """
first last middle given family name names firstname lastname middlename givenname familyname fullname forename surname
fname lname vorname nachname nom prénom prenom nombre apellido apellidos nome cognome sobrenome voornaam achternaam
"""
_NAME_FIELDS = frozenset(_WORDS_OF_NAME_FIELDS.split()) | _FIELDS
_WHOSE_FIELDS = frozenset({"contact", "lead", "person", "user", "customer", "client", "your", "the"})
_WORDS_OF_TITLES = """
mr mrs ms miss mx dr prof professor sir dame lord lady rev hon herr frau hr fr dipl ing mag sr sra srta señor señora
don doña mme mlle monsieur madame sig signor signora dott dhr mevr mw pan pani
"""
_TITLES = frozenset(_WORDS_OF_TITLES.split())
_WORDS_OF_REMARKS = """
do not call|do not contact|do not use|do not email|do not mail|delete me|please delete|duplicate contact|former member
former employee|website visitor|website lead|web lead|wireless caller|unknown caller|sales team|support team
click here|contact us|ad soyad|object object|true false|system administrator|admin admin|info info
"""
_REMARKS = frozenset(_WORDS_OF_REMARKS.strip().replace("\n", "|").split("|"))
# Words behind a name that are no second name.
_WORDS_BEHIND_A_NAME = """
jr jnr junior sr snr senior ii iii iv 2nd 3rd 4th phd dphil mphil edd psyd pharmd md dds dmd dvm mba emba msc bsc meng
beng mph mpa jd llm llb esq cpa cfa cfp pmp rn cissp
"""
_BEHIND_A_NAME = frozenset(_WORDS_BEHIND_A_NAME.split())
# These are names, too, unless they are written as a degree: Li Meng, LI MENG, but Jane MEng, Jane MD.
_ALSO_NAMES_BEHIND = frozenset({"md", "ii", "jd", "rn", "meng", "beng", "mba", "edd"})
_FIRST_NAMES_BEHIND = frozenset({"junior", "senior"})  # Carlos Junior
_SITES = "linkedin|facebook|google|instagram|twitter|whatsapp|telegram|tiktok|xing|apple|hubspot|slack|zoom|website"
_NOT_PEOPLE = re.compile(
    rf"(?:{_SITES}) (?:member|user|lead|contact|visitor|guest|customer)|.*\((?:sample|test|demo)(?: contact| lead)?\)",
    re.IGNORECASE,
)
_APART = re.compile(r"[\s.,;:_()-]+|#\d+")
_PERCENT_FIELD = re.compile(r"(?<!\S)%%?[^\W\d]\w*%%?(?!\S)")
_FIELD = re.compile(r"\[\[?([\w .:'-]{1,40})\]\]?|<([\w .:'-]{1,40})>|(?<!\S)\$([^\W\d][\w.]{1,40})(?!\S)")
_WORDS_OF_NOT_COMPANIES = """
test|testing|company|company name|your company|my company|test company|example company|sample company|test inc
unknown company|organization|organisation|example|sample|dummy|asdf|qwerty|test gmbh|firma|firmenname|musterfirma
muster gmbh|mustermann gmbh|nombre de la empresa|nom de l'entreprise
"""
_NOT_COMPANIES = frozenset(_WORDS_OF_NOT_COMPANIES.strip().replace("\n", "|").split("|"))
# Scripts that write a whole name without a space: Thai, Lao, Myanmar, Khmer, Hangul, kana, Han.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)


def read_name(text: str) -> str | None:
    """Return the tidied *text* as a person's name; None for a word for nothing. Raise Unusable."""
    if not _holds_something(text):
        return None
    if _has_unfilled_part(text):
        raise Unusable(TEMPLATE)
    while (rest := tidy(_without_fillers(text))) != text:  # a joiner that stood behind a filler joins nothing
        text = rest
    if is_nothing(text.strip(",;")):
        return None
    if _NOT_PEOPLE.fullmatch(text) or _is_junk(text.casefold()):
        raise Unusable(_PLACEHOLDER)
    if "@" in text or "://" in text or "linkedin.com" in text.lower():
        raise Unusable("this is an address, not a name")
    if not any(map(str.isalpha, text)):
        raise Unusable("a name with letters")
    return text


def _is_junk(folded: str) -> bool:
    """Tell whether the name fills a form, or says what the record is: FIRST_NAME LAST_NAME, Lead #123, Do not call."""
    words = [word for word in _APART.split(folded) if word]
    if " ".join(words) in _REMARKS:
        return True
    # Test123; a number alone may tell people apart: Person 1
    return bool(words) and all(_is_junk_word(word.rstrip("0123456789") or word) for word in words)


def _is_junk_word(word: str) -> bool:
    return is_junk_word(word) or word in _FIELDS


def _has_unfilled_part(text: str) -> bool:
    """Tell whether a part of the name is a template: Jane [Last Name], Jane %LASTNAME%. Jane Doe [VIP] has none."""
    if _PERCENT_FIELD.search(text):
        return True
    fields = ("".join(filter(None, found.groups())) for found in _FIELD.finditer(text))
    for field in fields:
        words = set(filter(None, re.split(r"[\W_]+", field.casefold())))
        if words & _NAME_FIELDS and words <= _NAME_FIELDS | _WHOSE_FIELDS:
            return True
    return False


def _without_fillers(name: str) -> str:
    """Remove fillers for a missing part from either end: "Jane undefined", "Jane -", "Jane Not Provided"."""
    words = name.split(" ")
    while count := _fillers(words[:0:-1], backwards=True):
        del words[-count:]
    while count := _fillers(words[:-1], backwards=False):
        del words[:count]
    return " ".join(words)


def _fillers(words: list[str], *, backwards: bool) -> int:
    """Return how many words the filler has with which *words* begin; 0 if there is none."""
    for count in range(min(_LONGEST_MISSING, len(words)), 1, -1):
        phrase = words[:count][::-1] if backwards else words[:count]
        if " ".join(phrase).casefold().strip("()[],;") in _MISSING:
            return count
    return int(bool(words) and _is_filler(words[0]))


def _is_filler(word: str) -> bool:
    folded = word.casefold()
    bare = folded if folded.isalnum() else "".join(filter(str.isalnum, folded))
    return not bare or bare in _MISSING_WORDS or (folded in _FILLERS and word not in ALSO_NAMES)


def read_company(text: str) -> str | None:
    """Return the tidied *text* as a company's name; None for a word for nothing. Raise Unusable."""
    if not _holds_something(text):
        return None
    if text.casefold() in _NOT_COMPANIES:
        raise Unusable("this is a placeholder; needed is the company's own name")
    return text


def join_names(first: str | None, last: str | None) -> str | None:
    """Join the parts of a name; leave out a part that is a word for nothing."""
    parts = [part for part in (first, last) if part]
    if len(parts) > 1:
        parts = [part for part in parts if not is_nothing_beside_a_name(part)]
    return " ".join(parts) or None


def is_whole_name(name: str) -> bool:
    """Tell whether *name* alone can name a person: two words, or an unspaced script.

    Titles, initials, generations (Jr) and degrees (PhD) do not count.
    """
    words = [word for word in name.split() if not _is_filler(word) and word.strip(".,").casefold() not in _TITLES]
    while len(words) > 1 and _is_behind_a_name(words[-1], words[0]):
        words.pop()
    initials = all(word.isalpha() and len(word) == 1 for word in (word.strip(".,") for word in words))
    two = len(words) > 1 and not initials
    return two or len(_UNSPACED.findall(name)) > 1


def _is_behind_a_name(word: str, first: str) -> bool:
    bare = word.strip(",()").replace(".", "")
    folded = bare.casefold()
    if folded not in _BEHIND_A_NAME or folded in _FIRST_NAMES_BEHIND:
        return False
    same_case = len(bare) > 2 and (bare.isupper(), bare.islower()) == (first.isupper(), first.islower())
    alike = bare.istitle() or (same_case and (bare.isupper() or bare.islower()))
    return folded not in _ALSO_NAMES_BEHIND or not alike or "." in word


def _holds_something(text: str) -> bool:
    """Tell whether *text* is a value at all. Raise Unusable for templates and overlong texts."""
    if len(text) > LONGEST_NAME:
        raise Unusable(f"at most {LONGEST_NAME} characters")
    if is_nothing(text):
        return False
    if is_template(text):
        raise Unusable(TEMPLATE)
    return True
