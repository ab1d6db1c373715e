"""A PostgreSQL backend for `databases` that waits for nothing without a limit."""

import asyncio
from typing import Any

import asyncpg
from databases import DatabaseURL
from databases.backends.postgres import PostgresBackend as LibraryBackend
from databases.backends.postgres import PostgresConnection as LibraryConnection
from databases.interfaces import Record
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql import ClauseElement

from statements import Bound, Compiler

FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises when the database cannot be asked; a time-out is an `OSError`, and a server
that goes down leaves it in a state that it calls internal."""
TIMEOUT_SECONDS = 5
"""For each of: to connect, to get a connection from the pool, to run a statement, to close."""


class PostgresBackend(LibraryBackend):
    """A pool of 1 to 8 connections, unless the URL says `?min_size=` or `?max_size=`."""

    def __init__(self, url: DatabaseURL, close_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(url)
        self._close_seconds = close_seconds
        self.compiler = Compiler(self._dialect, _place)

    def _get_connection_kwargs(self) -> dict[str, Any]:
        defaults = {
            "min_size": 1,
            "max_size": 8,
            "timeout": TIMEOUT_SECONDS,
            "command_timeout": TIMEOUT_SECONDS,
            "server_settings": {
                "application_name": "auth-api",
                "synchronous_commit": "on",  # what was answered survives a crash
            },
            "reset": _leave,
        }
        return defaults | super()._get_connection_kwargs()

    def connection(self) -> "PostgresConnection":
        return PostgresConnection(self, self._dialect)

    async def fetch(self, query: Bound) -> list[Record]:
        """Outside of a transaction."""
        connection = self.connection()
        await connection.acquire()
        try:
            rows: list[Record] = await connection.fetch_all(query)  # type: ignore[arg-type]
            return rows  # the library passes a `Bound` through untouched
        finally:
            await connection.release()

    @property
    def pool(self) -> Any:
        if self._pool is None:
            raise asyncpg.InterfaceError("not connected")
        return self._pool

    async def disconnect(self) -> None:
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
        self._pool = self._backend.pool
        self._connection = await self._pool.acquire(timeout=TIMEOUT_SECONDS)

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        await self._pool.release(connection)

    def _compile(self, query: ClauseElement | Bound) -> tuple[str, list[Any], Any]:
        statement, arguments = self._backend.compiler.compile(query)
        return statement.sql, list(arguments), statement.columns


def _place(compiled: Compiled) -> tuple[str, tuple[str, ...]]:
    """PostgreSQL's arguments have numbers."""
    names = tuple(sorted({*getattr(compiled, "bind_names", {}).values()}))  # DDL has none
    places = {name: f"${place}" for place, name in enumerate(names, start=1)}
    return (compiled.string % places if places else compiled.string), names


async def connect_alone(url: DatabaseURL) -> asyncpg.Connection:
    """One connection without a pool, on which a statement may take its time."""
    return await asyncpg.connect(
        host=url.hostname,
        port=url.port,
        user=url.username,
        password=url.password,
        database=url.database,
        ssl=url.options.get("ssl"),
        timeout=TIMEOUT_SECONDS,
    )


async def _leave(connection: asyncpg.Connection) -> None:
    """In place of a reset, which is a round trip for each query: we change no settings.

    asyncpg itself rolls back a transaction that is still open.
    """
