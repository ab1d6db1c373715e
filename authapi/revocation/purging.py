"""Deletes the rows that end nothing any more, in small batches, so that nobody waits for it."""

import asyncio
import math

from authapi.clocks import Clocks
from authapi.engines.database import Database
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.store import database_identity
from authapi.store.kept_answers import forget_answers

BATCH = 50
"""So few that a batch takes hardly longer than one log-out, who may have to wait for it."""
PAUSE_SECONDS = 0.02
"""Between two batches, so that log-outs and refreshes can use the database."""


async def purge_when_settled(database: Database, clocks: Clocks, leeway_seconds: float) -> None:
    """Purge, the answers that were kept for a repeat, too; unless the clock was set lately, or has
    not been watched for long enough."""
    if clocks.are_settled:
        await purge(database, clocks.earliest(), leeway_seconds)
        await forget_answers(database, clocks.earliest())


async def purge(
    database: Database,
    now: float,
    leeway_seconds: float,
    batch: int = BATCH,
    pause_seconds: float = PAUSE_SECONDS,
) -> int:
    """Delete every row that can end nothing any more, and return how many there were.

    A token counts until its `exp` and the leeway have passed on the slowest clock. If `now` is
    wrong, nothing comes back to life: every token that a deleted row may have ended is refused.
    """
    before = math.ceil(now - leeway_seconds - MARGIN_SECONDS)
    total = deleted = await database_identity.purge(database, before, batch, MARGIN_SECONDS)
    while deleted == batch:
        await asyncio.sleep(pause_seconds)
        deleted = await database_identity.purge(database, before, batch, MARGIN_SECONDS)
        total += deleted
    return total
