"""Read the forms of our pages."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

from receiver.bodies import read_body, read_unverified
from receiver.problems import Problem

MOST_OF_A_FORM = 16_384  # bytes
MOST_FIELDS = 50
TYPE = "application/x-www-form-urlencoded"


async def receive_form(request: Request) -> None:
    """Receive the body, for `read_form`. Raise Problem (408, 413)."""
    request.state.body = await read_body(request, MOST_OF_A_FORM)


def read_form(request: Request) -> dict[str, str]:
    """Return the fields of the form that was received, the last of each name. Raise Problem (400, 415)."""
    return _read(request, request.state.body)


async def read_form_of_a_stranger(request: Request) -> dict[str, str]:
    """Return the fields of a form whose sender has yet to prove who it is."""
    return _read(request, await read_unverified(request, MOST_OF_A_FORM))


def _read(request: Request, body: bytes) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != TYPE:
        raise Problem(415, f"This address takes a form of the dashboard, as {TYPE}.")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:  # no ASCII, no UTF-8, or too many fields
        raise Problem(400, "The form cannot be read. Load the page again, and send it once more.") from None
    return {name: values[-1].replace("\0", "") for name, values in fields.items()}
