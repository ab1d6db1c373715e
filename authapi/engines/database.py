"""The `databases.Database` that we serve from: its faults are refusals."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, cast

import databases
from sqlalchemy.sql import ClauseElement

from authapi import deadline
from authapi.deadline import ANSWER_SECONDS
from authapi.engines import postgres as postgres_backend
from authapi.engines import sqlite as sqlite_backend
from authapi.engines import urls
from authapi.engines.statements import Bound
from authapi.errors import TemporarilyUnavailable
from authapi.telemetry.outage import Outage

T = TypeVar("T")
Row = Mapping[str, Any]
"""What a question is answered with, whatever the driver calls its rows: they are read by the names
of their columns, and `dict(row)` is a copy."""

Unfit = postgres_backend.Unfit


FAULTS = (*sqlite_backend.FAULTS, *postgres_backend.FAULTS)

logger = logging.getLogger("auth.database")


class Database(databases.Database):
    """The plain `databases` API.

    Raises `TemporarilyUnavailable` where the database cannot be asked. A statement that is a
    constant of the store takes its values by name, and is compiled the first time only.
    """

    SUPPORTED_BACKENDS = {
        "sqlite": "authapi.engines.sqlite:SQLiteBackend",
        "postgresql": "authapi.engines.postgres:PostgresBackend",
    }

    _backend: sqlite_backend.SQLiteBackend | postgres_backend.PostgresBackend

    def __init__(self, url: str, pool_size: int | None = None, **options: Any) -> None:
        """`pool_size` is of a PostgreSQL. Raises `BadURL`."""
        parts = urls.read(url)
        if pool_size is not None and parts.dialect == "postgresql":
            options["pool_size"] = pool_size
        super().__init__(parts, **options)
        self._outage = Outage(logger, "database_unreachable", "database_reachable")

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    @property
    def is_sqlite(self) -> bool:
        return bool(self.url.dialect == "sqlite")

    async def fetch_all(  # type: ignore[override]  # it promises records
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> list[Row]:
        return await self._ask(query, values)

    async def kept_connection(self) -> object:
        """A connection that nobody else uses: the same one until it is lost.

        What hangs on a connection of the database can be told from it. Raises
        `TemporarilyUnavailable`.
        """
        async with self.reached(ANSWER_SECONDS):
            return await self._backend.kept_connection()

    async def fetch_kept(
        self, connection: object, query: ClauseElement, values: dict[str, Any]
    ) -> list[Row]:
        """Ask on that connection and no other, within `reached`. It is lost if it is broken off."""
        return await self._backend.fetch_kept(connection, Bound(query, values))

    async def fetch_one(  # type: ignore[override]
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> Row | None:
        rows = await self._ask(query, values)
        return rows[0] if rows else None

    async def fetch_val(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None, column: Any = 0
    ) -> Any:
        rows = await self._ask(query, values)
        return rows[0][column] if rows else None

    async def atomically(self, action: Callable[[], Awaitable[T]]) -> T:
        """Run `action` in a transaction, whole or not at all.

        It is not broken off with its caller: the library would never give its connection back.
        """

        async def run() -> T:
            async with self.transaction():
                return await action()

        return await asyncio.shield(asyncio.create_task(run()))

    async def ask(
        self, query: ClauseElement, values: dict[str, Any], seconds: float = ANSWER_SECONDS
    ) -> list[Row]:
        """A statement that is a constant, outside of a transaction."""
        async with self.reached(seconds):
            # Without the library's records of who has which connection: they cost as much as all
            # the rest.
            return await self._backend.fetch(Bound(query, values))

    async def _ask(self, query: ClauseElement | str, values: dict[str, Any] | None) -> list[Row]:
        if not isinstance(query, str):
            if not (self._connection_map and self._connection is not None):
                return await self.ask(query, values or {})
            query, values = _bind(query, values), None  # in a transaction
        async with self.reached(None):  # the driver has limits of its own
            return cast(list[Row], await super().fetch_all(query, values))

    @asynccontextmanager
    async def reached(self, seconds: float | None) -> AsyncIterator[None]:
        """The one border where a driver's exception becomes ours. Its text may quote values.

        Raises `TemporarilyUnavailable` for one, or if it takes longer.
        """
        try:
            async with asyncio.timeout_at(seconds and deadline.after(seconds)):
                yield
        except FAULTS as fault:
            self._outage.begin(fault)
            raise TemporarilyUnavailable from fault
        self._outage.end()


def _bind(query: ClauseElement, values: dict[str, Any] | None) -> ClauseElement:
    """A pair that our backends understand; the library passes it through untouched."""
    return cast(ClauseElement, Bound(query, values or {}))


def is_of_standby(fault: BaseException) -> bool:
    return isinstance(fault.__cause__ or fault, postgres_backend.Standby)


def explain(fault: BaseException) -> str:
    """A line for the operator. What PostgreSQL adds in further lines may quote a row."""
    if is_of_standby(fault):
        return postgres_backend.STANDBY
    cause = fault.__cause__ or fault
    lines = str(cause).splitlines() or [type(cause).__name__]
    return f"The database cannot be asked: {lines[0]}"
