"""The pool, single connections, transactions, and the errors that mean PostgreSQL is unusable."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import structlog
from asyncpg.connect_utils import SessionAttribute
from asyncpg.pool import PoolAcquireContext

from enrichment.postgres_url import read_postgres_url
from enrichment.settings import Settings
from store import embedded
from store.connection import NotReplicated, WritingConnection, keep_alive
from store.hosts import Hosts

log = structlog.get_logger()

# A pool, or one connection when statements belong to one transaction.
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Db = asyncpg.Pool | asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CONNECT_TIMEOUT = 5.0  # seconds, for one connection
ACQUIRE_TIMEOUT = 5.0  # seconds, for a connection out of the pool
COMMAND_TIMEOUT = 15.0  # seconds, for one statement, as we see it
STUCK_AFTER = 3.0  # seconds that a commit may wait for the standby before /readyz says so
CLOSE_TIMEOUT = 5.0  # seconds, for the pool to close before its connections are cut

# The server keeps the same bounds, in case this process is gone or frozen.
SERVER_SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "jit": "off",  # our statements are short; compiling them takes longer than running them
    "max_parallel_workers_per_gather": "0",  # so does starting workers: with two years of months, ten times longer
}
# For statements that take long, and for which no caller waits.
UNHURRIED = {"statement_timeout": "0", "lock_timeout": "0"}

STATEMENTS_KEPT = 100  # prepared statements of one connection
# For kept statements; as a statement, because PgBouncer refuses settings that it does not know.
PLANNED_ONCE = """
    SET plan_cache_mode = force_generic_plan;  -- each month of the history makes planning longer than running
    SET enable_seqscan = off;  -- a plan made while a month was empty would read through it when it is full
"""
# asyncpg asks the server about a type when a connection first meets it: about these, once and together.
ARRAYS = """
    SELECT $1::bool[], $2::bytea[], $3::int[], $4::bigint[], $5::float8[], $6::numeric[], $7::text[], $8::uuid[],
           $9::interval[], $10::timestamptz[], $11::jsonb[]
"""
_OUR_OWN = re.compile(r"[?&]statement_cache_size=0$")  # in a URL: meant for the pool, not for the server


# Errors that mean PostgreSQL is temporarily unusable, or that the transaction has to be retried.
UNREACHABLE = (
    OSError,
    TimeoutError,
    NotReplicated,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # An idle session was terminated, and used again before the end of its connection arrived.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidCachedStatementError,  # a migration changed what a prepared statement returns
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)


if TYPE_CHECKING:
    AnyPool: TypeAlias = asyncpg.Pool[Any]
else:
    AnyPool = asyncpg.Pool


class DatabaseDown(Exception):
    """PostgreSQL cannot be used; the message says why and what to do."""


class WrongDatabase(DatabaseDown):
    """Waiting does not help: the URL, the password, the database or a privilege is wrong."""


class PatientPool(AnyPool):
    """A pool in which every wait for a connection has a bound, also in its own fetch and execute."""

    def __init__(self, url: str, **kwargs: Any) -> None:
        self._hosts = Hosts(url)
        connect: Any = self._hosts.connect  # the stubs know no way to pass one that is asyncpg's own with more
        super().__init__(url, connect=connect, **kwargs)
        self.stuck: set[asyncio.Future[str]] = set()  # commits that continue without their callers
        self.usable = True  # False until the schema was found to be current, where a process does not wait for that

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext[Any]:
        """Acquire a connection within *timeout* seconds. Raise ConnectionError while the pool is not usable."""
        if not self.usable:
            raise ConnectionError("the database has not been found usable yet")
        return super().acquire(timeout=ACQUIRE_TIMEOUT if timeout is None else timeout)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        """Release the connection; if it is committing, wait for the commit first."""
        committing: asyncio.Future[str] | None = getattr(connection, "committing", None)
        if committing is None or committing.done():
            await super().release(connection, timeout=timeout)
            return
        # Dropping it would leave a session behind that holds locks, and the next try another one, until the server
        # has no more: this way there are never more than this pool's.
        self.stuck.add(committing)
        if connection.host is not None and self._hosts.leave(connection.host):
            await self.expire_connections()  # after a failover, a primary that was replaced may live on
        committing.add_done_callback(lambda _: asyncio.ensure_future(self._release_late(connection, committing)))

    async def _release_late(self, connection: Any, committing: asyncio.Future[str]) -> None:
        self.stuck.discard(committing)
        with suppress(*UNREACHABLE):  # after a crash of the server the pool has already let go of the connection
            if committing.cancelled() or committing.exception():
                log.warning("commit_unknown")
                connection.terminate()
            await super().release(connection)


@asynccontextmanager
async def transaction(
    pool: asyncpg.Pool[Any], *, acknowledge: bool = False
) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[Any]]:
    """Acquire a connection and open a transaction on it; commit at the end, and return when the commit is replicated.

    *acknowledge*: wait for replication even when nothing was written, so that a repeated message is not acknowledged
    before the first one is replicated. After an error in UNREACHABLE the transaction may have been committed or not.
    """
    connection: Any  # a proxy of a WritingConnection
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection, connection.transaction():
        if acknowledge:
            connection.acknowledge()
        yield connection


async def replication_is_stuck(db: Db) -> bool:
    """Tell whether a commit has waited for the standby for longer than STUCK_AFTER."""
    if isinstance(db, PatientPool) and db.stuck:
        return True
    stuck: bool = await db.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_stat_activity
             WHERE datname = current_database()
               AND wait_event = 'SyncRep'
               AND state_change < clock_timestamp() - make_interval(secs => $1)
        )
        """,
        STUCK_AFTER,
    )
    return stuck


def database_url(settings: Settings) -> str:
    """Return the configured URL of PostgreSQL, or the embedded server's; start that server if it is not running."""
    if settings.database_url is None:
        try:
            return embedded.start(settings.ringback_home)
        except embedded.EmbeddedError as error:
            raise DatabaseDown(str(error)) from error
    return read_postgres_url(settings.database_url.get_secret_value()).url


def direct_url(settings: Settings, url: str) -> str:
    """Return the URL that bypasses any pooler, for LISTEN: the configured one, or else *url*."""
    given = settings.database_direct_url
    return read_postgres_url(given.get_secret_value()).url if given else url


def ignored_parameters(settings: Settings) -> list[str]:
    """List the parameters of DATABASE_URL and DATABASE_DIRECT_URL that have no effect."""
    given = [url.get_secret_value() for url in (settings.database_url, settings.database_direct_url) if url]
    return sorted({name for url in given for name in read_postgres_url(url).ignored})


async def connect(url: str, *, name: str, hurries: bool = True) -> asyncpg.Connection[Any]:
    """Connect outside any pool; with *hurries* False, without timeouts for statements. Raise DatabaseDown."""
    try:
        url, kept = _read(url)
        connection: WritingConnection = await Hosts(url).connect(
            url,
            statement_cache_size=kept,
            connection_class=WritingConnection,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT if hurries else None,
            server_settings=SERVER_SETTINGS | ({} if hurries else UNHURRIED) | {"application_name": f"ringback {name}"},
            target_session_attrs=_wanted(url),
        )
        keep_alive(connection)
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise database_down(error) from error
    return connection


async def open_pool(url: str, *, name: str, size: int) -> PatientPool:
    """Open a pool, which connects on demand. Raise WrongDatabase when *url* cannot be parsed."""
    try:
        url, kept = _read(url)
        return await PatientPool(
            url,
            statement_cache_size=kept,
            min_size=0,
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=60.0,
            loop=None,
            connection_class=WritingConnection,
            record_class=asyncpg.Record,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings=SERVER_SETTINGS | {"application_name": f"ringback {name}"},
            target_session_attrs=_wanted(url),
            init=_plan_once if kept else _init,
            reset=_nothing_to_reset,
        )
    except ValueError as error:
        raise database_down(error) from error


async def close_pool(pool: asyncpg.Pool[Any]) -> None:
    """Close the pool, by force after CLOSE_TIMEOUT."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await pool.close()
    except (TimeoutError, *UNREACHABLE):
        pool.terminate()


async def _init(connection: asyncpg.Connection[Any]) -> None:
    keep_alive(connection)


async def _plan_once(connection: asyncpg.Connection[Any]) -> None:
    keep_alive(connection)
    await connection.execute(PLANNED_ONCE)
    await connection.prepare(ARRAYS)


async def _nothing_to_reset(_: asyncpg.Connection[Any]) -> None:
    # asyncpg's reset is a round trip at every release. We do not need it: after `init` we never SET, LISTEN, or take a
    # session's advisory lock on a pooled connection. An open transaction is still rolled back.
    return


def _wanted(url: str) -> SessionAttribute | None:
    """Choose a writable host among several in *url*, unless *url* says otherwise."""
    return None if "target_session_attrs=" in url else SessionAttribute.read_write


def _read(url: str) -> tuple[str, int]:
    """Split *url* into one that asyncpg accepts and the number of prepared statements that a connection keeps."""
    try:
        read = read_postgres_url(url)
    except ValueError as error:
        raise WrongDatabase(f"DATABASE_URL cannot be used: {error}.") from None
    return _OUR_OWN.sub("", read.url), STATEMENTS_KEPT if read.keeps_statements else 0


# Errors that waiting does not mend while a process starts. Later, a failover may cause them.
_WRONG = (
    ValueError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    ssl.SSLError,
)
# A server that stops in the middle of a handshake: it comes back.
_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def database_down(error: Exception) -> DatabaseDown:
    """Return a DatabaseDown that says what *error* means and what to do."""
    is_wrong = isinstance(error, _WRONG) and not isinstance(error, _CUT_OFF)
    return (WrongDatabase if is_wrong else DatabaseDown)(_advice(error))


def _advice(error: Exception) -> str:
    what = str(error) or type(error).__name__
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        remedy = "check the user and password in DATABASE_URL, and percent-encode the password's special characters"
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        remedy = "create that database, or correct DATABASE_URL"
    elif isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        what, remedy = "it is read-only", "let DATABASE_URL lead to the primary, or name all hosts in it"
    elif isinstance(error, asyncpg.InsufficientPrivilegeError):
        remedy = "let `ringback migrate` and the processes use the same user, or grant it to theirs"
    elif isinstance(error, asyncpg.ClientConfigurationError):
        remedy = "correct DATABASE_URL"
    elif isinstance(error, ssl.SSLError) and not isinstance(error, _CUT_OFF):
        said = (getattr(error, name, None) for name in ("verify_message", "reason"))
        what = f"TLS failed ({next(filter(None, said), type(error).__name__)})"
        remedy = "check sslmode, sslrootcert, sslcert and sslkey in DATABASE_URL"
    elif isinstance(error, ValueError):
        what, remedy = "DATABASE_URL cannot be used", "correct its host"
    else:
        remedy = "start PostgreSQL, or correct DATABASE_URL, or unset it to use the embedded one"
    return f"PostgreSQL cannot be used: {what}. Remedy: {remedy}."
