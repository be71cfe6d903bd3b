"""The words by which an identifier chooses what a vendor does: the one table, and the search for a word.

A LinkedIn slug, the local part of an e-mail address or a name is split at `--`; a part `lm-WORD` steers
LeadMagic and `ny-WORD` steers Nyne. For `linkedin.com/in/lm-none--ny-late--42` LeadMagic has no number, and
Nyne's callback is late. Without such a part a hash of the person decides between
`found` and `none`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbox.people import Person, is_known

VendorName = Literal["leadmagic", "nyne"]
PREFIXES: dict[VendorName, str] = {"leadmagic": "lm-", "nyne": "ny-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One row of the table.

    *finds*: the vendor has the number and charges for it, whatever it then answers. *tells*: a client that waits
    long enough can read the number. The vendor's modules read the other fields.
    """

    vendor: VendorName
    word: str
    happens: str
    finds: bool = True
    tells: bool = True
    status: int = 200
    code: str = ""  # "": the usual code of the status
    once: bool = False  # *status* answers the first question about a person, and the number every later one
    body: str = "number"
    form: str = "hyphens"
    hold: Literal["", "slow", "for_ever"] = ""
    cut: bool = False
    # Nyne only
    callback: Literal["usual", "never", "late", "early", "twice", "forged", "other", "unreadable"] = "usual"
    poll: Literal["usual", "forgotten", "html", "missing"] = "usual"
    work: Literal["usual", "none", "slow", "endless"] = "usual"
    bare: bool = False
    control: bool = False
    stamps: Literal["mixed", "z", "noz"] = "mixed"
    dotted: bool = False


class UnknownWordError(ValueError):
    """An identifier asks for a behaviour that the table does not have."""


def choose(vendor: VendorName, person: Person, match_rate: float) -> Behaviour:
    """Return the row that decides about *person*: the one its identifiers name, else the one its hash picks."""
    prefix = PREFIXES[vendor]
    for text in person.texts:
        if prefix in text:
            for part in text.split("--"):
                if part.startswith(prefix):
                    return _row(vendor, part.removeprefix(prefix))
    return TABLE[vendor, "found" if is_known(person.key, vendor, match_rate) else "none"]


def _row(vendor: VendorName, word: str) -> Behaviour:
    try:
        return TABLE[vendor, word]
    except KeyError:
        raise UnknownWordError(f"no behaviour is called {word!r}; GET /sandbox/behaviours lists them") from None


def rows(vendor: VendorName) -> list[Behaviour]:
    """Return the vendor's rows in the order of the table."""
    return [row for row in TABLE.values() if row.vendor == vendor]


def manual(vendor: VendorName) -> dict[str, str]:
    """Return what happens, by the word as an identifier carries it."""
    return {PREFIXES[vendor] + row.word: row.happens for row in rows(vendor)}


def _lm(word: str, happens: str, **fields: object) -> Behaviour:
    return Behaviour(vendor="leadmagic", word=word, happens=happens, **fields)  # type: ignore[arg-type]


def _ny(word: str, happens: str, **fields: object) -> Behaviour:
    return Behaviour(vendor="nyne", word=word, happens=happens, **fields)  # type: ignore[arg-type]


MISS = {"finds": False, "tells": False}  # no number, no charge
MUTE = {"tells": False}  # charged, but the number cannot be read
QUIET = {"callback": "never"}

_ROWS = (
    # LeadMagic: what a success looks like. https://leadmagic.io/docs/v1/reference/mobile-finder
    _lm("found", "200 with the number, written +1-415-555-0132"),
    _lm("none", "200 with mobile_number null", body="null", **MISS),
    _lm("absent", "200 without the key mobile_number", body="absent", **MISS),
    _lm("oldmiss", "200 with mobile_number null and the older message", body="oldmiss", **MISS),
    _lm("spaces", "the number is written +1 415 555 0132", form="spaces"),
    _lm("plain", "the number is written +14155550132", form="plain"),
    _lm("noplus", "the number is written 14155550132", form="noplus"),
    _lm("national", "the number is written (415) 555-0132", form="national"),
    _lm("notphone", "200 with a mobile_number that is no phone; charged", body="notphone", **MUTE),
    _lm("integer", "the number is an integer, 14155550132", body="integer"),
    _lm("list", "the numbers are a list of objects, a landline first", body="list"),
    _lm("na", "200 with mobile_number N/A", body="na", **MISS),
    _lm("false", "200 with mobile_number false", body="false", **MISS),
    _lm("thousandths", "200 with the number and credits_consumed 4.999; 5 charged", body="thousandths"),
    _lm("toolong", "200 with a number of more than 15 digits; charged", body="toolong", **MUTE),
    _lm("extra", "200 with the number and undocumented fields", body="extra"),
    _lm("wrongtypes", "200 with JSON of the wrong types; charged", body="wrongtypes", **MUTE),
    _lm("garbage", "200 with a body that is no JSON; charged", body="garbage", **MUTE),
    # LeadMagic: refusals and failures. https://leadmagic.io/docs/v1/making-api-calls
    _lm("400", "400 validation_error", status=400, **MISS),
    _lm("olderror", "400 in the older shape {error, message}", status=400, body="olderror", **MISS),
    _lm("401", "401 invalid_api_key", status=401, **MISS),
    _lm("402", "402 insufficient_credits, with its context", status=402, **MISS),
    _lm("old402", "402 in the older shape {error, detail}", status=402, body="old402", **MISS),
    _lm("403", "403, as for an account without credits", status=403, **MISS),
    _lm("firewall", "403 with an HTML page from a firewall, always; free", status=403, body="html", **MISS),
    _lm("404words", "404 that says in words that there is no such contact", status=404, body="404words", **MISS),
    _lm("404", "404 profile_not_found: no number", status=404, code="profile_not_found", **MISS),
    _lm("404resource", "404 resource_not_found: no number", status=404, **MISS),
    _lm("404bare", "404 as plain text, as from a wrong URL", status=404, body="bare404", **MISS),
    _lm("418", "418, an unexpected status", status=418, body="teapot", **MISS),
    _lm("429", "429 rate_limit_exceeded with Retry-After: 1, always", status=429, **MISS),
    _lm("429once", "429 the first time, then found", status=429, once=True),
    _lm("500", "500 INTERNAL_ERROR, always; free", status=500, **MISS),
    _lm("500once", "500 the first time, free, then found", status=500, once=True),
    _lm("502", "502 with an HTML page from the gateway, always; free", status=502, **MISS),
    _lm("502once", "502 the first time, free, then found", status=502, once=True),
    _lm("502own", "502 in LeadMagic's own JSON, always; free", status=502, body="problem", **MISS),
    _lm("503", "503 service_unavailable, always; free", status=503, **MISS),
    _lm("503once", "503 the first time, free, then found", status=503, once=True),
    _lm("504", "504: the gateway gave up, the search went on; charged", status=504, **MUTE),
    _lm("504free", "504 with an HTML page from the gateway, always; free", status=504, **MISS),
    # LeadMagic: answers that come late or never. A timed-out question may have been charged.
    _lm("slow", "charged at once, answered after --slow-seconds", hold="slow"),
    _lm("hang-charged", "charged at once, connection held, never answered", hold="for_ever", **MUTE),
    _lm("hang-free", "connection held, never answered; free", hold="for_ever", body="null", **MISS),
    _lm("disconnect", "charged, then the connection is closed without an answer", cut=True, **MUTE),
    _lm("disconnect-free", "connection closed without an answer; free", cut=True, body="null", **MISS),
    # Nyne: what a finished job looks like. https://api.nyne.ai/documentation/person/phone
    _ny("found", "202, then the number, written +1-415-555-0132, by callback and by poll"),
    _ny("none", "completed with mobile null", body="null", **MISS),
    _ny("empty", "completed with result {}", body="empty", **MISS),
    _ny("nullresult", "completed with result null", body="nullresult", **MISS),
    _ny("blank", 'completed with mobile ""', body="blank", **MISS),
    _ny("list", "completed with mobile as a list of strings", body="list"),
    _ny("objects", "completed with mobile as a list of objects {fullphone, type}", body="objects"),
    _ny("plain", "the number is written +14155550132", form="plain"),
    _ny("national", "the number is written (415) 555-0132", form="national"),
    _ny("landline", "completed with a list of objects, a landline first", body="landline"),
    _ny("phones", "completed with a list under another name", body="phones"),
    _ny("integer", "completed with mobile as an integer", body="integer"),
    _ny("na", "completed with mobile N/A", body="na", **MISS),
    _ny("toolong", "completed with a number of more than 15 digits; charged", body="toolong", **MUTE),
    _ny("odd", "completed with the number in an unexpected field; charged", body="odd", **MUTE),
    _ny("notphone", "completed with a mobile that is no phone; charged", body="notphone", **MUTE),
    _ny("failed", "failed, the error a string, by callback and by poll", body="failed", **MISS),
    _ny("failedobject", "failed, the error an object", body="failedobject", **MISS),
    _ny("bare", "202, polls and callback without the envelope", bare=True),
    _ny("control", "raw control characters inside the strings of every answer", control=True),
    _ny("z", "every timestamp ends in Z", stamps="z"),
    _ny("noz", "no timestamp ends in Z", stamps="noz"),
    _ny("dotted", "the request_id has a dot", dotted=True),
    # Nyne: the 202 and the callback.
    _ny("instant", "the 202 already says completed; the callback comes too", work="none"),
    _ny("silent", "no callback; polls tell", **QUIET),
    _ny("silentslow", "no callback, and the work takes --late-seconds; polls tell", work="slow", **QUIET),
    _ny("late", "the callback comes --late-seconds after the job is done", callback="late"),
    _ny("early", "the callback is sent and answered before the 202 leaves", callback="early"),
    _ny("double", "the callback comes twice", callback="twice"),
    _ny("forged", "a false number under a wrong token comes first, then the truth", callback="forged"),
    _ny("otherid", "callback with another request_id and a false number; polls tell", callback="other"),
    _ny("unreadable", "the body of the callback is garbage; polls tell", callback="unreadable"),
    _ny("html", "no callback; the first two polls answer an HTML page, later ones tell", poll="html", **QUIET),
    _ny("lost202", "accepted, the connection closed without the 202; the callback comes", cut=True),
    _ny("lost202silent", "accepted and charged, no 202, no callback", cut=True, **QUIET, **MUTE),
    # Nyne: jobs that end without an answer.
    _ny("notfound404", "no callback; polls answer 404, status not_found", poll="missing", **QUIET, **MISS),
    _ny("lost", "no callback; polls answer 404 request_not_found; free", poll="forgotten", **QUIET, **MISS),
    _ny("lostcharged", "as lost, but completed and charged", poll="forgotten", **QUIET, **MUTE),
    _ny("stuck", "processing for ever, no callback", work="endless", **QUIET, **MISS),
    # Nyne: refusals and failures.
    _ny("400", "400 invalid_parameters", status=400, **MISS),
    _ny("401", "401 invalid_api_key", status=401, **MISS),
    _ny("401nokey", "401 missing_api_key", status=401, code="missing_api_key", **MISS),
    _ny("401nosecret", "401 missing_api_secret", status=401, code="missing_api_secret", **MISS),
    _ny("401badsecret", "401 invalid_api_secret", status=401, code="invalid_api_secret", **MISS),
    _ny("402", "402 insufficient_credits", status=402, **MISS),
    _ny("403sub", "403 subscription_required", status=403, **MISS),
    _ny("403ip", "403 ip_not_allowed", status=403, code="ip_not_allowed", **MISS),
    _ny("403disabled", "403 api_key_disabled", status=403, code="api_key_disabled", **MISS),
    _ny("firewall", "403 with an HTML page from a firewall, always; free", status=403, body="html", **MISS),
    _ny("429", "429 rate_limit_exceeded with Retry-After: 1, always", status=429, **MISS),
    _ny("429once", "429 the first time, then found", status=429, once=True),
    _ny("429credits", "429 that means insufficient_credits", status=429, code="insufficient_credits", **MISS),
    _ny("500", "500 internal_error, always; free", status=500, **MISS),
    _ny("500once", "500 the first time, free, then found", status=500, once=True),
    _ny("502", "502 with an HTML page from the gateway, always; free", status=502, **MISS),
    _ny("503", "503 service_unavailable, always; free", status=503, **MISS),
    _ny("503once", "503 the first time, free, then found", status=503, once=True),
)
TABLE: dict[tuple[VendorName, str], Behaviour] = {(row.vendor, row.word): row for row in _ROWS}
