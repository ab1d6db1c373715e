"""A PostgreSQL backend for `databases` that never waits without a limit."""

import asyncio
from typing import Any

import asyncpg
from databases import DatabaseURL
from databases.backends.postgres import PostgresBackend as LibraryBackend
from databases.backends.postgres import PostgresConnection as LibraryConnection
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql import ClauseElement

from authapi.engines.statements import Bound, Compiler

FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises when the database cannot be asked. A time-out is an `OSError`; a server that
goes down is an internal error."""
TIMEOUT_SECONDS = 5
"""For each of: to connect, to run a statement in a transaction, to close."""
Standby = asyncpg.exceptions.TargetServerAttributeNotMatched
STANDBY = (
    "The database is a standby, which may not know yet what was ended on its primary: "
    "DATABASE_URL must name the primary."
)
CONNECTION = {
    "timeout": TIMEOUT_SECONDS,
    "command_timeout": TIMEOUT_SECONDS,
    "target_session_attrs": "primary",  # what was ended there, a standby may not know yet
    "server_settings": {
        "application_name": "auth-api",
        "synchronous_commit": "on",  # what was answered survives a crash
        # By then the caller has given up. A server that waits for a lock does not notice, and would
        # keep a connection for each.
        "lock_timeout": "3s",
    },
}


SSL = {"true": True, "false": False}
"""As the library reads `?ssl=` for its pool."""


class PostgresBackend(LibraryBackend):
    """A pool of 1 to 8 connections, unless the URL says `?min_size=` or `?max_size=`."""

    def __init__(self, url: DatabaseURL, close_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(url)
        self._close_seconds = close_seconds
        self._dedicated: asyncpg.Connection | None = None
        self.turns = asyncio.Semaphore()
        self._compiler = Compiler(self._dialect, _place)

    def _get_connection_kwargs(self) -> dict[str, Any]:
        pool = {"min_size": 1, "max_size": 8, "reset": _leave}
        return CONNECTION | pool | super()._get_connection_kwargs()

    async def connect(self) -> None:
        await super().connect()
        # The pool itself is not fair: a newcomer may take the connection that another was woken
        # for, which then waits behind all others. Here the first to come is served first.
        self.turns = asyncio.Semaphore(self.pool.get_max_size())

    def connection(self) -> "PostgresConnection":
        return PostgresConnection(self, self._dialect)

    async def fetch(self, query: Bound) -> list[Any]:
        """Outside of a transaction. To cancel it waits for nothing."""
        connection = self.connection()
        await connection.take()
        try:
            return await connection.fetch_all(query)
        except asyncio.CancelledError:
            # Otherwise the driver asks the server to cancel, and waits until it has.
            connection.raw_connection.terminate()
            raise
        finally:
            await connection.release()

    async def dedicated_connection(self) -> asyncpg.Connection:
        """Not of the pool, where each question may use another connection."""
        if self._dedicated is None or self._dedicated.is_closed():
            options = CONNECTION | {"command_timeout": None}  # the caller has a limit
            self._dedicated = await connect_alone(self._database_url, **options)
        return self._dedicated

    async def fetch_on(self, connection: Any, query: Bound) -> list[Any]:
        """On the dedicated connection, which is closed after any fault."""
        try:
            return await self.run(connection, query)
        except BaseException:
            connection.terminate()
            raise

    async def run(self, connection: Any, query: ClauseElement | Bound) -> list[Any]:
        statement, arguments = self._compiler.compile(query)
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
            self._connection = await self._pool.acquire()
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
        return await self._backend.run(self.raw_connection, query)


def _place(compiled: Compiled) -> tuple[str, tuple[str, ...]]:
    """PostgreSQL's arguments have numbers."""
    names = tuple(sorted({*getattr(compiled, "bind_names", {}).values()}))  # DDL has none
    places = {name: f"${place}" for place, name in enumerate(names, start=1)}
    return (compiled.string % places if places else compiled.string), names


async def connect_alone(url: DatabaseURL, **options: Any) -> asyncpg.Connection:
    """One connection without a pool, and without a limit on a statement."""
    ssl = url.options.get("ssl")
    options = {"timeout": TIMEOUT_SECONDS, "target_session_attrs": "primary"} | options
    return await asyncpg.connect(
        host=url.hostname,
        port=url.port,
        user=url.username,
        password=url.password,
        database=url.database,
        ssl=SSL.get(str(ssl), ssl),
        **options,
    )


async def _leave(connection: asyncpg.Connection) -> None:
    """In place of a reset, a round trip for each query: we change no settings, and asyncpg rolls
    back a transaction that is still open."""
