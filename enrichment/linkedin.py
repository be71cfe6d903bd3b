"""Read LinkedIn profiles in the ways people, exports and sales tools write them: linkedin.com/in/<slug>.

Forms: any host, path and tracking of a public profile; a bare slug; /pub/ addresses from before 2015; Sales Navigator,
Recruiter and urn forms with a member id; all of these nested, encoded, or wrapped in Markdown, HTML or Slack's angle
brackets.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from enrichment.nothing import NOTHING, is_junk_word, is_template
from enrichment.texts import JOINERS, QUOTES, TEMPLATE, Unusable, collapse, unwrap

PREFIX = "linkedin.com/in/"
_MOST_HOSTS = 8  # read in one text
LONGEST_SLUG = 100  # characters; https://www.linkedin.com/help/linkedin/answer/87

# Sales Navigator's exports have member ids in place of slugs. They are base64: lower case destroys them.
# https://learn.microsoft.com/en-us/linkedin/sales/sync-services/profile-associations
_MEMBER_ID = re.compile(r"AC[A-Za-z]AA[A-Za-z0-9_-]{34}")
_ANY_CASE_MEMBER_ID = re.compile(r"ac[a-z]aa[a-z0-9_-]{34}", re.IGNORECASE)
_PLAIN_SLUG = re.compile(r"[-_]*[a-z0-9][a-z0-9_-]*")
_CUT_MEMBER_ID = re.compile(r"AC[a-z]AA(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])[A-Za-z0-9_-]{10,}")
_URN = re.compile(r"urn:li:[a-z_]+:\(?(AC[A-Za-z]AA[A-Za-z0-9_-]{34})(?![A-Za-z0-9_-])", re.IGNORECASE)

_HOST = re.compile(
    r"(?<![\w.@-])(?:[a-z0-9-]{1,20}\.){0,3}linkedin\.com(?![\w@-]|\.[a-z0-9])\.?(?::\d{1,5})?(?![@\d])", re.IGNORECASE
)
# A redirect (authwall, safelinks) carries the profile percent-encoded, once or more often.
_ENCODED = re.compile(r"linkedin(?:\.com%(?:25){0,3}2f|%(?:25){0,3}2ecom)", re.IGNORECASE)
_FULL_WIDTH = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3002: ".", 0xFF61: "."}
_SCHEME = re.compile(r"(?:https?:/*|[a-z][a-z0-9+.-]{0,20}://|//+)", re.IGNORECASE)
_PATH = re.compile(r"[^\s<>()\[\]{}\"|;,^`]*")
_NEXT = re.compile(r"https?:|//|www\.|(?:[a-z]{2,3}\.)?linkedin\.com", re.IGNORECASE)
_QUERY = re.compile(r"[?#&]")
# What follows a slug after ?, # or & that were written as a part of it: tracking, mark-up, or nothing.
_NO_PART = re.compile(
    r"(?:[?#]|&(?:amp;|#\d{2,5};)?)(?:$|[&?#]|[\w.-]{1,40}=)|&(?:quot|apos|lt|gt|nbsp)(?:;|$)", re.IGNORECASE
)
_PARAMETER = re.compile(r";[\w.-]{1,40}=")
_CUT_OFF = re.compile(r"\.{2,}$|…$")
_AFTER_SLUG = QUOTES + JOINERS + " \"'`<>()[]{},;!\\"
_PUB_PART = re.compile(r"[0-9a-f]{1,3}")
_LOCALE = re.compile(r"[a-z]{2}(?:[_-][a-z]{2})?")
_MOBILE_PREFIXES = frozenset({"mwlite", "comm", "m", "profile"})
_WITH_MEMBER_ID = frozenset({"sales", "talent", "recruiter"})
# The viewer's own page, LinkedIn's other pages, pages of members who have left, words that fill a form, and answers to
# "is there a profile?" in a column of profiles.
_WORDS_OF_PLACEHOLDERS = """
me unavailable example examples sample test testing tester your-name yourname your-profile yourprofile your-slug
username user-name user profile profile-url public-profile slug vanity name fullname full-name firstname-lastname
first-last firstnamelastname first-name-last-name linked-in firstname lastname linkedin linkedin-profile linkedin-url
placeholder dummy fake asdf asdfasdf qwerty foo bar foobar foo-bar redacted deleted removed invalid error 404 false
true nobody anonymous not-on-linkedin no-linkedin no-profile object-object xyz in pub testuser test-profile
page-not-found linkedin-member linkedin-user search edit login signup settings home jobs about feed help learning
mynetwork messaging notifications yes yep yeah ok no si ja url link here view open click found connected connection
connect hidden confidential restricted locked available later skip skipped done added sent checked verified public
active inactive same see below above various several multiple see-notes on-file in-crm not-sure notsure unsure
maybe x y n j o id profile-id linkedin-id member-id user-id insert-url private sim oui hier aqui aquí ici vorhanden
gefunden privat gesperrt vertraulich siehe-notiz siehe-notizen verbunden später offen
"""
_PLACEHOLDERS = frozenset(_WORDS_OF_PLACEHOLDERS.split())
# Words that are placeholders only together: click-here, see-notes-below, add-link-later.
_WORDS_OF_PHRASES = """
click see add insert enter paste your the this note notes comment comments website page sure not yet check please soon
http https www com
"""
_PHRASES = frozenset(_WORDS_OF_PHRASES.split())
_COUNTER = re.compile(r"-\d{1,5}$")  # na-1; what LinkedIn itself adds to a name is longer
_ANY_COUNTER = re.compile(r"(?<=[^\W\d_]{4})-\d+$")  # null-1234567 is no name

_WANTED = "a public LinkedIn profile, like linkedin.com/in/<name>"
_COPY = f"copy the public profile URL from the person's page: {_WANTED}"
_NO_SLUG = f"the part after /in/ has letters, digits and hyphens only; needed is {_WANTED}"
_TOO_LONG = f"the part after /in/ has at most {LONGEST_SLUG} characters"
_LOST_CASE = f"a member id in lower case leads to no profile; {_COPY}"
_CUT_SLUG = f"it is not certain where the part after /in/ ends; {_COPY}"
_CUT_SHORT = f"this member id is not whole; {_COPY}"
_CUT_URL = f"this address was cut off; {_COPY}"
_NOT_PROFILES = {
    "company": f"this is a company's page; needed is a person's: {_WANTED}",
    "school": f"this is a school's page; needed is a person's: {_WANTED}",
    "showcase": f"this is a showcase page; needed is a person's: {_WANTED}",
    "groups": f"this is a group; needed is a person's page: {_WANTED}",
    "posts": f"this is a post; needed is its author's page: {_WANTED}",
    "feed": f"this is a feed; needed is a person's page: {_WANTED}",
    "sales": f"this is a Sales Navigator URL without a whole member id; {_COPY}",
    "talent": f"this is a LinkedIn Recruiter URL; {_COPY}",
    "recruiter": f"this is a LinkedIn Recruiter URL; {_COPY}",
    "pub": f"this is the old form of a profile URL; open it and {_COPY}",
}
_NOT_SLUGS = _NOT_PROFILES.keys() | {"in", "linkedin"}


def read_profiles(text: str) -> tuple[str, ...]:
    """Return every profile in the tidied *text*, each once, as linkedin.com/in/<slug>. Raise Unusable if none is."""
    if is_template(text):
        raise Unusable(TEMPLATE)
    whole, text = text, unwrap(text.translate(_FULL_WIDTH).replace("\\", "/"))
    if _CUT_OFF.search(whole) or _CUT_OFF.search(text):  # the rest of it may be another person's
        raise Unusable(_CUT_URL)
    slugs, problem = _slugs_in(text)
    for _ in range(3):
        if slugs or not _ENCODED.search(text):
            break
        text = unquote(text)
        slugs, trouble = _slugs_in(text)
        problem = problem or trouble
    if slugs:
        profiles = tuple(PREFIX + slug for slug in slugs if _reads_to_itself(slug))
        if not profiles:
            raise Unusable(_NO_SLUG)
        return profiles
    if problem:
        raise problem
    urn = _URN.search(unquote(text))
    return (PREFIX + (_read_slug(urn[1]) if urn else _slug_alone(text)),)


def _reads_to_itself(slug: str) -> bool:
    """Tell whether reading the profile of *slug* again changes nothing; odd Unicode may fold once more each time."""
    if _PLAIN_SLUG.fullmatch(slug) or _MEMBER_ID.fullmatch(slug):
        return True
    url = PREFIX + slug
    return unwrap(collapse(url)) == url and not is_template(url) and _slugs_in(url)[0] == [slug]


def member_id(slug: str) -> str | None:
    """Return *slug* if it is a member id; else None."""
    return slug if _MEMBER_ID.fullmatch(slug) else None


def _slugs_in(text: str) -> tuple[list[str], Unusable | None]:
    """Return the slugs after each linkedin.com in *text*, and the first problem with one."""
    slugs: dict[str, None] = {}
    problem: Unusable | None = None
    host = _HOST.search(text)
    for _ in range(_MOST_HOSTS):
        if host is None:
            break
        path = _path(text, host.end())
        end = host.end()
        try:
            slugs.setdefault(_slug_behind(path, text[end + len(path) :]))
            end += len(path)  # a second profile in a query is part of the first one's tracking
        except Unusable as error:
            problem = problem or error
        host = _HOST.search(text, end)
    return list(slugs), problem


def _path(text: str, start: int) -> str:
    found = _PATH.match(text, start)
    return found[0] if found else ""


def _slug_behind(path: str, tail: str) -> str:
    """Read the slug from the path of a LinkedIn URL, which *tail* follows. Raise Unusable."""
    if not path.startswith("/"):
        raise Unusable(_WANTED)
    segments = _segments(path)
    slug = _slug_in(segments)
    _refuse_two(path + tail[:60])
    is_last = path.endswith(segments[-1]) and segments[-2].lower() == "in"
    if is_last and not _ends_well(tail):
        raise Unusable(_NO_SLUG)
    return slug


def _segments(path: str) -> list[str]:
    return [part for part in _QUERY.split(path, maxsplit=1)[0].split("/") if part]


def _refuse_two(path: str) -> None:
    """Raise Unusable if an ampersand in the path joins two names, as in jane&john, instead of beginning tracking."""
    query = _QUERY.search(path)
    if query and query[0] == "&" and not _NO_PART.match(path, query.start()):
        raise Unusable(_CUT_SLUG)


def _ends_well(tail: str) -> bool:
    """Tell whether the slug certainly ends where *tail* begins: "jane doe" and "jane,doe" may not be jane."""
    if not tail or tail[0] in ')]}>"|<`':
        return True
    if tail[0] in "([{^":
        return False
    if _PARAMETER.match(tail):  # tracking behind a semicolon
        return True
    following = tail.lstrip(" ,;")
    return not following[:1].isalnum() or _NEXT.match(following) is not None


def _slug_alone(text: str) -> str:
    """Read the slug from a text without LinkedIn's host: a slug, in/slug, or another site. Raise Unusable."""
    address = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    segments = _segments(address)
    if not segments:
        raise Unusable(_WANTED)
    hosted = address != text or "." in segments[0]
    if hosted and segments[0].lower().partition(":")[0] == "lnkd.in":
        raise Unusable(f"this is a short link; open it and {_COPY}")
    if hosted:
        raise Unusable(f"this is another site; needed is {_WANTED}")
    _refuse_two(address)
    if len(segments) == 1 and segments[0].lower() not in _NOT_SLUGS:
        return _read_slug(segments[0].removeprefix("@"))
    return _slug_in(segments)


def _slug_in(segments: list[str]) -> str:
    """Read the slug from the path of a LinkedIn URL. Raise Unusable."""
    path = segments
    while len(path) > 1 and (path[0].lower() in _MOBILE_PREFIXES or _LOCALE.fullmatch(path[0].lower())):
        if path[0].lower() == "in":
            break
        path = path[1:]
    kind = path[0].lower() if path else ""
    if kind == "pub":
        return _read_pub(path[1:])
    if kind in _WITH_MEMBER_ID and len(path) > 2:
        id = unquote(path[2]).partition(",")[0]  # ACwAA...,NAME_SEARCH,n7cD
        if _ANY_CASE_MEMBER_ID.fullmatch(id):
            return _read_slug(id)
    if kind != "in":
        raise Unusable(_NOT_PROFILES.get(kind, f"this is not a person's page; needed is {_WANTED}"))
    while len(path) > 2 and path[1].lower() == "in":  # /in/in/janedoe
        path = path[1:]
    if len(path) == 1:
        raise Unusable(f"the part after /in/ is missing; needed is {_WANTED}")
    return _read_slug("/".join(path[1:3]) if "/".join(path[1:3]).lower() in NOTHING else path[1])


def _read_pub(parts: list[str]) -> str:
    """Read /pub/<name>/a/b/c, which LinkedIn forwards to /in/<name>-cba, b and c with three digits each."""
    numbers = [part.lower() for part in parts[1:4]]
    if len(numbers) < 3 or parts[0].lower() == "dir" or not all(map(_PUB_PART.fullmatch, numbers)):
        raise Unusable(_NOT_PROFILES["pub"])
    first, second, third = numbers
    return _read_slug(f"{parts[0]}-{third:0>3}{second:0>3}{first.lstrip('0')}")


def _read_slug(raw: str) -> str:
    """Decode and normalise a slug, so that equal profiles are equal texts. Raise Unusable."""
    slug = _decode(raw)
    if _ANY_CASE_MEMBER_ID.fullmatch(slug):
        if not _MEMBER_ID.fullmatch(slug) or not (any(map(str.islower, slug[2:])) and any(map(str.isupper, slug[5:]))):
            raise Unusable(_LOST_CASE)
        return slug
    if _CUT_MEMBER_ID.fullmatch(slug):
        raise Unusable(_CUT_SHORT)
    slug = unicodedata.normalize("NFC", unicodedata.normalize("NFC", slug).lower()).strip(_AFTER_SLUG)
    if _ANY_CASE_MEMBER_ID.fullmatch(slug):  # it stood behind a sign that normalizing removed
        raise Unusable(_LOST_CASE)
    if len(slug) > LONGEST_SLUG:
        raise Unusable(_TOO_LONG)
    plain = _PLAIN_SLUG.fullmatch(slug)
    if not plain and not (
        all(map(_is_in_slugs, slug)) and any(unicodedata.category(sign)[0] in "LNS" for sign in slug)
    ):
        raise Unusable(_NO_SLUG)
    repeated = len(slug) > 2 and len(set(slug)) == 1
    if repeated or _is_placeholder(slug) or not slug.strip("0-"):
        raise Unusable(f"this page belongs to no particular person; {_COPY}")
    return slug


def _decode(raw: str) -> str:
    """Return the slug without encoding, width and tracking. Raise Unusable."""
    if _PLAIN_SLUG.fullmatch(raw):
        return raw
    slug = raw
    try:
        for _ in range(3):  # exports encode what was encoded already
            slug = unquote(slug, errors="strict")
    except UnicodeDecodeError:
        raise Unusable(f"the part after /in/ is not UTF-8; needed is {_WANTED}") from None
    if len(slug) > 3 * LONGEST_SLUG:  # normalizing takes the square of a run of accents
        raise Unusable(_TOO_LONG)
    slug = collapse(slug.translate(_FULL_WIDTH)).rstrip("/" + _AFTER_SLUG).lstrip("@" + _AFTER_SLUG)
    query = _QUERY.search(slug)
    if query is None:
        return slug
    if not _NO_PART.match(slug, query.start()):  # jane%3Ftrk%3Dx is jane, jane%23doe another person
        raise Unusable(_CUT_SLUG)
    return slug[: query.start()].rstrip(_AFTER_SLUG)


def _is_placeholder(slug: str) -> bool:
    """Tell whether the slug fills a form: your_name, null-null, test-user, undefined-1, yes. person-1 may be one."""
    whole = slug.replace("_", "-").strip("-")
    uncounted = (_COUNTER.sub("", whole), _ANY_COUNTER.sub("", whole)) if whole[-1:].isdigit() else ()
    if whole in _PLACEHOLDERS or not _NOTHING.isdisjoint(map(_bare, (whole, *uncounted))):
        return True
    words = whole.split("-")
    if len(words) > 1 and len(set(words)) == 1 and is_junk_word(words[0]):  # na-na
        return True
    return len(words) > 1 and all(len(word) > 2 and (word in _PHRASES or _is_filling(word)) for word in words)


def _is_filling(word: str) -> bool:
    return word in _PLACEHOLDERS or word in _NOTHING or is_junk_word(word)


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text))


_NOTHING = frozenset(
    word for word in map(_bare, NOTHING) if len(word) > 1
)  # n-a for n/a, not-available for "not available"


def _is_in_slugs(sign: str) -> bool:
    """Tell whether *sign* occurs in slugs: names in any script, with emoji, dashes and quotes."""
    if sign.isascii():
        return sign.isalnum() or sign in "-_"
    kind = unicodedata.category(sign)
    if kind in ("Ps", "Pe"):  # a bracket begins a remark: jane【Jane】
        return sign in QUOTES
    return kind[0] in "LMNSP" or sign in JOINERS or 0xE0020 <= ord(sign) <= 0xE007F
