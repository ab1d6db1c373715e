"""Repeats what the service does beside its requests; no exception ends it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from authapi.errors import TemporarilyUnavailable

logger = logging.getLogger("auth.background")


async def repeat(
    action: Callable[[], Awaitable[object]], seconds: float, first_after: float = 0
) -> None:
    """From `first_after` seconds on until it is cancelled, with a pause of `seconds` between."""
    await asyncio.sleep(first_after)
    while True:
        await attempt(action)
        await asyncio.sleep(seconds)


async def attempt(action: Callable[[], Awaitable[object]]) -> None:
    try:
        await action()
    except TemporarilyUnavailable:
        pass  # engines/database.py has logged it
    except Exception:
        logger.exception("a fault beside the requests")
