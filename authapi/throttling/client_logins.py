"""Limits how many sessions one client begins: each that is ended takes room in every copy."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from limits import WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter

from authapi.throttling.refusals import TooManyLogins
from authapi.throttling.shared_count import SharedCount, seconds_left

STEPS = 100
"""A worker counts in memory, and adds to the shared count a hundredth of the limit at a time."""
MAX_CLIENTS = 10_000
_parsed = lru_cache(1000)(parse)


class Counted(NamedTuple):
    """Whose logins, by which limit."""

    client_id: str
    limit: str

    @property
    def step(self) -> int:
        return max(1, _parsed(self.limit).amount // STEPS)


class ClientLogins:
    """A limit looks like `6000/minute`. Each worker may exceed it by a hundredth."""

    def __init__(
        self, count: SharedCount, limit: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._limit = limit
        self._clock = clock
        self._uncounted: dict[Counted, int] = {}
        self._refused_until: dict[Counted, float] = {}

    def __len__(self) -> int:
        """How many clients it remembers."""
        return len(self._uncounted)

    async def begin(self, client_id: str, own_limit: str | None = None) -> None:
        """Count a login, by the client's own limit if it has one. Raises `TooManyLogins` if it has
        begun as many as it may. Where the limit is another one, the count begins anew."""
        counted = Counted(client_id, own_limit or self._limit)
        refused_until = self._refused_until.get(counted)
        if refused_until is not None:
            if (seconds := refused_until - self._clock()) > 0:
                raise TooManyLogins(int(seconds) + 1, client=client_id)
            del self._refused_until[counted]
        uncounted = self._uncounted.get(counted, 0) + 1
        if len(self._uncounted) >= MAX_CLIENTS:
            self._uncounted.clear()  # with so many clients, none is close to the limit
        # Before anything is awaited, since others may log in then.
        self._uncounted[counted] = uncounted % counted.step
        if uncounted == counted.step:
            await self._add_step(counted)

    async def _add_step(self, counted: Counted) -> None:
        client_id, limit = counted.client_id, _parsed(counted.limit)

        async def hit(limiter: FixedWindowRateLimiter) -> WindowStats | None:
            if await limiter.hit(limit, "client", client_id, cost=counted.step):
                return None
            return await limiter.get_window_stats(limit, "client", client_id)

        if (full := await self._count.ask(hit)) is not None:
            seconds = seconds_left(full, limit)
            self._refused_until[counted] = self._clock() + seconds
            raise TooManyLogins(seconds, client=client_id)
