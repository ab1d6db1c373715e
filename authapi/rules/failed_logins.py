"""Slows down whoever tries keys: failed logins are counted, by network address and together."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

from limits import RateLimitItem, WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter

from authapi.errors import InvalidClient, TooManyFailures
from authapi.rules.shared_count import SharedCount, seconds_left

T = TypeVar("T")
REFUSAL_SECONDS = 0.001
"""How long it takes to refuse a key, however soon it is known why: the time must not tell that."""


class FailedLogins:
    """Both limits look like `30/minute`.

    Past the limit of an address, it is not listened to until its window is over. Past the limit
    of all together, that goes for every address with a failure in its window: a client that did
    nothing wrong is let in whatever the others do. The latter also bounds the memory.
    """

    def __init__(
        self,
        count: SharedCount,
        by_address: str,
        together: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._by_address = parse(by_address)
        self._together = parse(together)
        self._clock = clock
        self._longest_window = max(self._by_address.get_expiry(), self._together.get_expiry())
        self._own_failures_until = -math.inf

    async def guard(self, address: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Raises `TooManyFailures` at once, or makes the attempt and counts an `InvalidClient`."""
        network = _network_of(address)
        if self._count.is_shared or self._clock() < self._own_failures_until:
            for limit, window in await self._count.ask(partial(self._windows, network)):
                if window.remaining == 0:
                    raise TooManyFailures(seconds_left(window, limit))
        try:
            return await attempt()
        except InvalidClient:
            await self._count.ask(partial(self._hit, network))
            raise

    async def _windows(
        self, network: str, limiter: FixedWindowRateLimiter
    ) -> list[tuple[RateLimitItem, WindowStats]]:
        """What this network is judged by: nothing, if it has no failure."""
        own = await limiter.get_window_stats(self._by_address, network)
        if own.remaining == self._by_address.amount:
            return []
        together = await limiter.get_window_stats(self._together)
        return [(self._by_address, own), (self._together, together)]

    async def _hit(self, network: str, limiter: FixedWindowRateLimiter) -> None:
        await limiter.hit(self._by_address, network)
        await limiter.hit(self._together)
        self._own_failures_until = self._clock() + self._longest_window


async def pad_refusal(began: float) -> None:
    """Wait until a refused key may be told so; `began` is of `time.perf_counter`.

    Others are served meanwhile, which a timer would do as well, but it counts in milliseconds.
    """
    while time.perf_counter() < began + REFUSAL_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0)  # nothing happens that could be waited for


@lru_cache(1000)
def _network_of(address: str) -> str:
    """A customer of an IPv6 provider has 2^64 addresses at the least, and counts as one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a Unix socket's peer has none
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
