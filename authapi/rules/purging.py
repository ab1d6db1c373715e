"""Deletes the rows whose time is over, in small batches, so that nobody waits for it."""

import asyncio
import math

from authapi.clocks import Clocks
from authapi.engines.database import Database
from authapi.rules.revocations import MARGIN_SECONDS
from authapi.store import database_identity

BATCH = 500
PAUSE_SECONDS = 0.02
"""Between two batches, so that those who log out and refresh have the database for themselves."""


async def purge_when_settled(database: Database, clocks: Clocks, leeway_seconds: float) -> None:
    """Purge, unless the clock was set of late or not watched for long: it may be set once more."""
    if clocks.are_settled:
        await purge(database, clocks.earliest(), leeway_seconds)


async def purge(
    database: Database,
    now: float,
    leeway_seconds: float,
    batch: int = BATCH,
    pause_seconds: float = PAUSE_SECONDS,
) -> int:
    """Delete every row that can end nothing any more; tell how many there were.

    A token counts until its `exp` and the leeway are over on the slowest clock. If `now` was wrong,
    nothing comes back to life: what the rows may have ended counts no more.
    """
    before = math.ceil(now - leeway_seconds - MARGIN_SECONDS)
    total = deleted = await database_identity.purge(database, before, batch, MARGIN_SECONDS)
    while deleted == batch:
        await asyncio.sleep(pause_seconds)
        deleted = await database_identity.purge(database, before, batch, MARGIN_SECONDS)
        total += deleted
    return total
