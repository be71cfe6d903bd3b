"""Verify HubSpot's signatures of webhooks, without I/O.

    v3  X-HubSpot-Signature-v3   base64 HMAC-SHA256 of METHOD + URI + body + timestamp; the key is the client secret
        X-HubSpot-Request-Timestamp   milliseconds
    v2  X-HubSpot-Signature      hex SHA-256 of secret + METHOD + URI + body     only by HUBSPOT_ACCEPT_V1
    v1  X-HubSpot-Signature      hex SHA-256 of secret + body                    only by HUBSPOT_ACCEPT_V1

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from urllib.parse import unquote

from enrichment.crms.base import Headers

TOLERANCE = 300_000  # milliseconds, both ways; HubSpot's page names the past only
SIGNATURE_V3 = "x-hubspot-signature-v3"
TIMESTAMP = "x-hubspot-request-timestamp"
SIGNATURE = "x-hubspot-signature"
SIGNATURE_VERSION = "x-hubspot-signature-version"

_MILLISECONDS = re.compile(r"[0-9]{13}")
# HubSpot decodes these escapes of the URI, and no others, before it signs.
_DECODED = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_AROUND = " \t"  # optional around a header's value, and not part of it (RFC 9110, 5.5)


def verify(
    *, secret: str, method: str, url: str, headers: Headers, body: bytes, now: float, accept_old: bool = False
) -> bool:
    """Tell whether *secret* signed this request within TOLERANCE of *now* (seconds).

    A header that came twice is a forgery or a confused proxy. The old forms have no timestamp, so they count only if
    *accept_old*, and only without any header of v3: a wrong v3 signature is a wrong signature.
    """
    found = _read(headers)
    if not secret or found is None:
        return False
    if SIGNATURE_V3 in found or TIMESTAMP in found:
        behind = _behind(found, now)
        return behind is not None and abs(behind) <= TOLERANCE and _is_v3(found, secret, method, url, body)
    if not accept_old:
        return False
    match found.get(SIGNATURE_VERSION, "v1").lower():
        case "v1":
            expected = sign_v1(secret, body)
        case "v2":
            expected = sign_v2(secret, method, url, body)
        case _:
            return False
    return _equal(found.get(SIGNATURE, ""), expected)


def clocks_apart(*, secret: str, method: str, url: str, headers: Headers, body: bytes, now: float) -> float | None:
    """Return by how many seconds *now* is ahead of a request that *secret* signed, but beyond TOLERANCE; else None."""
    found = _read(headers)
    behind = _behind(found, now) if secret and found else None
    if found is None or behind is None or abs(behind) <= TOLERANCE:
        return None
    return behind / 1000 if _is_v3(found, secret, method, url, body) else None


def _read(headers: Headers) -> dict[str, str] | None:
    """Return the headers of signatures; None if one came twice."""
    named = (SIGNATURE_V3, TIMESTAMP, SIGNATURE, SIGNATURE_VERSION)
    given = [(name, value.strip(_AROUND)) for name, value in headers if name in named]
    found = dict(given)
    return found if len(found) == len(given) else None


def _behind(found: dict[str, str], now: float) -> float | None:
    """Return how many milliseconds before *now* it was signed; None if that cannot be read."""
    timestamp = found.get(TIMESTAMP, "")
    return now * 1000 - int(timestamp) if _MILLISECONDS.fullmatch(timestamp) else None


def _is_v3(found: dict[str, str], secret: str, method: str, url: str, body: bytes) -> bool:
    return _equal(found.get(SIGNATURE_V3, ""), sign_v3(secret, method, url, body, found[TIMESTAMP]))


def sign_v3(secret: str, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Return the v3 signature."""
    plain = _DECODED.sub(lambda escape: unquote(escape[0]), url)
    signed = f"{method.upper()}{plain}".encode() + body + timestamp.encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()


def sign_v2(secret: str, method: str, url: str, body: bytes) -> str:
    """Return the v2 signature, of workflows and cards."""
    return hashlib.sha256(f"{secret}{method.upper()}{url}".encode() + body).hexdigest()


def sign_v1(secret: str, body: bytes) -> str:
    """Return the v1 signature, of classic subscriptions and legacy private apps."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
