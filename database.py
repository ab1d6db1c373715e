"""The `databases.Database` that we serve from: its faults are refusals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar, cast

import databases
from databases.interfaces import Record
from sqlalchemy.sql import ClauseElement

import postgres_backend
import sqlite_backend
from errors import TemporarilyUnavailable
from statements import Bound

T = TypeVar("T")
FAULTS = (*sqlite_backend.FAULTS, *postgres_backend.FAULTS)

logger = logging.getLogger("auth.database")


class Database(databases.Database):
    """The plain `databases` API.

    Raises `TemporarilyUnavailable` where the database cannot be asked. A statement that is a
    constant of store.py takes its values by name, and is compiled the first time only.
    """

    SUPPORTED_BACKENDS = {
        "sqlite": "sqlite_backend:SQLiteBackend",
        "postgresql": "postgres_backend:PostgresBackend",
    }

    _backend: sqlite_backend.SQLiteBackend | postgres_backend.PostgresBackend

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._is_reachable = True

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    @property
    def is_sqlite(self) -> bool:
        return bool(self.url.dialect == "sqlite")

    async def fetch_all(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> list[Record]:
        return await self._ask(query, values)

    async def fetch_one(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> Record | None:
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

    async def _ask(self, query: ClauseElement | str, values: dict[str, Any] | None) -> list[Record]:
        """The one border where a driver's exception becomes ours. Its text may quote values."""
        try:
            if isinstance(query, str):
                rows = await super().fetch_all(query, values)
            elif self._connection_map and self._connection is not None:  # in a transaction
                rows = await super().fetch_all(_bind(query, values))
            else:
                # Without the library's records of who has which connection: they cost as much as
                # all the rest.
                rows = await self._backend.fetch(Bound(query, values or {}))
        except FAULTS as fault:
            if self._is_reachable:
                details = {"fault": type(fault).__name__}
                logger.error("database_unreachable", extra={"details": details})
            self._is_reachable = False
            raise TemporarilyUnavailable from fault
        if not self._is_reachable:
            logger.info("database_reachable")
        self._is_reachable = True
        return rows


def _bind(query: ClauseElement, values: dict[str, Any] | None) -> ClauseElement:
    """A pair that our backends understand; the library passes it through untouched."""
    return cast(ClauseElement, Bound(query, values or {}))


def explain(fault: BaseException) -> str:
    """A line for the operator. What PostgreSQL adds in further lines may quote a row."""
    cause = fault.__cause__ or fault
    lines = str(cause).splitlines() or [type(cause).__name__]
    return f"The database cannot be asked: {lines[0]}"
