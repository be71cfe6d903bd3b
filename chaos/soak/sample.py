"""One look at everything that could grow: memory, dead rows, sizes, WAL, open lookups, connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from chaos.database import USER


@dataclass(frozen=True, slots=True)
class Table:
    """One table at one moment."""

    dead: int  # rows that no transaction can see and vacuum has not removed yet
    changes: int  # updates and deletes since the beginning: each leaves a dead row
    size: int  # bytes, with what is TOASTed
    indexes: int  # bytes
    vacuums: int  # automatic ones, since the beginning

    @property
    def total(self) -> int:
        """Return the bytes of the table with its indexes."""
        return self.size + self.indexes


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of everything, *at* seconds after the beginning."""

    at: float
    accepted: int  # lookups that the receivers promised
    open: int  # of these, not ended
    wal: int  # bytes written since the database was made
    connections: int  # of ours, in PostgreSQL
    memory: Mapping[str, float]  # MB, by process
    tables: Mapping[str, Table]

    @property
    def finished(self) -> int:
        """Count the lookups that have ended."""
        return self.accepted - self.open


async def look(db: asyncpg.Connection[Any], *, at: float, accepted: int, memory: Mapping[str, float]) -> Sample:
    """Read the database's part of a sample, and add the rest."""
    row = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM lookups WHERE final_status IS NULL) AS open,
               (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS wal,
               (SELECT count(*) FROM pg_stat_activity WHERE usename = $1) AS connections
        """,
        USER,
    )
    tables = await db.fetch(
        """
        SELECT COALESCE(pg_partition_root(relid), relid)::regclass::text AS name,  -- history may be in partitions
               sum(n_dead_tup)::bigint AS dead,
               sum(n_tup_upd + n_tup_del)::bigint AS changes,
               sum(pg_table_size(relid))::bigint AS size,
               sum(pg_indexes_size(relid))::bigint AS indexes,
               sum(autovacuum_count)::bigint AS vacuums
          FROM pg_stat_user_tables
         GROUP BY 1
         ORDER BY 1
        """
    )
    assert row is not None
    return Sample(
        at=at,
        accepted=accepted,
        open=row["open"],
        wal=row["wal"],
        connections=row["connections"],
        memory=memory,
        tables={
            table["name"]: Table(table["dead"], table["changes"], table["size"], table["indexes"], table["vacuums"])
            for table in tables
        },
    )
