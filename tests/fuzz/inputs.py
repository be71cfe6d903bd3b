"""Draw hostile texts, bodies, headers and answers, most of them near to what is sent in earnest."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.provider_suite import anything, places_in

SAMPLES = Path(__file__).parent.parent / "samples"
T = TypeVar("T")

NASTY = (
    "", " ", "\x00", "\ufeff", "\u202e", "\u200b", "ß", "İ", "ﬁ", "١٢٣", "²", "é", "💥", "\ud800", "%00", "%ff",
    "%2e%2e%2f", "%", "null", "N/A", "-", "+", "++", "00", "@", "@@", "..", "/", "\\", "'", '"', "<script>", "{{name}}",
    "${x}", "=cmd|' /C x'!A0", "1e999", "NaN", "-0", "9" * 400, "a" * 5000, "xn--", "xn--a" * 20, ";ext=1", "x12",
    "tel:", "mailto:", "https://", "\r\n", "\t",
)  # fmt: skip
SEEDS = (
    "linkedin.com/in/janedoe", "https://www.linkedin.com/in/j%C3%BCrgen-m%C3%BCller-123/?trk=x",
    "linkedin.com/in/ACoAAB1", "https://linkedin.com/pub/jane-doe/1a/2b/3c", "urn:li:person:abc",
    "jane.doe+crm@acme.co", "Jane Doe <jane@acme.co>", "jane%40acme.co", "+1 (415) 555-2671",
    "0044 20 7946 0958 ext. 12", "030 123456", "+49 (0)30 123456; +1 415 555 2671", "1-800-FLOWERS", "415-555-XXXX",
    "Jane Doe", "DOE, Jane (Dr.)", "Acme, Inc.", "US", "United Kingdom", "de_DE", "🇩🇪",
    "postgres://user:p%40ss@host:5432/db?sslmode=require", "host=a,b port=1,2 dbname=x", "2026-11-28T10:00:00Z",
    'for=192.0.2.43, for="[2001:db8::1]:4711";proto=https', "203.0.113.7, 10.0.0.1", "Fri, 31 Dec 9999 23:59:59 GMT",
)  # fmt: skip
LIMITS = ("retry-after", "date", "ratelimit-limit", "x-ratelimit-reset", "x-hubspot-ratelimit-max", "content-type")

pieces = st.sampled_from(NASTY) | st.sampled_from(SEEDS) | st.text(max_size=12)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a text: a seed that was cut, doubled, or mixed with something nasty; or anything."""
    text = draw(pieces)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:at] + draw(pieces) + text[at:]
            case 1:
                text = text[at:] + text[:at]
            case 2:
                text = text[:at]
            case _:
                text = text + draw(st.sampled_from([" ", ",", ";", "/", "\n", ""])) + text
        text = text[:20_000]
    return text


def samples(vendor: str, operation: str = "*") -> list[dict[str, Any]]:
    """Return the recorded samples of *vendor*, by name."""
    paths = sorted((SAMPLES / vendor).glob(f"{operation}-*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def changed(value: Any, draw: st.DrawFn) -> Any:
    """Return a copy of *value* with up to three places holding something else."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = list(places_in(value))
        if not places:
            return draw(anything)
        place, key = draw(st.sampled_from(places))
        place[key] = draw(st.one_of(texts(), anything, st.sampled_from([{}, [], [[]], -1, 10**400, "7", True])))
    return value


@st.composite
def bodies(draw: st.DrawFn, known: list[Any]) -> bytes:
    """Draw a body: one of *known* that was changed, as JSON that may be broken; or any bytes."""
    if not known or draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    body = json.dumps(changed(draw(st.sampled_from(known)), draw), allow_nan=True).encode()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=8)) + body[at + draw(st.integers(0, 8)) :]
    return body


@st.composite
def answers(draw: st.DrawFn, vendor: str) -> list[Any]:
    """Draw an HTTP answer near to one of *vendor*'s: [status, headers, body]."""
    known = samples(vendor)
    sample = draw(st.sampled_from(known))
    status = draw(st.just(sample.get("status", 200)) | st.integers(100, 599))
    headers = {name.lower(): value for name, value in sample.get("headers", {}).items()}
    if draw(st.booleans()):
        names = [
            "retry-after",
            "date",
            "ratelimit-limit",
            "x-ratelimit-reset",
            "x-hubspot-ratelimit-max",
            "content-type",
        ]
        headers |= draw(st.dictionaries(st.sampled_from(names), texts(), max_size=2))
    return [status, headers, draw(bodies([one["body"] for one in known]))]


def written(case: Any) -> Any:
    """Return *case* as JSON can hold it: bytes as {"bytes": base64}."""
    if isinstance(case, bytes):
        return {"bytes": base64.b64encode(case).decode()}
    if isinstance(case, (list, tuple)):
        return [written(one) for one in case]
    if isinstance(case, dict):
        return {name: written(one) for name, one in case.items()}
    return case


def read(case: Any) -> Any:
    """Return what `written` was given."""
    if isinstance(case, dict):
        if case.keys() == {"bytes"}:
            return base64.b64decode(case["bytes"])
        return {name: read(one) for name, one in case.items()}
    return [read(one) for one in case] if isinstance(case, list) else case
