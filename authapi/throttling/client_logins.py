"""Limits how many sessions one client begins: each that is ended takes room in every copy."""

import time
from collections.abc import Callable

from limits import WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter

from authapi.throttling.refusals import TooManyLogins
from authapi.throttling.shared_count import SharedCount, seconds_left

STEPS = 100
"""A worker counts in memory, and adds to the shared count a hundredth of the limit at a time."""
MAX_CLIENTS = 10_000


class ClientLogins:
    """The limit looks like `6000/minute`. Each worker may exceed it by a hundredth."""

    def __init__(
        self, count: SharedCount, limit: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._limit = parse(limit)
        self._step = max(1, self._limit.amount // STEPS)
        self._clock = clock
        self._uncounted: dict[str, int] = {}
        self._refused_until: dict[str, float] = {}

    def __len__(self) -> int:
        """How many clients it remembers."""
        return len(self._uncounted)

    async def begin(self, client_id: str) -> None:
        """Count a login. Raises `TooManyLogins` if the client has begun as many as it may."""
        refused_until = self._refused_until.get(client_id)
        if refused_until is not None:
            if (seconds := refused_until - self._clock()) > 0:
                raise TooManyLogins(int(seconds) + 1, client=client_id)
            del self._refused_until[client_id]
        uncounted = self._uncounted.get(client_id, 0) + 1
        if len(self._uncounted) >= MAX_CLIENTS:
            self._uncounted.clear()  # with so many clients, none is close to the limit
        # Before anything is awaited, since others may log in then.
        self._uncounted[client_id] = uncounted % self._step
        if uncounted == self._step:
            await self._add_step(client_id)

    async def _add_step(self, client_id: str) -> None:
        async def hit(limiter: FixedWindowRateLimiter) -> WindowStats | None:
            if await limiter.hit(self._limit, "client", client_id, cost=self._step):
                return None
            return await limiter.get_window_stats(self._limit, "client", client_id)

        if (full := await self._count.ask(hit)) is not None:
            seconds = seconds_left(full, self._limit)
            self._refused_until[client_id] = self._clock() + seconds
            raise TooManyLogins(seconds, client=client_id)
