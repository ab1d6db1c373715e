"""The one SQLite connection that writes: all waiting statements are committed with one fsync.

The library's transactions are deferred, so two processes lose each other's writes; and an fsync for
each statement is what makes a log-out slow. Here one thread takes the write lock first, and commits
together all that came in while it was busy.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from authapi.telemetry.counting import counts

# FULL: what was answered survives a power loss. Whoever commits past so many pages of the log moves
# them into the file, for 10 ms: a purge does it sooner, so that no log-out has to.
DURABLE = ("PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 1000")
NOT_DURABLE = ("PRAGMA synchronous = NORMAL", "PRAGMA wal_autocheckpoint = 500")
PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and the writer do not wait for each other
    *DURABLE,
    "PRAGMA foreign_keys = ON",
    # A reader that stays lets the log grow; what is over this goes when it has left.
    "PRAGMA journal_size_limit = 4194304",
    "PRAGMA busy_timeout = 1",  # in ms: see `_take_lock`
)

T = TypeVar("T")
Rows = list[sqlite3.Row]


class Query(NamedTuple):
    """A statement with its arguments."""

    sql: str
    arguments: tuple[Any, ...] = ()
    is_read: bool = False


class Writer:
    """Opens `uri` as an async context. In each transaction `check` is called before anything is
    written. Raises what `sqlite3` and `check` raise."""

    def __init__(self, uri: str, busy_seconds: float, check: Callable[[], None]) -> None:
        self._uri = uri
        self._busy_seconds = busy_seconds
        self._check = check
        self._thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._waiting: list[tuple[Query, asyncio.Future[Rows]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._is_read_only = False
        self._is_durable = True

    async def __aenter__(self) -> "Writer":
        try:
            self._connection = await self._run(_open, self._uri, self._busy_seconds)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.gather(*self._tasks)
        await self._run(self._connection.close)
        self._thread.shutdown()

    async def write(self, query: Query) -> Rows:
        """Return once the query is committed. A cancelled caller leaves nothing half done."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Rows] = loop.create_future()
        self._waiting.append((query, done))
        if len(self._waiting) == 1:
            task = loop.create_task(self._commit_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _commit_waiting(self) -> None:
        async with self._turn:
            # A cancelled caller gets no answer, and its statement is not run.
            batch = [each for each in self._waiting if not each[1].cancelled()]
            self._waiting = []
            counts.commits.observe(len(batch))
            try:
                queries = [query for query, _ in batch]
                outcomes = await self._run(self._commit_together, queries)
            except RuntimeError:  # the thread has ended
                outcomes = [sqlite3.ProgrammingError("closed") for _ in batch]
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if done.cancelled():
                continue
            if isinstance(outcome, Exception):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

    async def begin(self, is_durable: bool = True) -> None:
        """Take the write lock; every other write waits until `end`."""
        await self._turn.acquire()
        try:
            await self._run(self._begin, is_durable)
        except BaseException:
            self._pass_turn()
            raise

    async def write_alone(self, query: Query) -> Rows:
        """For use between `begin` and `end`."""
        return await self._run(self._execute, query)

    async def end(self, verb: str) -> None:
        """`verb` is COMMIT or ROLLBACK; a commit that fails is rolled back."""
        try:
            await self.write_alone(Query(verb))
        finally:
            self._pass_turn()

    def _pass_turn(self) -> None:
        """Roll back what is open, and then release the turn.

        It awaits nothing, so no cancellation can come between.
        """
        rolled_back = self._thread.submit(self._connection.rollback)
        asyncio.wrap_future(rolled_back).add_done_callback(lambda _: self._turn.release())

    def _begin(self, is_durable: bool = True) -> None:
        if self._is_read_only:
            self._reopen()
        if is_durable != self._is_durable:
            for pragma in DURABLE if is_durable else NOT_DURABLE:
                self._connection.execute(pragma)
            self._is_durable = is_durable
        self._check()  # before BEGIN: SQLite caches pages of a file that was truncated since
        self._take_lock()
        self._check()  # and after it: BEGIN may have waited for another process

    def _take_lock(self) -> None:
        """Ask each millisecond: SQLite's own steps of 1, 2, 5, 10 ms and more sleep long past the
        moment when another process, a purge above all, gives the lock back."""
        give_up = time.monotonic() + self._busy_seconds
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as fault:
                is_held = fault.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_held or time.monotonic() > give_up:
                    raise

    def _commit_together(self, queries: list[Query]) -> list[Rows | Exception]:
        """One transaction. A query that fails alone does not fail the others."""
        try:
            self._begin()
            outcomes = [self._attempt(query) for query in queries]
            self._connection.execute("COMMIT")
        except Exception as fault:  # every caller gets it, whatever it is
            self._connection.rollback()
            return [fault for _ in queries]
        return outcomes

    def _execute(self, query: Query) -> Rows:
        try:
            return self._connection.execute(query.sql, query.arguments).fetchall()
        except sqlite3.OperationalError as fault:
            self._is_read_only |= fault.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY
            raise

    def _attempt(self, query: Query) -> Rows | Exception:
        try:
            return self._execute(query)
        except Exception as fault:  # not `sqlite3.Error` alone: a value may not be bindable
            # A full disk or an I/O error ends the whole transaction, with all of its queries.
            if not self._connection.in_transaction:
                raise
            return fault

    def _reopen(self) -> None:
        """What was opened while the file might only be read can never write."""
        connection = _open(self._uri, self._busy_seconds)
        self._connection.close()
        self._connection = connection
        self._is_read_only, self._is_durable = False, True

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _open(uri: str, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
