"""The receiver most people write: FastAPI and SQLAlchemy, one transaction per request, on asyncpg.

The same durable work: the callback stored verbatim, the job ended, the lookup found, committed before the 200.
python -m bench.peers.fastapi_sqlalchemy URL PORT
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from uuid_utils.compat import uuid7

from bench.server import connected, database
from rig.ports import HOST, free_port
from rig.processes import running

KEY = b"key-of-the-benchmark"
SCHEMA = """
CREATE TABLE lookups (id uuid PRIMARY KEY, email text NOT NULL, status text NOT NULL, mobile text,
                      finished_at timestamptz);
CREATE TABLE jobs (id uuid PRIMARY KEY, lookup_id uuid NOT NULL, state text NOT NULL, request_id text,
                   finished_at timestamptz);
CREATE TABLE callbacks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_id uuid NOT NULL,
                        received_at timestamptz NOT NULL DEFAULT now(), body bytea NOT NULL);
"""


@asynccontextmanager
async def receiving(server_url: str, count: int) -> AsyncIterator[tuple[int, list[UUID], int, int]]:
    """Serve inside the block, with *count* jobs that await their callback.

    Yields its port, the jobs, and the numbers of its process and of one of PostgreSQL's.
    """
    async with database(server_url, ours=False) as url, connected(url) as connection:
        await connection.execute(SCHEMA)
        jobs, lookups = [uuid7() for _ in range(count)], [uuid7() for _ in range(count)]
        await connection.execute(
            "INSERT INTO lookups (id, email, status) SELECT id, id || '@acme.co', 'running' "
            "FROM unnest($1::uuid[]) AS new (id)",
            lookups,
        )
        await connection.execute(
            "INSERT INTO jobs (id, lookup_id, state) SELECT id, lookup_id, 'awaiting' "
            "FROM unnest($1::uuid[], $2::uuid[]) AS new (id, lookup_id)",
            jobs,
            lookups,
        )
        await connection.execute("VACUUM (ANALYZE) lookups, jobs")
        await connection.execute("CHECKPOINT")
        port = free_port()
        async with running("bench.peers.fastapi_sqlalchemy", url, str(port), port=port) as started:
            yield port, jobs, started.pid, connection.get_server_pid()


def create_app(url: str) -> Any:
    """Create the app with its one route."""
    from fastapi import FastAPI, Request, Response
    from sqlalchemy import Column, DateTime, LargeBinary, MetaData, String, Table, func, insert, update
    from sqlalchemy.dialects.postgresql import UUID as UUID_COLUMN
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

    metadata = MetaData()
    lookups = Table(
        "lookups", metadata, Column("id", UUID_COLUMN(as_uuid=True), primary_key=True),
        Column("status", String), Column("mobile", String), Column("finished_at", DateTime(timezone=True)),
    )  # fmt: skip
    jobs = Table(
        "jobs", metadata, Column("id", UUID_COLUMN(as_uuid=True), primary_key=True),
        Column("lookup_id", UUID_COLUMN(as_uuid=True)), Column("state", String), Column("request_id", String),
        Column("finished_at", DateTime(timezone=True)),
    )  # fmt: skip
    callbacks = Table("callbacks", metadata, Column("job_id", UUID_COLUMN(as_uuid=True)), Column("body", LargeBinary))
    engine = create_async_engine("postgresql+asyncpg://", pool_size=20, max_overflow=0, connect_args=_connect_args(url))
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    app = FastAPI()

    async def receive(provider: str, job_id: UUID, token: str, request: Request) -> Response:
        expected = hmac.new(KEY, f"{provider}:{job_id}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(token, expected):
            return Response(status_code=404)
        body = await request.body()
        data = json.loads(body)["data"]
        session: AsyncSession
        async with sessions() as session, session.begin():
            await session.execute(insert(callbacks).values(job_id=job_id, body=body))
            lookup_id = await session.scalar(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.state == "awaiting")
                .values(state="answered", request_id=data["request_id"], finished_at=func.now())
                .returning(jobs.c.lookup_id)
            )
            if lookup_id is not None:
                await session.execute(
                    update(lookups)
                    .where(lookups.c.id == lookup_id)
                    .values(status="found", mobile=data["result"]["mobile"], finished_at=func.now())
                )
        return Response("{}", media_type="application/json")

    # Real annotations, not texts: what they name was imported above.
    receive.__annotations__.update(provider=str, job_id=UUID, token=str, request=Request)
    receive.__annotations__["return"] = Response
    app.post("/callbacks/{provider}/{job_id}/{token}", response_model=None)(receive)
    return app


def _connect_args(url: str) -> dict[str, Any]:
    # SQLAlchemy reads no socket's folder out of a URL.
    parts = urlsplit(url)
    return {
        "host": parse_qs(parts.query).get("host", [parts.hostname])[0],
        "user": parts.username,
        "password": parts.password or None,
        "database": parts.path.removeprefix("/"),
        "port": parts.port or 5432,
    }


def main() -> None:
    """Serve until a signal, as `uvicorn --loop uvloop --http httptools` would."""
    import uvicorn

    app = create_app(sys.argv[1])
    uvicorn.run(app, host=HOST, port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="warning")


if __name__ == "__main__":
    main()
