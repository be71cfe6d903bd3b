"""Many rows in one statement: an array for each column, named once for SQL and for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Columns:
    """The columns of the rows that a statement takes: the rows' attributes, and their types in PostgreSQL."""

    def __init__(self, first: int = 1, **types: str) -> None:
        """Take the types by name. The arrays are the parameters from $*first* on."""
        self.names = tuple(types)
        self.next = first + len(types)  # the number of the parameter after them
        self._arrays = ", ".join(f"${place}::{type}[]" for place, type in enumerate(types.values(), first))

    def cte(self, name: str) -> str:
        """Write the rows as a CTE of this *name*."""
        return f"{name} AS (SELECT * FROM unnest({self._arrays}) AS {name} ({', '.join(self.names)}))"  # noqa: S608

    def of(self, rows: Sequence[Any], read: Callable[[Any, str], Any] = getattr) -> list[list[Any]]:
        """Return the parameters for these *rows*, whose values *read* returns by name."""
        return [[read(row, name) for row in rows] for name in self.names]
