"""A SQLite backend for `databases` that keeps its connections.

The library's own opens a connection and a thread for every query.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import aiosqlite
from databases import DatabaseURL
from databases.interfaces import ConnectionBackend, DatabaseBackend, TransactionBackend
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql import ClauseElement

from authapi.engines.sqlite_files import OpenedFile
from authapi.engines.sqlite_writer import Query, Writer
from authapi.engines.statements import Bound, Compiler, in_a_row

FAULTS = (sqlite3.Error, OSError)
"""What is raised when the database cannot be asked."""
READERS = 3
FULL = sqlite3.SQLITE_FULL
UNWRITABLE = {FULL, sqlite3.SQLITE_READONLY}
FORBIDDEN = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
"""What a missing right looks like; other things do, too."""
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
BREAKS_REFERENCE = sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
_COMPILER = Compiler(pysqlite.dialect(paramstyle="qmark"), in_a_row)


def kind_of(fault: BaseException) -> int:
    """SQLite's primary result code; 0 of what is no fault of SQLite's."""
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


def is_damaged(fault: BaseException) -> bool:
    """The content of a file is at fault, and not a right, a lock or a disk."""
    return kind_of(fault.__cause__ or fault) in DAMAGED


def may_lack_a_right(fault: BaseException) -> bool:
    cause = fault.__cause__ or fault
    return kind_of(cause) in FORBIDDEN or isinstance(cause, OSError)


class SQLiteBackend(DatabaseBackend):
    """Serves one file. It is never created here, and never exchanged for another.

    A statement that waits for another process's write lock fails after `busy_seconds`.
    """

    def __init__(self, url: DatabaseURL, busy_seconds: float = 5) -> None:
        self._path = url.database
        self._busy_seconds = busy_seconds
        self._readers: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        self._opened = AsyncExitStack()

    async def connect(self) -> None:
        """Raises `OSError` or `sqlite3.Error` if the file is not there, or is no database."""
        # mode=rw, since the default creates an empty file where there is none.
        uri = f"file:{quote(self._path)}?mode=rw"
        async with AsyncExitStack() as stack:
            self._file = OpenedFile(self._path)
            self._readers = asyncio.LifoQueue()
            writer = Writer(uri, self._busy_seconds, self._file.check)
            self.writer = await stack.enter_async_context(writer)
            for _ in range(READERS):
                reader = aiosqlite.connect(
                    uri, uri=True, timeout=self._busy_seconds, isolation_level=None
                )
                self._readers.put_nowait(await stack.enter_async_context(reader))
                reader.row_factory = sqlite3.Row
            self._opened = stack.pop_all()

    async def disconnect(self) -> None:
        await self._opened.aclose()

    def connection(self) -> "SQLiteConnection":
        return SQLiteConnection(self)

    def compile(self, query: ClauseElement | Bound) -> Query:
        statement, arguments = _COMPILER.compile(query)
        return Query(statement.sql, arguments, statement.is_read)

    async def fetch(self, query: ClauseElement | Bound) -> list[Any]:
        """Outside of a transaction. Raises `OSError` and what the `sqlite3` module raises."""
        asked = self.compile(query)
        if not asked.is_read:
            return await self.writer.write(asked)
        self._file.check()
        reader = await self._readers.get()
        try:
            return list(await reader.execute_fetchall(asked.sql, asked.arguments))
        finally:
            self._readers.put_nowait(reader)

    async def dedicated_connection(self) -> "SQLiteBackend":
        """One file is opened once, so all connections to it are alike."""
        return self

    async def fetch_on(self, connection: object, query: Bound) -> list[Any]:
        return await self.fetch(query)


class SQLiteConnection(ConnectionBackend):
    """What the library gives one task. It holds nothing between queries, so it can leak nothing."""

    def __init__(self, backend: SQLiteBackend) -> None:
        self._backend = backend
        self.in_transaction = False

    async def acquire(self) -> None: ...

    async def release(self) -> None: ...

    async def fetch_all(self, query: ClauseElement) -> list[Any]:
        if not self.in_transaction:
            return await self._backend.fetch(query)
        return await self._backend.writer.write_alone(self._backend.compile(query))

    async def fetch_one(self, query: ClauseElement) -> Any:
        return next(iter(await self.fetch_all(query)), None)

    async def execute(self, query: ClauseElement) -> None:
        """Returns nothing: only RETURNING shows what a statement did."""
        await self.fetch_all(query)

    async def execute_many(self, queries: list[ClauseElement]) -> None:  # as the library demands
        for query in queries:
            await self.execute(query)

    async def iterate(self, query: ClauseElement) -> AsyncGenerator[Any, None]:
        for row in await self.fetch_all(query):
            yield row

    def transaction(self) -> "SQLiteTransaction":
        return SQLiteTransaction(self, self._backend)


class SQLiteTransaction(TransactionBackend):
    """Takes the write lock first. For commands of the operator: a request is one statement."""

    def __init__(self, connection: SQLiteConnection, backend: SQLiteBackend) -> None:
        self._connection = connection
        self._backend = backend

    async def start(self, is_root: bool, extra_options: dict[Any, Any]) -> None:
        if not is_root:
            raise RuntimeError("a transaction in a transaction would wait for itself")
        await self._backend.writer.begin(extra_options.get("is_durable", True))
        self._connection.in_transaction = True

    async def commit(self) -> None:
        await self._end("COMMIT")

    async def rollback(self) -> None:
        await self._end("ROLLBACK")

    async def _end(self, verb: str) -> None:
        self._connection.in_transaction = False
        await self._backend.writer.end(verb)
