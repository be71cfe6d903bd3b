"""Check credentials: tokens, and signatures of Standard Webhooks. Nothing here reads a body or a database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from receiver.problems import Problem

Handler = Callable[[Request], Awaitable[Response]]

TOLERANCE = 300  # seconds, both ways; as in the reference libraries
_SIGNED = ("id", "timestamp", "signature")
_UNIX_TIME = re.compile(r"[0-9]{1,12}")
_AROUND = " \t"  # optional around a header's value, and not part of it (RFC 9110, 5.5)
_BEARER = re.compile(r"bearer[ \t]+([^ \t]+)", re.IGNORECASE)
MOST_CREDENTIALS = 8  # read per request: proxies add headers of their own


class Tokens:
    """The valid tokens."""

    def __init__(self, tokens: Sequence[SecretStr]) -> None:
        self._digests = [_digest(token.get_secret_value().encode()) for token in tokens]

    def admit(self, request: Request) -> bool:
        """Tell, in constant time, whether the request carries a valid token."""
        given = [_digest(text.encode("latin-1")) for text in _given(request.headers)]
        # All digests have one length, and all are compared, so that the time reveals nothing.
        return any([hmac.compare_digest(one, known) for one in given for known in self._digests])  # noqa: C419

    def guard(self, handler: Handler) -> Handler:
        """Wrap *handler* so that it answers only requests with a token; refuse others before their body is read."""

        @wraps(handler)
        async def guarded(request: Request) -> Response:
            if not self.admit(request):
                raise unauthorized()
            return await handler(request)

        return guarded


def unauthorized() -> Problem:
    """Return the 401 for a request without a valid token or signature."""
    return Problem(
        401,
        "Send one of API_TOKENS as `Authorization: Bearer <token>` or as `X-API-Key: <token>`. "
        "Nothing else is answered without it, verification challenges included.",
        headers={"WWW-Authenticate": 'Bearer realm="ringback"'},
    )


def webhook_key(secret: SecretStr) -> bytes:
    """Decode the key in a whsec_ secret."""
    return base64.b64decode(secret.get_secret_value().removeprefix("whsec_"))


def may_be_signed(headers: Mapping[str, str]) -> bool:
    """Tell whether the headers carry a signature, so that the body is worth reading."""
    return _signature_headers(headers) is not None


def verify_webhook(headers: Mapping[str, str], body: bytes, *, key: bytes, now: float) -> str | None:
    """Return the message's id if *key* made one of its signatures within TOLERANCE of *now*; else None.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    given = _signature_headers(headers)
    if given is None:
        return None
    message_id, timestamp, signatures = given
    if not _UNIX_TIME.fullmatch(timestamp) or abs(now - int(timestamp)) > TOLERANCE:
        return None
    # Starlette decodes headers as latin-1; this gives back the bytes that were signed.
    signed = f"{message_id}.{timestamp}.".encode("latin-1") + body
    expected = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
    genuine = any(
        [hmac.compare_digest(expected, one.encode("latin-1")) for one in signatures.split(" ")]  # noqa: C419
    )
    return message_id if genuine else None


def _signature_headers(headers: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return the id, timestamp and signatures, from webhook-* or svix-* headers."""
    for prefix in ("webhook", "svix"):
        message_id, timestamp, signatures = (headers.get(f"{prefix}-{part}", "").strip(_AROUND) for part in _SIGNED)
        if message_id and timestamp and signatures:
            return message_id, timestamp, signatures
    return None


def _given(headers: Headers) -> list[str]:
    """Return all possible tokens, from every header, because a proxy may have added one."""
    bearers = (_BEARER.fullmatch(value.strip(_AROUND)) for value in headers.getlist("authorization"))
    keys = (value.strip(_AROUND) for value in headers.getlist("x-api-key"))
    return [token for token in (*(bearer[1] for bearer in bearers if bearer), *keys) if token][:MOST_CREDENTIALS]


def _digest(token: bytes) -> bytes:
    return hashlib.blake2b(token, digest_size=32).digest()
