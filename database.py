"""The `databases.Database` that we serve from: its faults are refusals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
        with self._faults_told():
            return await super().fetch_all(_bind(query, values))

    async def fetch_one(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> Record | None:
        with self._faults_told():
            return await super().fetch_one(_bind(query, values))

    async def fetch_val(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None, column: Any = 0
    ) -> Any:
        with self._faults_told():
            return await super().fetch_val(_bind(query, values), column=column)

    async def atomically(self, action: Callable[[], Awaitable[T]]) -> T:
        """Run `action` in a transaction, whole or not at all.

        It is not broken off with its caller: the library would never give its connection back.
        """

        async def run() -> T:
            async with self.transaction():
                return await action()

        return await asyncio.shield(asyncio.create_task(run()))

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        """The one border where a driver's exception becomes ours. Its text may quote values."""
        try:
            yield
        except FAULTS as fault:
            if self._is_reachable:
                logger.error("database_unreachable fault=%s", type(fault).__name__)
            self._is_reachable = False
            raise TemporarilyUnavailable from fault
        if not self._is_reachable:
            logger.info("database_reachable")
        self._is_reachable = True


def _bind(query: ClauseElement | str, values: dict[str, Any] | None) -> ClauseElement | str:
    """A pair that our backends understand; the library passes it through untouched."""
    if isinstance(query, str):
        return query
    return cast(ClauseElement, Bound(query, values or {}))


def explain(fault: BaseException) -> str:
    """A line for the operator."""
    cause = fault.__cause__ or fault
    return f"The database cannot be asked: {str(cause) or type(cause).__name__}"
