"""Sessions: a token that was sent once, in the form at /login, admits a browser until the session ends.

The session is in the cookie alone, so any receiver can check it, without the database: the moment of its end, signed
with the token. Without the token in API_TOKENS nothing verifies the cookie, so removing a token ends its sessions, and
another SESSION_KEY ends all.
"""

from __future__ import annotations

import hmac
import time

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from receiver.auth import Holder, Tokens

LASTS = 12 * 3600  # seconds from the login
# Browsers take a cookie with this prefix only over https, and from this host alone:
# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
SECURE, PLAIN = "__Host-ringback", "ringback"


class Sessions:
    """The sessions of the holders of *tokens*."""

    def __init__(self, tokens: Tokens, key: SecretStr | None) -> None:
        self._tokens = tokens
        self._key = key.get_secret_value().encode() if key else b""

    def begin(self, response: Response, digest: bytes, *, secure: bool) -> None:
        """Set the cookie of a session that begins now; *secure*: the browser came over https."""
        until = int(time.time()) + LASTS
        response.set_cookie(
            SECURE if secure else PLAIN, f"{until}.{self._signature(digest, until)}", max_age=LASTS, path="/",
            secure=secure, httponly=True, samesite="lax",
        )  # fmt: skip

    def holder(self, request: Request) -> tuple[Holder, int] | None:
        """Return the holder of the token that began the session of *request*, and when it ends; None: there is none."""
        cookie = request.cookies.get(SECURE) or request.cookies.get(PLAIN) or ""
        text, _, signature = cookie.partition(".")
        if not (text.isascii() and text.isdecimal() and len(text) < 12) or int(text) <= time.time():
            return None
        given = signature.encode("utf-8", "replace")
        matches = [
            (hmac.compare_digest(given, self._signature(digest, int(text)).encode()), holder)
            for digest, holder in self._tokens.known
        ]
        return next(((holder, int(text)) for is_equal, holder in matches if is_equal), None)

    def _signature(self, digest: bytes, until: int) -> str:
        return hmac.digest(digest, b"session\0%d\0%s" % (until, self._key), "sha256").hex()


def came_by(request: Request) -> str:
    """Return the address by which this browser came, as far as a server behind a proxy can tell."""
    return f"{'https' if SECURE in request.cookies else 'http'}://{request.headers.get('host', '')}"


def end(response: Response) -> None:
    """Remove the cookies of the session."""
    response.delete_cookie(SECURE, path="/", secure=True, httponly=True, samesite="lax")
    response.delete_cookie(PLAIN, path="/", httponly=True, samesite="lax")


def is_ours(request: Request) -> bool:
    """Tell whether a POST comes from a page of ours, and not from another site that the browser has open.

    Every browser sends one of these headers with a form, and no page can set them:
    https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    scheme, _, host = request.headers.get("origin", "").partition("://")
    return scheme in ("http", "https") and host != "" and host == request.headers.get("host")
