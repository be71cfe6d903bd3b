"""Read schema.sql: its steps, their marks and their statements.

A step begins at a line `-- step N: title`. A title may end with marks:

  (concurrently)            each statement by itself and outside a transaction; run again after a crash
  (needs step 5)            programs that do not know step 5 cannot work with the database from this step on
  (concurrently, needs step 5)
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parent
# In the installed package, or at the root of the repository.
SCHEMA = next(path for path in (PACKAGE / "schema.sql", PACKAGE.parent / "schema.sql") if path.exists())

STEP = re.compile(r"^-- step (\d+): (.+)$", re.MULTILINE)
MARKS = re.compile(r"\((?P<concurrently>concurrently)?(?:, )?(?:needs step (?P<needs>\d+))?\)$")
# What may hold a semicolon that ends no statement, and the semicolons that do.
TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "[^"]*" | (?P<dollar>\$\w*\$).*?(?P=dollar) | (?P<end>;)""",
    re.DOTALL | re.VERBOSE,
)
COMMENT = re.compile(r"\s*(?:--[^\n]*(?:\n|$)|/\*.*?\*/)", re.DOTALL)


class SchemaError(Exception):
    """The database is not at the version of this program, or cannot be brought there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of schema.sql."""

    number: int
    title: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.strip().encode()).hexdigest()

    @property
    def is_concurrent(self) -> bool:
        marks = MARKS.search(self.title)
        return bool(marks and marks["concurrently"])

    @property
    def sql_in_a_transaction(self) -> str:
        """Return the SQL for a database that is not in use yet."""
        return self.sql.replace(" CONCURRENTLY", "") if self.is_concurrent else self.sql


def program() -> tuple[str, int]:
    """Return the version of this program, and the newest step that it knows."""
    return version("ringback"), read_steps()[-1].number


def needed_step(title: str) -> int:
    """Return the newest step that a program must know to work with a database that has the step of this *title*."""
    marks = MARKS.search(title)
    return int(marks["needs"] or 1) if marks else 1


def read_steps() -> list[Step]:
    """Read the steps of schema.sql, in order."""
    text = SCHEMA.read_text(encoding="utf-8")
    marks = list(STEP.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [Step(int(mark[1]), mark[2], text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]


def statements(sql: str) -> list[str]:
    """Split *sql* into its statements, without the comments before each."""
    ends = [token.start() for token in TOKEN.finditer(sql) if token["end"]]
    parts = [sql[begin:end] for begin, end in zip([0, *(end + 1 for end in ends)], [*ends, len(sql)], strict=True)]
    return [statement for part in parts if (statement := _without_comment(part))]


def _without_comment(statement: str) -> str:
    while comment := COMMENT.match(statement):
        statement = statement[comment.end() :]
    return statement.strip()
