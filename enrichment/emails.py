"""Read e-mail addresses from texts, whatever people and programs write around them."""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import unquote

from enrichment.nothing import is_junk_word, is_template
from enrichment.texts import TEMPLATE, Unusable, unwrap

LONGEST_EMAIL = 254  # characters; https://www.rfc-editor.org/errata/eid1690
LONGEST_WIDE = 400  # characters of a text in which full-width letters are read
_MOST_LAYERS = 4  # of encoding or quoting around one address
LONGEST_LOCAL_PART = 64  # characters; RFC 5321, 4.5.3.1.1

_WANTED = "one e-mail address, like name@company.tld"
_PLACEHOLDER = "this is a placeholder; needed is the person's own address, like name@company.tld"
# A question mark belongs to a URL, x.test/?email=jane, whatever RFC 5322 allows.
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP_LEVEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")

_PLAIN = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_EDGE = re.compile(r"(?:%20|%0a|%0d|%09|%c2%a0|%e2%80%8b|%ef%bb%bf|%22|%2c|%3b|%3c|%3e|&nbsp;)", re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=[a-z])’(?=[a-z][^@]*@)", re.IGNORECASE)  # as word processors write it
_SPACED = re.compile(r"([^\s:@]+) ?@ ?([^\s@]+)")  # jane @acme.co, and no other word
_COMMENT = re.compile(r"\([^()@]*\)(?=@)")  # jane(work)@acme.co, RFC 5322
# Encodings of one sign of a local part: o%27brien, jane%2Bcrm, jane%252Bcrm.
_ESCAPED = re.compile(r"%(?:25)*(2[1346-9A-E]|3[0-9DF]|[46][1-9A-F]|5[0-9AEF]|7[0-9A-E]|60)", re.IGNORECASE)
_ENCODED = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)
_BRACED = re.compile(r"\{([^{}]*@[^{}]*)\}")  # braces around a whole address are no template
_FIELD = re.compile(r"%[A-Za-z_]\w+%")
_BETWEEN = re.compile(r"[,;|<>()\[\]\"“”«»„、「」『』【】《》]+")
_CONNECTORS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "o", "e", "en", "of", "och", "og", "i", "lub"})

# Domains in which no person has an address. https://www.rfc-editor.org/rfc/rfc2606
# .test is reserved as well, but accepted: the sandbox uses it.
_PLACEHOLDER_DOMAIN = re.compile(
    r"(?:.*\.)?(?:example\.[a-z]{2,3}(?:\.[a-z]{2})?|example|invalid|localhost|localdomain|"
    r"(?:test|testing|noemail|no-email|nomail|no-mail|none|noone|null|unknown|undefined|fake|asdf|domain|yourdomain|"
    r"mydomain|yourcompany|placeholder|dummy|notprovided|nodomain|donotemail)\.(?:com|net|org))"
)
# Local parts that are placeholders under any domain.
_WORDS_OF_PLACEHOLDER_LOCAL = """
noemail nomail noaddress noemailaddress noemailprovided noemailgiven noemailavailable nomailaddress notprovided
notavailable notapplicable notgiven notknown nothing none null undefined unknown noone nobody noname nope invalid
blank empty missing refused declined unavailable unspecified test testing tester testuser testaccount testemail
testmail testlead testcontact fake fakeemail dummy dummyemail placeholder example sample redacted deleted removed
anonymous anonymized anonymised asdf asdfasdf asdfgh qwerty qwertz foobar donotemail dontemail youremail yourname
myemail firstnamelastname namesurname vornamenachname keine keineemail keinemail unbekannt sinemail sincorreo
desconocido inconnu sconosciuto desconhecido ninguno aucun nessuno nenhum geen onbekend objectobject
changeme notanemail donthaveone idonthaveone needemail needsemail emailneeded updateemail bademail wrongemail
invalidemail unknownemail emailunknown missingemail emailmissing emailpending pasdemail pasdeemail pasdemailconnu
"""
_PLACEHOLDER_LOCAL = frozenset(_WORDS_OF_PLACEHOLDER_LOCAL.split())
# Words that are junk only where the domain repeats them (a@a.com, email@email.com) or is junk too.
_WORDS_OF_JUNK_TWICE = """
email mail mailbox domain company user you your me us abc abcd xyz info admin contact hello optout bounce temp change
"""
_JUNK_TWICE = frozenset(_WORDS_OF_JUNK_TWICE.split())


def read_emails(text: str) -> tuple[str, ...]:
    """Return every usable address in the tidied *text*, each once, in lower case. Raise Unusable if none is."""
    if is_template(text) and "@" not in text:
        raise Unusable(TEMPLATE)
    found: dict[str, None] = {}
    problem: Unusable | None = None
    for written in _addresses(text):
        try:
            found.setdefault(_read_address(written))
        except Unusable as error:
            problem = problem or error
    if not found:
        raise problem or Unusable(_WANTED)
    return tuple(found)


def _addresses(text: str) -> list[str]:
    """Return the candidate addresses in *text*; other words beside one, without brackets, make it doubtful."""
    if _PLAIN.fullmatch(text):
        return [text]
    text = _COMMENT.sub("", _plain(text))
    if spaced := _SPACED.fullmatch(text):
        text = f"{spaced[1]}@{spaced[2]}"
    if any(map(_is_broken, text.split())):
        return []
    found: list[str] = []
    for chunk in _BETWEEN.split(text):
        if "@" in chunk:
            found.extend(_addresses_in(chunk))
    return found


def _plain(text: str) -> str:
    """Return *text* in narrow letters, without the entities and the encoding of a whole address."""
    if not text.isascii() and len(text) <= LONGEST_WIDE:  # normalizing takes the square of a run of accents
        text = _APOSTROPHE.sub("'", unicodedata.normalize("NFKC", text))  # full-width letters and signs
    if "&" in text and ";" in text:
        text = html.unescape(text)
    for _ in range(3):
        if "%" in text:
            text = _EDGE.sub(" ", text).strip()
        if "@" not in text:
            text = unquote(text)  # jane%40acme.co, jane%2540acme.co
    return text


def _is_broken(word: str) -> bool:
    """Tell whether a comma or semicolon stands inside an address, as in jane,doe@acme.co."""
    head, separator, tail = word.replace(";", ",").partition(",")
    return bool(separator and "@" in tail and "@" not in head and re.search(r"[^\W_]$", head))


def _addresses_in(chunk: str) -> list[str]:
    """Return the addresses of *chunk*, which holds no bracket and no comma; none if other words stand beside them."""
    label, colon, rest = chunk.rpartition(":")
    if colon and "@" in rest and "@" not in label:
        scheme = label.split()[-1].lower() if label.split() else ""
        if scheme.endswith("mailto"):
            chunk = unquote(rest.lstrip("/").partition("?")[0])
        elif rest.startswith("//"):  # http://jane@acme.co, as a column of links writes it
            chunk = rest.strip("/")
            if re.search(r"[/?#&]", chunk):  # an address within another site's
                return []
        elif "//" in scheme:  # https://user:password@acme.co
            return []
        else:
            chunk = rest
    found: list[str] = []
    for word in chunk.split():
        if "@" in word:
            found.extend(word.split("/") if word.count("@") > 1 else [word])
        elif word.casefold() not in _CONNECTORS and any(map(str.isalnum, word)):
            return []
    return found


def _bare(word: str) -> str:
    """Remove the quotes, brackets and formula's = around one address. Raise Unusable."""
    for _ in range(_MOST_LAYERS):
        if (inner := unwrap(word.lstrip("=/ "))) == word:
            return word
        word = inner
    raise Unusable(_WANTED)


def _decode(local: str) -> str:
    """Return the local part without percent-encoding, however often it was encoded. Raise Unusable."""
    for _ in range(_MOST_LAYERS):
        if "%" not in local or (plain := _ESCAPED.sub(lambda found: chr(int(found[1], 16)), local)) == local:
            break
        local = plain
    if not _ENCODED.search(local):
        return local
    raise Unusable(_WANTED)


def _read_address(written: str) -> str:
    """Return one address in its one form: lower case, the domain in ASCII. Raise Unusable."""
    local, _, domain = _BRACED.sub(r"\1", written).partition("@")
    local, domain = _decode(local), domain.partition("?")[0]
    if is_template(local) or is_template(domain) or _FIELD.search(local):
        raise Unusable(TEMPLATE)
    local, _, domain = _bare(f"{local}@{domain}").rpartition("@")
    local, domain = local.lower(), read_domain(domain)
    email = f"{local}@{domain}"
    if (
        not _LOCAL_PART.fullmatch(local)
        or not any(map(str.isalnum, local))
        or len(local) > LONGEST_LOCAL_PART
        or len(email) > LONGEST_EMAIL
    ):
        raise Unusable(_WANTED)
    if _is_placeholder(local, domain):
        raise Unusable(_PLACEHOLDER)
    return email


def _is_placeholder(local: str, domain: str) -> bool:
    """Tell whether the address is a placeholder: noemail@, test@test.com, na@na.com, anything@example.com."""
    if _PLACEHOLDER_DOMAIN.fullmatch(domain):
        return True
    words = [word for word in re.split(r"[._+-]+", local.partition("+")[0]) if word.strip("0123456789")]
    bare = "".join(words).rstrip("0123456789")
    if bare in _PLACEHOLDER_LOCAL or (len(set(bare)) == 1 and len(bare) > 2):
        return True
    label = domain.partition(".")[0].replace("-", "").rstrip("0123456789")
    if bare != label:
        made_up = len(bare) == 1 == len(label) and domain.endswith(".com")  # x@y.com
        junk = is_junk_word(bare) and (is_junk_word(label) or label in _JUNK_TWICE)
        return made_up or junk  # foo@bar.com, name@company.com
    return len(bare) < 3 or bare in _JUNK_TWICE or is_junk_word(bare)


def read_domain(raw: str) -> str:
    """Return the domain in its ASCII form, as in DNS. Raise Unusable."""
    if len(raw) > LONGEST_EMAIL:
        raise Unusable(_WANTED)
    plain = unicodedata.normalize("NFKC", raw.lower()).lower().replace("\u3002", ".")
    labels = [_read_label(label) for label in plain.rstrip(".").split(".")]
    if len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)) or not _TOP_LEVEL.fullmatch(labels[-1]):
        raise Unusable(_WANTED)
    return ".".join(labels)


def _read_label(label: str) -> str:
    """Return the label in ASCII. Raise Unusable."""
    if label.isascii():
        return label
    if len(label) > 63 or not all(unicodedata.category(sign)[0] in "LMN" or sign == "-" for sign in label):
        raise Unusable(_WANTED)
    # Not Python's own idna codec: it is of 2003 and turns ß into ss, which today is another domain.
    return f"xn--{label.encode('punycode').decode('ascii')}"
