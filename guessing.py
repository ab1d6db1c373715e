"""Slows down whoever tries keys: failed logins are counted, by network address and together."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

from limits import WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from errors import InvalidClient, TooManyFailures

T = TypeVar("T")
STORE_SECONDS = 0.5
REFUSAL_SECONDS = 0.001
"""How long it takes to refuse a key, however soon it is known why: the time must not tell that."""
RETRY_SECONDS = 5.0

logger = logging.getLogger("auth.guessing")


class FailedLogins:
    """Both limits look like `30/minute`; `storage` is a URI that the `limits` library knows.

    Past the limit of an address, it is not listened to until its window is over. Past the limit
    of all together, that goes for every address with a failure in its window: a client that did
    nothing wrong is let in whatever the others do. The latter also bounds the memory.

    While the storage does not answer, each worker counts for itself: nobody is kept out for that.
    """

    def __init__(
        self,
        storage: str,
        by_address: str,
        together: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = FixedWindowRateLimiter(storage_from_string(f"async+{storage}"))
        self._own = FixedWindowRateLimiter(storage_from_string("async+memory://"))
        self._by_address = parse(by_address)
        self._together = parse(together)
        self._clock = clock
        self._is_shared = storage != "memory://"
        self._longest_window = max(self._by_address.get_expiry(), self._together.get_expiry())
        self._own_failures_until = -math.inf
        self._is_reachable = True
        self._retry_at = 0.0

    async def guard(self, address: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Raises `TooManyFailures` at once, or makes the attempt and counts an `InvalidClient`."""
        network = _network_of(address)
        if self._is_shared or self._clock() < self._own_failures_until:
            for window in await self._ask(self._windows, network):
                if window.remaining == 0:
                    raise TooManyFailures(_seconds_left(window))
        try:
            return await attempt()
        except InvalidClient:
            await self._ask(self._hit, network)
            raise

    async def _windows(self, limiter: FixedWindowRateLimiter, network: str) -> list[WindowStats]:
        """What this network is judged by: nothing, if it has no failure."""
        own = await limiter.get_window_stats(self._by_address, network)
        if own.remaining == self._by_address.amount:
            return []
        return [own, await limiter.get_window_stats(self._together)]

    async def _hit(self, limiter: FixedWindowRateLimiter, network: str) -> None:
        await limiter.hit(self._by_address, network)
        await limiter.hit(self._together)
        self._own_failures_until = self._clock() + self._longest_window

    async def _ask(
        self, question: Callable[[FixedWindowRateLimiter, str], Awaitable[T]], network: str
    ) -> T:
        """Ask the shared count, or this worker's own where there is none, or it does not answer."""
        if not self._is_shared:
            return await question(self._own, network)
        if self._is_reachable or self._clock() >= self._retry_at:
            # Of the logins that come while it is away, one in so many seconds waits for it.
            self._retry_at = self._clock() + RETRY_SECONDS
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    answer = await question(self._shared, network)
            except Exception as fault:  # each storage has its own, and no login fails for one
                if self._is_reachable:
                    details = {"fault": type(fault).__name__}
                    logger.error("shared_count_unreachable", extra={"details": details})
                self._is_reachable = False
            else:
                if not self._is_reachable:
                    logger.info("shared_count_reachable")
                self._is_reachable = True
                return answer
        return await question(self._own, network)


async def conceal(began: float) -> None:
    """Wait until a refused key may be told so; `began` is of `time.perf_counter`.

    Others are served meanwhile, which a timer would do as well, but it counts in milliseconds.
    """
    while time.perf_counter() < began + REFUSAL_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0)  # nothing happens that could be waited for


def _seconds_left(window: WindowStats) -> int:
    return max(1, math.ceil(window.reset_time - time.time()))


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
