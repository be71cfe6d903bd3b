"""HubSpot's signatures: v3 over method, address, body and time; v1 over secret and body.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Literal

Signing = Literal["v3", "v1", "both"]
# Only these are decoded in the address before it is signed.
DECODED = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
_ENCODED = re.compile("|".join(DECODED), re.IGNORECASE)


def headers(how: Signing, secret: str, url: str, body: bytes, at: int) -> Mapping[str, str]:
    """Return the headers that sign a POST of *body* to *url* at *at* (milliseconds)."""
    signed: dict[str, str] = {}
    if how in {"v3", "both"}:
        signed["X-HubSpot-Signature-v3"] = v3(secret, "POST", url, body, at)
        signed["X-HubSpot-Request-Timestamp"] = str(at)
    if how in {"v1", "both"}:
        signed["X-HubSpot-Signature"] = v1(secret, body)
        signed["X-HubSpot-Signature-Version"] = "v1"
    return signed


def v1(secret: str, body: bytes) -> str:
    """Return the signature of version 1."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def v3(secret: str, method: str, url: str, body: bytes, at: int) -> str:
    """Return the signature of version 3."""
    address = _ENCODED.sub(lambda match: DECODED[match[0].upper()], url)
    text = method.encode() + address.encode() + body + str(at).encode()
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()
