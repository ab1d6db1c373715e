"""A transaction that ends whatever becomes of its caller, and gives its connection back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

from databases.core import Connection
from databases.interfaces import ConnectionBackend

from authapi import deadline
from authapi.errors import TemporarilyUnavailable

T = TypeVar("T")
Action = Callable[[], Awaitable[T]]
Reached = Callable[[None], AbstractAsyncContextManager[None]]
"""In which a driver's exception becomes ours, and that has no limit but the driver's."""


async def in_time(action: Action[T]) -> T:
    """Run `action`, and wait for it until the deadline of the request, if there is one. To cancel
    the caller does not cancel it. Raises `TemporarilyUnavailable`: then it may yet happen."""

    async def run() -> T:
        return await action()

    seconds = deadline.left()
    task = asyncio.create_task(run())
    # Whoever began it may have gone, and reads no fault any more.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    if not (await asyncio.wait([task], timeout=seconds))[0]:
        raise TemporarilyUnavailable
    return task.result()


async def transact(
    connection: Connection, reached: Reached, action: Action[T], options: dict[Any, Any]
) -> T:
    """Whole or not at all. The options are the backend's.

    The library's own transactions never release a connection that failed to begin or to end one.
    """
    async with _held(connection, reached) as held:
        transaction = held.transaction()
        async with reached(None):
            await transaction.start(is_root=True, extra_options=options)
        try:
            result = await action()
        except BaseException:
            with suppress(TemporarilyUnavailable):  # it is lost, with what was done on it
                async with reached(None):
                    await transaction.rollback()
            raise
        async with reached(None):
            await transaction.commit()
        return result


@asynccontextmanager
async def _held(connection: Connection, reached: Reached) -> AsyncIterator[ConnectionBackend]:
    """On which is asked whatever this task asks meanwhile."""
    async with reached(None):
        await connection.__aenter__()
    try:
        yield connection._connection  # noqa: SLF001  # the library shows it nowhere
    finally:
        async with reached(None):
            await connection.__aexit__()


def tell_nobody(result: object) -> None:
    """Of what was done."""
