"""A PostgreSQL backend for `databases` that never waits without a limit."""

import asyncio
from typing import Any

import asyncpg
from databases import DatabaseURL
from databases.backends.dialects.psycopg import dialect
from databases.backends.postgres import PostgresBackend as LibraryBackend
from databases.backends.postgres import PostgresConnection as LibraryConnection
from sqlalchemy.sql import ClauseElement

from authapi.engines.statements import Bound, Compiler, numbered
from authapi.engines.urls import dsn

FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises when the database cannot be asked. A time-out is an `OSError`; a server that
goes down is an internal error."""
FULL = asyncpg.DiskFullError
UNWRITABLE = (FULL, asyncpg.ReadOnlySQLTransactionError)
BREAKS_REFERENCE = asyncpg.ForeignKeyViolationError
TIMEOUT_SECONDS = 5
"""For each of: to connect, to run a statement in a transaction, to close."""
Standby = asyncpg.exceptions.TargetServerAttributeNotMatched
STANDBY = (
    "The database is a standby, which may not know yet what was ended on its primary: "
    "DATABASE_URL must name the primary."
)
PROXIED = (
    "Something between us and the PostgreSQL drops what each connection asks for, as pgbouncer"
    " does with `ignore_startup_parameters`: DATABASE_URL must name the PostgreSQL itself."
)
LOCK_TIMEOUT = "2s"
"""Sooner than a caller gives up: a server that waits for a lock does not notice that, and would
keep a connection for each."""
CONNECTION = {
    "timeout": TIMEOUT_SECONDS,
    "command_timeout": TIMEOUT_SECONDS,
    "target_session_attrs": "primary",  # what was ended there, a standby may not know yet
    "server_settings": {
        "application_name": "auth-api",
        "synchronous_commit": "on",  # what was answered survives a crash
        "lock_timeout": LOCK_TIMEOUT,
    },
}
CHECK = f"SELECT 1 / CAST(current_setting('lock_timeout') = '{LOCK_TIMEOUT}' AS int)"
FULL_SECONDS = 0.05
"""How soon it is tried again, where the server gives out no more connections."""
_COMPILER = Compiler(dialect(paramstyle="pyformat"), numbered)  # type: ignore[no-untyped-call]


class Unfit(OSError):
    """The database answers, and must not be served from."""


class PostgresBackend(LibraryBackend):
    """A pool of at most `pool_size` connections, and one that it keeps aside."""

    turns: asyncio.Semaphore

    def __init__(
        self, url: DatabaseURL, pool_size: int = 8, close_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        super().__init__(url)
        self._pool_size = pool_size
        self._close_seconds = close_seconds
        self._dedicated: asyncpg.Connection | None = None

    async def connect(self) -> None:
        """Raises what asyncpg does, and `Unfit`."""
        self._pool = await asyncpg.create_pool(
            dsn(self._database_url),
            min_size=1,
            max_size=self._pool_size,
            init=_check_connection,
            reset=_leave,
            **CONNECTION,
        )
        # The pool itself is not fair: a newcomer may take the connection that another was woken
        # for, which then waits behind all others. Here the first to come is served first.
        self.turns = asyncio.Semaphore(self._pool_size)

    def connection(self) -> "PostgresConnection":
        return PostgresConnection(self, self._dialect)

    async def fetch(self, query: Bound) -> list[Any]:
        """Outside of a transaction. To cancel it waits for nothing."""
        connection = self.connection()
        await connection.take()
        try:
            return await connection.fetch_all(query)
        finally:
            await connection.release()

    async def dedicated_connection(self) -> asyncpg.Connection:
        """Not of the pool, where each question may use another connection."""
        if self._dedicated is None or self._dedicated.is_closed():
            options = CONNECTION | {"command_timeout": None}  # the caller has a limit
            connection = await connect_alone(self._database_url, **options)
            await _check_connection(connection)
            self._dedicated = connection
        return self._dedicated

    async def fetch_on(self, connection: Any, query: Bound) -> list[Any]:
        """On the dedicated connection, which is closed after any fault."""
        try:
            return await self.run(connection, query)
        except BaseException:
            connection.terminate()
            raise

    async def run(self, connection: Any, query: ClauseElement | Bound) -> list[Any]:
        statement, arguments = _COMPILER.compile(query)
        return list(await connection.fetch(statement.sql, *arguments))

    @property
    def pool(self) -> Any:
        if self._pool is None:
            raise asyncpg.InterfaceError("not connected")
        return self._pool

    async def disconnect(self) -> None:
        if self._dedicated is not None:
            self._dedicated.terminate()
        pool, self._pool = self.pool, None
        try:
            await asyncio.wait_for(pool.close(), self._close_seconds)
        except TimeoutError:
            pool.terminate()


class PostgresConnection(LibraryConnection):
    def __init__(self, backend: PostgresBackend, dialect: Any) -> None:
        super().__init__(backend, dialect)
        self._backend = backend

    async def acquire(self) -> None:
        """For a transaction, which has no limit from its caller."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.take()

    async def take(self) -> None:
        self._pool = self._backend.pool
        await self._backend.turns.acquire()
        try:
            while self._connection is None:
                try:
                    self._connection = await self._pool.acquire()
                except asyncpg.TooManyConnectionsError:
                    # One is free in a moment; else the caller's own limit ends the wait.
                    await asyncio.sleep(FULL_SECONDS)
        except BaseException:
            self._backend.turns.release()
            raise

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        try:
            await self._pool.release(connection, timeout=TIMEOUT_SECONDS)
        finally:
            self._backend.turns.release()

    async def fetch_all(self, query: ClauseElement | Bound) -> list[Any]:
        """asyncpg's own rows: the library's, around each, cost more than the reading."""
        connection = self.raw_connection
        try:
            return await self._backend.run(connection, query)
        except asyncio.CancelledError:
            # Otherwise the driver asks the server to cancel, and waits until it has.
            connection.terminate()
            raise


async def connect_alone(url: DatabaseURL, **options: Any) -> asyncpg.Connection:
    """One connection without a pool, and without a limit on a statement."""
    options = {"timeout": TIMEOUT_SECONDS, "target_session_attrs": "primary"} | options
    return await asyncpg.connect(dsn(url), **options)


async def _check_connection(connection: asyncpg.Connection) -> None:
    """Raises `Unfit` if what we asked for as we connected is not in force: a proxy that drops it
    would drop `synchronous_commit`, too, and the connection may be another one at each question."""
    try:
        # By `execute`, which prepares nothing: that fails by itself where connections are shared.
        await connection.execute(CHECK)
    except asyncpg.DivisionByZeroError:
        connection.terminate()
        raise Unfit(PROXIED) from None


async def _leave(connection: asyncpg.Connection) -> None:
    """In place of a reset, a round trip for each query: we change no settings, and asyncpg rolls
    back a transaction that is still open."""
