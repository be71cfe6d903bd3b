"""The pages of a list: read which one is asked for, and name the next by a cursor, the last id on this one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from enrichment.event import LONGEST_ID
from receiver.problems import Problem, wrong_fields

DEFAULT_LIMIT, LARGEST_LIMIT = 50, 200

CURSOR_PATTERN = "^[A-Za-z0-9_-]{22}$"  # the base64 of an id's sixteen bytes

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Place:
    """The rows of one page: up to *limit* of those before this id, or of the newest."""

    before: UUID | None
    limit: int

    @property
    def one_more(self) -> int:
        """Return a limit with one row more, which shows whether there is a next page."""
        return self.limit + 1

    def cut(self, rows: Sequence[Row], id_of: Callable[[Row], UUID]) -> tuple[Sequence[Row], str | None]:
        """Return the rows of the page, and the cursor of the next one; None if there is none."""
        shown = rows[: self.limit]
        return shown, write_cursor(id_of(shown[-1])) if len(rows) > len(shown) else None


def read_place(query: Mapping[str, str], wrong: Sequence[tuple[str, str]] = ()) -> Place:
    """Read `cursor` and `limit`. Raise Problem (422), which also names the parameters that are *wrong* already."""
    problems = list(wrong)
    cursor = query.get("cursor")
    before = read_cursor(cursor) if cursor is not None else None
    if cursor is not None and before is None:
        problems.append(("cursor", "a next_cursor from the page before"))
    limit = DEFAULT_LIMIT
    try:
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT)
    except Problem as problem:
        problems.extend(problem.errors)
    if problems:
        raise wrong_fields(problems)
    return Place(before, limit)


def whole_number(query: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    """Return the query parameter *name* as a number from 1 to *most*. Raise Problem (422)."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most):
        raise wrong_fields([(name, f"a whole number from 1 to {most}")])
    return int(text)


def wrong_id(query: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """Return the problem of a parameter that no stored id or name can equal; nothing if there is none."""
    text = query.get(name, "")
    if "\0" in text or len(text) > LONGEST_ID:
        return [(name, f"up to {LONGEST_ID} characters, none of them NUL")]
    return []


def write_cursor(last: UUID) -> str:
    """Return the cursor of the page after *last*."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def read_cursor(cursor: str) -> UUID | None:
    """Return the id in *cursor*; None if it is none of ours."""
    try:
        return UUID(bytes=base64.urlsafe_b64decode(f"{cursor}==".encode("ascii")))
    except (ValueError, binascii.Error):
        return None
