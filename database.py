"""The `databases.Database` that we serve from: its faults are refusals."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, cast

import databases
from databases.interfaces import Record
from sqlalchemy.sql import ClauseElement

from errors import TemporarilyUnavailable
from sqlite_backend import Bound

FAULTS = (sqlite3.Error, OSError)
"""What the drivers raise when the database cannot be asked; a time-out is an `OSError`."""

logger = logging.getLogger("auth.database")


class Database(databases.Database):
    """The plain `databases` API.

    Raises `TemporarilyUnavailable` where the database cannot be asked. A statement that is a
    constant of store.py takes its values by name, and is compiled the first time only.
    """

    SUPPORTED_BACKENDS = {"sqlite": "sqlite_backend:SQLiteBackend"}  # noqa: RUF012, the library's

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def fetch_all(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> list[Record]:
        with _faults_told():
            return await super().fetch_all(_bind(query, values))

    async def fetch_one(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> Record | None:
        with _faults_told():
            return await super().fetch_one(_bind(query, values))

    async def fetch_val(
        self, query: ClauseElement | str, values: dict[str, Any] | None = None, column: Any = 0
    ) -> Any:
        with _faults_told():
            return await super().fetch_val(_bind(query, values), column=column)


def _bind(query: ClauseElement | str, values: dict[str, Any] | None) -> ClauseElement | str:
    """A pair that our backends understand; the library passes it through untouched."""
    if isinstance(query, str):
        return query
    return cast(ClauseElement, Bound(query, values or {}))


@contextmanager
def _faults_told() -> Iterator[None]:
    """The one border where a driver's exception becomes ours. Its text may quote values."""
    try:
        yield
    except FAULTS as fault:
        logger.error("the database cannot be asked: %s", type(fault).__name__)
        raise TemporarilyUnavailable from fault
