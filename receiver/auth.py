"""Check tokens and their scopes. Nothing here reads a body."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from enrichment.setting_types import ApiToken, Scope
from receiver.access import Access
from receiver.problems import Problem

Handler = Callable[[Request], Awaitable[Response]]

_AROUND = " \t"  # optional around a header's value, and not part of it (RFC 9110, 5.5)
_BEARER = re.compile(r"bearer[ \t]+([^ \t]+)", re.IGNORECASE)
MOST_CREDENTIALS = 8  # read per request: proxies add headers of their own


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """The owner of a valid token, and what the token allows. While tokens are rotated, two may have one name."""

    name: str
    scopes: frozenset[Scope]


class Tokens:
    """The valid tokens, and the limits of those who send them or others."""

    def __init__(self, tokens: Sequence[ApiToken], access: Access | None = None) -> None:
        self.access = access or Access()
        self.known = [
            (digest(token.get_secret_value().encode()), Holder(token.name or f"token-{place}", token.scopes))
            for place, token in enumerate(tokens, 1)
        ]

    def holders(self, request: Request) -> list[Holder]:
        """Return, in constant time, the holders of the valid tokens that the request carries."""
        given = [digest(text.encode("latin-1")) for text in _given(request.headers)]
        # All digests have one length, and all are compared, so that the time reveals nothing.
        matches = [(hmac.compare_digest(one, known), holder) for one in given for known, holder in self.known]
        return [holder for is_equal, holder in matches if is_equal]

    def holder_of(self, given: bytes) -> Holder | None:
        """Return, in constant time, the holder of the token with this digest; None if no valid token has it."""
        matches = [(hmac.compare_digest(given, known), holder) for known, holder in self.known]
        return next((holder for is_equal, holder in matches if is_equal), None)

    def admit(self, request: Request, scope: Scope) -> None:
        """Let a request with a token of this *scope* pass, and note its holder. Raise Problem (401, 403, 429)."""
        holders = self.holders(request)
        if not holders:
            raise self.refusal(request)
        holder = next((holder for holder in holders if scope in holder.scopes), holders[0])
        self.access.count_token(holder, holder.name)
        if scope not in holder.scopes:
            raise forbidden(holder, scope)
        request.state.holder = holder

    def refusal(self, request: Request, problem: Problem | None = None) -> Problem:
        """Count a request without a valid token or signature; return *problem*, or else a 401, or a 429."""
        return self.access.refusal(request, problem or unauthorized())

    def guard(self, handler: Handler, scope: Scope) -> Handler:
        """Wrap *handler* so that it needs a token with *scope*; refuse other requests before reading their body."""

        @wraps(handler)
        async def guarded(request: Request) -> Response:
            self.admit(request, scope)
            return await handler(request)

        return guarded


def who(request: Request) -> str:
    """Return the name of the token that admitted the request, for the audit."""
    holder: Holder = request.state.holder
    return holder.name


def require(request: Request, scope: Scope) -> None:
    """Demand a further scope of the token that admitted the request. Raise Problem (403)."""
    holder: Holder = request.state.holder
    if scope not in holder.scopes:
        raise forbidden(holder, scope)


def unauthorized() -> Problem:
    """Return the 401 for a request without a valid token or signature."""
    return Problem(
        401,
        "Send one of API_TOKENS as `Authorization: Bearer <token>` or as `X-API-Key: <token>`. "
        "Nothing else is answered without it, verification challenges included.",
        headers={"WWW-Authenticate": 'Bearer realm="ringback"'},
    )


def forbidden(holder: Holder, scope: Scope) -> Problem:
    """Return the 403 for a valid token that lacks *scope*."""
    given = ", ".join(sorted(holder.scopes)) or "none"
    return Problem(
        403,
        f"This needs the scope `{scope}`; the token {holder.name!r} has: {given}. Give the token that scope in "
        f"API_TOKENS (name:scope+scope:token), or send another token.",
        headers={"WWW-Authenticate": f'Bearer realm="ringback", error="insufficient_scope", scope="{scope}"'},
    )


def _given(headers: Headers) -> list[str]:
    """Return all possible tokens, from every header, because a proxy may have added one."""
    bearers = (_BEARER.fullmatch(value.strip(_AROUND)) for value in headers.getlist("authorization"))
    keys = (value.strip(_AROUND) for value in headers.getlist("x-api-key"))
    return [token for token in (*(bearer[1] for bearer in bearers if bearer), *keys) if token][:MOST_CREDENTIALS]


def digest(token: bytes) -> bytes:
    """Return a hash of *token*, as long as any other."""
    return hashlib.blake2b(token, digest_size=32).digest()
