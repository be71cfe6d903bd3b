"""The people that questions are about: each has one number, the same at every vendor."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import unquote

# Area codes in service. Exchange 555 has no subscribers: no stranger's phone rings because of a demo.
_CODES = """
    201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248
    251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316
    317 318 319 320 321 323 325 330 334 336 337 339 347 351 352 360 361 386 401 402 404 405 406 407 408 409
    410 412 413 414 415 417 419 423 425 432 434 435 440 443 469 478 479 480 484 501 502 503 504 505 507 508
    509 510 512 513 515 516 517 518 520 530 540 541 551 559 561 562 563 567 570 571 573 574 580 585 586 601
    602 603 605 606 607
"""
AREA_CODES = tuple(_CODES.split())
LANDLINE = "+493023125000"  # kept for films by the Bundesnetzagentur
TOO_LONG = "+49 30 1234567890123456"
ASSIGNED_LINES = frozenset({1212, 4334})  # the only lines of exchange 555 that ever answered
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")


class Person(NamedTuple):
    """One person: *key* tells people apart, behaviour words may stand in *texts*."""

    key: str
    texts: tuple[str, ...]


def person(
    *,
    profile_url: str | None = None,
    work_email: str | None = None,
    personal_email: str | None = None,
    name: str | None = None,
    company: str | None = None,
) -> Person | None:
    """Return the person behind these identifiers: the slug decides, else an e-mail, else the name; None without."""
    key = ""
    texts: list[str] = []
    if profile_url:
        slug = slug_of(profile_url)
        key = f"slug:{slug}"
        texts.append(slug)
    for email in (work_email, personal_email):
        if email:
            address = email.strip().lower()
            key = key or f"email:{address}"
            texts.append(address.partition("@")[0])
    if name:
        words = " ".join(name.lower().split())
        key = key or f"name:{words}" + (f"|{' '.join(company.lower().split())}" if company else "")
        texts.append(words)
    return Person(key, tuple(texts)) if key else None


def slug_of(profile_url: str) -> str:
    """Return the LinkedIn slug of a URL, with or without scheme, of `in/slug` or of itself; another URL as it is."""
    text = profile_url.strip().lower()
    if "%" in text:
        text = unquote(text)
    path = text.partition("?")[0].partition("#")[0].rstrip("/")
    _, marker, rest = f"/{path}".partition("/in/")
    if marker:
        return rest.partition("/")[0]
    return SCHEME.sub("", path).removeprefix("www.")


def mobile_e164(key: str) -> str:
    """Return the one true number of the person *key*: valid E.164, the same in every run."""
    drawn = int.from_bytes(_digest(key)[16:24], "big")
    area = AREA_CODES[drawn % len(AREA_CODES)]
    line = drawn // len(AREA_CODES) % 10_000
    return f"+1{area}555{line - 1 if line in ASSIGNED_LINES else line:04d}"


def is_known(key: str, vendor: str, match_rate: float) -> bool:
    """Tell whether *vendor* has a number for the person *key*: the same in every run and every process."""
    digest = _digest(key)
    drawn = digest[:8] if vendor == "leadmagic" else digest[8:16]
    return int.from_bytes(drawn, "big") < match_rate * 2**64


def written(number: str, form: str) -> str:
    """Write the E.164 *number* the way a vendor may write it."""
    area, exchange, line = number[2:5], number[5:8], number[8:]
    match form:
        case "hyphens":
            return f"+1-{area}-{exchange}-{line}"
        case "spaces":
            return f"+1 {area} {exchange} {line}"
        case "noplus":
            return number[1:]
        case "national":
            return f"({area}) {exchange}-{line}"
        case _:
            return number


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
