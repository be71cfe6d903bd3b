"""Standard Webhooks: verify the signature of a message, and sign our own.

The text that is signed is `{id}.{timestamp}.{body}`; a signature is `v1,<base64 of its HMAC-SHA256>`. While secrets are
rotated a message carries one signature for each, separated by spaces, and one that fits is enough.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

TOLERANCE = 300  # seconds, both ways; as in the reference libraries
_SIGNED = ("id", "timestamp", "signature")
_UNIX_TIME = re.compile(r"[0-9]{1,12}")
_AROUND = " \t"  # optional around a header's value, and not part of it (RFC 9110, 5.5)


def webhook_key(secret: SecretStr) -> bytes:
    """Decode the key in a whsec_ secret."""
    return base64.b64decode(secret.get_secret_value().removeprefix("whsec_"))


def may_be_signed(headers: Mapping[str, str]) -> bool:
    """Tell whether the headers carry a signature, so that the body is worth reading."""
    return _signature_headers(headers) is not None


def verify_webhook(headers: Mapping[str, str], body: bytes, *, keys: Sequence[bytes], now: float) -> str | None:
    """Return the message's id if one of *keys* made one of its signatures within TOLERANCE of *now*; else None."""
    given = _signature_headers(headers)
    if given is None:
        return None
    message_id, timestamp, signatures = given
    if not _UNIX_TIME.fullmatch(timestamp) or abs(now - int(timestamp)) > TOLERANCE:
        return None
    # Headers come decoded as latin-1; this gives back the bytes that were signed.
    signed = f"{message_id}.{timestamp}.".encode("latin-1") + body
    sent = [one.encode("latin-1") for one in signatures.split(" ")]
    # All are compared, so that the time does not reveal which key fits.
    genuine = [hmac.compare_digest(_signature(key, signed), one) for key in keys for one in sent]
    return message_id if any(genuine) else None


def sign_webhook(message_id: str, body: bytes, *, keys: Sequence[bytes], now: float) -> dict[str, str]:
    """Return the headers that sign *body* at *now*, with every key."""
    timestamp = str(int(now))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = " ".join(_signature(key, signed).decode() for key in keys)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def _signature(key: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))


def _signature_headers(headers: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return the id, timestamp and signatures, from webhook-* or svix-* headers."""
    for prefix in ("webhook", "svix"):
        message_id, timestamp, signatures = (headers.get(f"{prefix}-{part}", "").strip(_AROUND) for part in _SIGNED)
        if message_id and timestamp and signatures:
            return message_id, timestamp, signatures
    return None
