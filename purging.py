"""Deletes the rows whose time is over, in small batches, so that nobody waits for it."""

import asyncio
import math

import store
from database import Database
from revocations import MARGIN_SECONDS

BATCH = 500
PAUSE_SECONDS = 0.02
"""Between two batches, so that those who log out and refresh have the database for themselves."""


async def purge(
    database: Database,
    now: float,
    leeway_seconds: float,
    batch: int = BATCH,
    pause_seconds: float = PAUSE_SECONDS,
) -> int:
    """Delete every row that can end nothing any more; tell how many there were.

    A token counts until its `exp` and the leeway are over on the slowest clock.
    """
    before = math.ceil(now - leeway_seconds - MARGIN_SECONDS)
    total = deleted = await store.purge(database, before, batch)
    while deleted == batch:
        await asyncio.sleep(pause_seconds)
        deleted = await store.purge(database, before, batch)
        total += deleted
    return total
