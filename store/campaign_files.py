"""Uploads: a campaign's file in pieces, because any process may have to read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from enrichment.files.table import Table
from store.database import Db, transaction
from store.partitions import first_id

PIECE = 512 * 1024  # bytes
READ_AT_ONCE = 4  # pieces
GONE = "its file was removed: by RETAIN_DAYS, or because it named a person who was erased; upload it again"


async def begin_upload(db: Db, *, name: str, who: str) -> UUID:
    """Insert a campaign whose file is on its way; return its id."""
    id = uuid7()
    await db.execute(
        "INSERT INTO campaigns (id, name, who, state, is_uploaded) VALUES ($1, $2, $3, 'uploading', true)",
        id,
        name,
        who,
    )
    return id


async def add_piece(db: Db, id: UUID, place: int, piece: bytes) -> None:
    """Keep the next piece of an upload."""
    await db.execute("INSERT INTO campaign_files (campaign_id, place, bytes) VALUES ($1, $2, $3)", id, place, piece)


async def end_upload(db: Db, id: UUID, name: str, digest: bytes, pieces: int) -> bool:
    """Record that the file is complete (uploading -> uploaded). Return False if a piece was deleted meanwhile."""
    row = await db.fetchrow(
        """
        UPDATE campaigns
           SET state = 'uploaded', name = $2, digest = $3
         WHERE id = $1
           AND state = 'uploading'
           AND (SELECT count(*) FROM campaign_files WHERE campaign_id = $1) = $4
        RETURNING id
        """,
        id,
        name,
        digest,
        pieces,
    )
    return row is not None


async def pieces(db: Db, id: UUID) -> AsyncIterator[bytes]:
    """Yield the pieces of an upload, in order."""
    place = -1
    while True:
        rows = await db.fetch(
            """
            SELECT place, bytes
              FROM campaign_files
             WHERE campaign_id = $1
               AND place > $2
             ORDER BY place
             LIMIT $3
            """,
            id,
            place,
            READ_AT_ONCE,
        )
        if not rows:
            return
        for row in rows:
            yield row["bytes"]
        place = rows[-1]["place"]


async def spool(db: Db, id: UUID, path: Path) -> bool:
    """Write an upload to *path*. Return False if it is gone, or a piece of it is.

    Retention deletes some pieces at a time, and an erasure may come between two: then the rest would be other rows.
    """
    digest = hashlib.sha256()
    with path.open("wb") as file:
        async for piece in pieces(db, id):
            digest.update(piece)
            file.write(piece)
    whole: bytes | None = await db.fetchval("SELECT digest FROM campaigns WHERE id = $1", id)
    return digest.digest() == whole


async def drop_upload(db: Db, id: UUID) -> None:
    """Delete an upload that did not become complete."""
    await db.execute(
        """
        WITH gone AS (
            DELETE FROM campaigns WHERE id = $1 AND state = 'uploading' RETURNING id
        )
        DELETE FROM campaign_files
         WHERE campaign_id IN (SELECT id FROM gone)
        """,
        id,
    )


async def describe(
    pool: asyncpg.Pool[Any], id: UUID, table: Table, mapping: Mapping[str, str], path: Path | None = None
) -> bool:
    """Keep how an upload is read, and what its columns seem to hold. Return False if it is not `uploaded` any more.

    *path*: a file that takes its place.
    """
    digest = None
    if path is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    async with transaction(pool) as db:
        row = await db.fetchrow(
            """
            UPDATE campaigns
               SET layout = $2::jsonb, mapping = $3::jsonb, digest = COALESCE($4, digest)
             WHERE id = $1
               AND state = 'uploaded'
               AND layout IS NULL
            RETURNING id
            """,
            id,
            json.dumps(asdict(table)),
            json.dumps(dict(mapping)),
            digest,
        )
        if row is not None and path is not None:
            await db.execute("DELETE FROM campaign_files WHERE campaign_id = $1", id)
            with path.open("rb") as file:
                for place, piece in enumerate(iter(lambda: file.read(PIECE), b"")):
                    await add_piece(db, id, place, piece)
    return row is not None


async def is_kept(db: Db, id: UUID) -> bool:
    """Tell whether the upload is still there."""
    kept: bool = await db.fetchval("SELECT EXISTS (SELECT FROM campaign_files WHERE campaign_id = $1)", id)
    return kept


async def drop_stray_uploads(db: Db, age: timedelta) -> int:
    """Delete uploads that began so long ago and never became complete; return how many pieces."""
    rows = await db.fetch(
        """
        WITH stray AS MATERIALIZED (
            DELETE FROM campaigns WHERE id < $1 AND state = 'uploading' RETURNING id
        )
        DELETE FROM campaign_files
         WHERE campaign_id IN (SELECT id FROM stray)
        RETURNING place
        """,
        first_id(datetime.now(UTC) - age),
    )
    return len(rows)
