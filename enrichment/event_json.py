"""Parse the JSON of an event without losing digits, and without an error for any valid JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

BYTE_ORDER_MARK = "\ufeff"  # some CRMs' libraries still send it, or two
LONGEST_NUMBER = 40  # digits; a longer one is an oversized id, or an attack


class NotJson(ValueError):
    """The body is not JSON; the message says where it goes wrong."""


def parse_json(body: bytes | str) -> Any:
    """Return the JSON value in *body*. Raise NotJson.

    Numbers are int or Decimal, or their text if they are long; NaN is None.
    """
    try:
        text = body.decode() if isinstance(body, bytes) else body
        return json.loads(
            text.lstrip(BYTE_ORDER_MARK),
            parse_int=_read_int,
            parse_float=_read_float,
            parse_constant=lambda _: None,
            object_pairs_hook=_read_object,
        )
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not UTF-8 from byte {error.start} on") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None


def _read_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits


def _read_float(digits: str) -> Decimal | str:
    # A long exponent would make a number too long to print.
    mantissa, _, exponent = digits.lower().partition("e")
    return Decimal(digits) if len(mantissa) <= LONGEST_NUMBER and len(exponent) <= 3 else digits


def _read_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; the values of a repeated key become a list, so that none is lost."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found = {}
    for key, value in pairs:
        if key in found:
            known = found[key] if isinstance(found[key], list) else [found[key]]
            known.extend(value if isinstance(value, list) else [value])
            found[key] = known
        else:
            found[key] = value
    return found
