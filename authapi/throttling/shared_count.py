"""Counts that workers and nodes share in a store; while it is away, each worker counts alone."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from limits import RateLimitItem, WindowStats
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from authapi.telemetry.outage import Outage

T = TypeVar("T")
STORE_SECONDS = 0.5
RETRY_SECONDS = 5.0

logger = logging.getLogger("auth.shared_count")


class SharedCount:
    """`storage` is a URI that the `limits` library knows. Nobody is refused because it is
    away."""

    def __init__(self, storage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = FixedWindowRateLimiter(storage_from_string(f"async+{storage}"))
        self._own = FixedWindowRateLimiter(storage_from_string("async+memory://"))
        self._clock = clock
        self.is_shared = storage != "memory://"
        self._outage = Outage(logger, "shared_count_unreachable", "shared_count_reachable")
        self._retry_at = 0.0

    async def ask(self, question: Callable[[FixedWindowRateLimiter], Awaitable[T]]) -> T:
        """Ask the shared count; or this worker's own, if there is none or it does not answer."""
        if self.is_shared and (not self._outage.is_on or self._clock() >= self._retry_at):
            # While it is away, one login in so many seconds waits for it.
            self._retry_at = self._clock() + RETRY_SECONDS
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    answer = await question(self._shared)
            except Exception as fault:  # each storage has its own, and no login fails for it
                self._outage.begin(fault)
            else:
                self._outage.end()
                return answer
        return await question(self._own)


def seconds_left(window: WindowStats, limit: RateLimitItem) -> int:
    """Until the window is over: at most its length, whatever the wall clock shows."""
    left = math.ceil(window.reset_time - time.time())
    return max(1, min(left, limit.get_expiry()))
