"""Search every column of every table for texts, to prove that an erasure left nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from tests.wishes import Pool


async def where_is(pool: Pool, texts: Iterable[str]) -> list[str]:
    """Return `table.column: text` for each place that holds one of *texts*: plain, in JSON, in arrays or in bytes.

    Bytes are searched as they are, and as the text that their hexadecimal form would be in another column.
    """
    columns = await pool.fetch(
        """
        SELECT columns.table_name, columns.column_name, columns.data_type
          FROM information_schema.columns
          JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(columns.table_name))
         WHERE columns.table_schema = 'public'
           AND pg_class.relkind IN ('r', 'p')
           AND NOT pg_class.relispartition
         ORDER BY 1, 2
        """
    )
    assert {"lookups", "events", "callbacks", "audit", "selected", "usage"} <= {row["table_name"] for row in columns}
    found = []
    for table in sorted({row["table_name"] for row in columns}):
        theirs = [row for row in columns if row["table_name"] == table]
        looked_at = ", ".join(f'bool_or({_holds(row)}) AS "{row["column_name"]}"' for row in theirs)
        rows = await pool.fetch(
            f"SELECT text AS wanted_text, {looked_at} FROM {table}, unnest($1::text[]) AS wanted (text) GROUP BY 1",  # noqa: S608
            list(texts),
        )
        for row in rows:
            found += [f"{table}.{one[1]}: {row['wanted_text']}" for one in theirs if row[one[1]]]
    return found


def _holds(column: asyncpg.Record) -> str:
    """Return the condition that a column holds the wanted text."""
    name = f'{column["table_name"]}."{column["column_name"]}"'
    shown = f"encode({name}, 'escape')" if column["data_type"] == "bytea" else f"{name}::text"
    as_hex = f"position(encode(convert_to(wanted.text, 'UTF8'), 'hex') IN {name}::text) > 0"
    return f"position(lower(wanted.text) IN lower({shown})) > 0 OR {as_hex}"
