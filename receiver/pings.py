"""Answer verification pings, which some senders make before they send events to an address.

Ringback needs no verification. A sender whose ping carries a token gets its challenge back; the events of any other
would be refused later, so its ping is refused at once. An echo is short, printable and never HTML.
"""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from receiver.auth import Tokens
from receiver.problems import Problem

# Meta and WebSub, Nylas and Dropbox, Microsoft Graph
QUERY_NAMES = ("hub.challenge", "challenge", "validationToken")
LARGEST_PING = 4096  # bytes
_MAY_BE_PING = re.compile(rb'"challenge"|SubscriptionValidationEvent|"SubscriptionConfirmation"|url_validation"')
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,1024}")
ABOUT = "This address takes events by POST, with a token or a signature. It needs no verification.\n"
UNANSWERABLE = (
    "This is a sender's verification message, and Ringback cannot answer it: it would have to sign the answer, or to "
    "call an address. Use a sender that sends a token, for instance an automation in between."
)


async def probe(request: Request, tokens: Tokens) -> Response:
    """Answer GET and HEAD of an event address with the challenge, or its purpose. Raise Problem (401, 403, 422)."""
    challenge = _query_challenge(request)
    if challenge is None:
        return Response(ABOUT, media_type="text/plain")
    tokens.admit(request, "events")
    return _echo(challenge)


def echo_query(request: Request) -> Response | None:
    """Answer a POST without a body whose query holds a challenge; return None if it is no ping."""
    challenge = _query_challenge(request)
    return None if challenge is None else _echo(challenge)


def echo_body(body: bytes) -> Response | None:
    """Answer a JSON body that is a ping; return None for any other body. Raise Problem (422)."""
    if len(body) > LARGEST_PING or not _MAY_BE_PING.search(body):
        return None
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(message, list) and len(message) == 1:
        message = message[0]
    if not isinstance(message, dict):
        return None
    if message.get("type") == "url_verification" or message.keys() == {"challenge"}:  # Slack, monday.com
        return _json({"challenge": _checked(message.get("challenge"))})
    if message.get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent":
        data = message.get("data")
        code = data.get("validationCode") if isinstance(data, dict) else None
        return _json({"validationResponse": _checked(code)})
    if message.get("Type") == "SubscriptionConfirmation" or message.get("event") == "endpoint.url_validation":
        raise Problem(422, UNANSWERABLE)  # Amazon SNS, Zoom
    return None


def _query_challenge(request: Request) -> str | None:
    return next((request.query_params[name] for name in QUERY_NAMES if name in request.query_params), None)


def _checked(challenge: Any) -> str:
    if not isinstance(challenge, str) or not _PRINTABLE.fullmatch(challenge):
        raise Problem(422, "The challenge must be a text of 1 to 1,024 printable ASCII characters.")
    return challenge


def _echo(challenge: str) -> Response:
    return Response(_checked(challenge), media_type="text/plain")


def _json(answer: dict[str, str]) -> Response:
    return Response(json.dumps(answer), media_type="application/json")
