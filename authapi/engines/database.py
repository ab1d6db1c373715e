"""The `databases.Database` of the service: where it fails, a refusal is raised."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, cast

import databases
from sqlalchemy.sql import ClauseElement

from authapi import deadline
from authapi.deadline import ANSWER_SECONDS
from authapi.engines import postgres, sqlite, sqlite_files, urls
from authapi.engines.statements import Bound
from authapi.engines.transactions import Action, in_time, tell_nobody, transact
from authapi.errors import TemporarilyUnavailable
from authapi.file_rights import Obstacle
from authapi.telemetry.counting import counts
from authapi.telemetry.outage import Outage, first_line

T = TypeVar("T")
Row = Mapping[str, Any]
"""A row of any driver, read by the names of its columns; `dict(row)` is a copy."""

Unfit = postgres.Unfit
FAULTS = (*sqlite.FAULTS, *postgres.FAULTS)

logger = logging.getLogger("auth.database")


class Database(databases.Database):
    """The plain `databases` API.

    Raises `TemporarilyUnavailable` where the database cannot be asked. Statements take their values
    by name, and are compiled once: each must be a constant.
    """

    SUPPORTED_BACKENDS = {
        "sqlite": "authapi.engines.sqlite:SQLiteBackend",
        "postgresql": "authapi.engines.postgres:PostgresBackend",
    }

    _backend: sqlite.SQLiteBackend | postgres.PostgresBackend

    def __init__(self, url: str, pool_size: int | None = None, **options: Any) -> None:
        """`pool_size` is of a PostgreSQL. Raises `BadURL`."""
        parts = urls.read(url)
        if pool_size is not None and parts.dialect == "postgresql":
            options["pool_size"] = pool_size
        super().__init__(parts, **options)
        self._outage = Outage(logger, "database_unreachable", "database_reachable")
        self._unwritable = Outage(logger, "database_unwritable", "database_writable")

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    @property
    def is_unwritable(self) -> bool:
        """Whether the last that was to be written could not: a full disk, or no right to write."""
        return self._unwritable.is_on

    @property
    def is_sqlite(self) -> bool:
        return bool(self.url.dialect == "sqlite")

    def find_obstacle(self, fault: BaseException) -> Obstacle | None:
        """The right to its file that this user lacks, where that may be what is behind `fault`."""
        if not (self.is_sqlite and sqlite.may_lack_a_right(fault)):
            return None
        return sqlite_files.find_obstacle_to(self.url.database)

    async def fetch_all(  # type: ignore[override]  # it promises records
        self, query: ClauseElement | str, values: dict[str, Any] | None = None
    ) -> list[Row]:
        return await self._ask(query, values)

    async def dedicated_connection(self) -> object:
        """A connection for the caller alone: the same one until it is lost.

        Raises `TemporarilyUnavailable`.
        """
        async with self.reached(ANSWER_SECONDS):
            return await self._backend.dedicated_connection()

    async def fetch_on(
        self, connection: object, query: ClauseElement, values: dict[str, Any]
    ) -> list[Row]:
        """Ask on that connection only, within `reached`. If this is cancelled, it is lost."""
        return await self._backend.fetch_on(connection, Bound(query, values))

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

    async def atomically(
        self, action: Action[T], tell: Callable[[T], object] = tell_nobody, is_durable: bool = True
    ) -> T:
        """Run `action` in a transaction, whole or not at all; within another, as a part of it.

        To cancel the caller does not cancel it. Raises `TemporarilyUnavailable` as for a statement:
        it may have happened, then, of which it will `tell` in any case. On SQLite, a power loss may
        undo what is not durable, up to the next commit that is.
        """
        if self._is_in_transaction:
            return await action()
        options = {} if is_durable or not self.is_sqlite else {"is_durable": False}

        async def run() -> T:
            tell(result := await transact(self.connection(), self.reached, action, options))
            self._unwritable.end()
            return result

        return await in_time(run)

    async def ask(
        self, query: ClauseElement, values: dict[str, Any], seconds: float = ANSWER_SECONDS
    ) -> list[Row]:
        """A statement that is a constant, outside of a transaction."""
        async with self.reached(seconds):
            # Past the library, whose bookkeeping of connections costs as much as all the rest.
            rows: list[Row] = await self._backend.fetch(Bound(query, values))
        if self._unwritable.is_on and getattr(query, "is_dml", False):
            self._unwritable.end()
        return rows

    @property
    def _is_in_transaction(self) -> bool:
        return bool(self._connection_map and self._connection is not None)

    async def _ask(self, query: ClauseElement | str, values: dict[str, Any] | None) -> list[Row]:
        if not isinstance(query, str):
            if not self._is_in_transaction:
                return await self.ask(query, values or {})
            # `databases` hands it to the backend as it is, so a `Bound` may travel in its place.
            query, values = cast(ClauseElement, Bound(query, values or {})), None
        async with self.reached(deadline.left()):
            return cast(list[Row], await super().fetch_all(query, values))

    @asynccontextmanager
    async def reached(self, seconds: float | None) -> AsyncIterator[None]:
        """The only place where a driver's exception becomes ours; its text may quote values.

        Raises `TemporarilyUnavailable` for one, or if it takes longer; None is as long as it takes.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(None if seconds is None else deadline.after(seconds)):
                yield
        except FAULTS as fault:
            if is_unwritable(fault):
                self._unwritable.begin(fault, reason=first_line(fault))
            elif not breaks_reference(fault):
                self._outage.begin(fault)
            raise TemporarilyUnavailable from fault
        finally:
            counts.database.observe(time.perf_counter() - began)
        self._outage.end()


def is_of_standby(fault: BaseException) -> bool:
    return isinstance(fault.__cause__ or fault, postgres.Standby)


def is_unwritable(fault: BaseException) -> bool:
    """The database answers, and takes nothing."""
    cause = fault.__cause__ or fault
    return isinstance(cause, postgres.UNWRITABLE) or sqlite.kind_of(cause) in sqlite.UNWRITABLE


def is_full(fault: BaseException) -> bool:
    """The disk is, so that nothing can be written."""
    cause = fault.__cause__ or fault
    return isinstance(cause, postgres.FULL) or sqlite.kind_of(cause) == sqlite.FULL


def breaks_reference(fault: BaseException) -> bool:
    """The database answers that a foreign key forbids it."""
    cause = fault.__cause__ or fault
    code = getattr(cause, "sqlite_errorcode", 0)
    return isinstance(cause, postgres.BREAKS_REFERENCE) or code == sqlite.BREAKS_REFERENCE


def explain(fault: BaseException, *asked: Database) -> str:
    """A line for the operator. `asked` are the databases of which one has failed."""
    if is_of_standby(fault):
        return postgres.STANDBY
    obstacles = filter(None, (database.find_obstacle(fault) for database in asked))
    return f"The database cannot be asked: {next(obstacles, first_line(fault.__cause__ or fault))}"
