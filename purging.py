"""Deletes the rows whose time is over, in small batches, so that nobody waits for it."""

import asyncio
import math
import time
from collections.abc import Callable

import store
from database import Database
from errors import TemporarilyUnavailable
from revocations import MARGIN_SECONDS

BATCH = 500


async def purge(database: Database, now: float, leeway_seconds: float, batch: int = BATCH) -> int:
    """Delete every row that can end nothing any more; tell how many there were.

    A token counts until its `exp` and the leeway are over on the slowest clock.
    """
    before = math.ceil(now - leeway_seconds - MARGIN_SECONDS)
    total = deleted = await store.purge(database, before, batch)
    while deleted == batch:
        deleted = await store.purge(database, before, batch)
        total += deleted
    return total


async def purge_regularly(
    database: Database,
    leeway_seconds: float,
    interval_seconds: float,
    clock: Callable[[], float] = time.time,
) -> None:
    """Until it is cancelled. A database out of reach is asked again the next time."""
    while True:
        try:
            await purge(database, clock(), leeway_seconds)
        except TemporarilyUnavailable:
            pass  # database.py has logged it
        await asyncio.sleep(interval_seconds)
