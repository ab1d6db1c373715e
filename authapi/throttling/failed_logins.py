"""Slows down who tries keys: failed logins are counted, by network address and together."""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItem, WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter

from authapi.errors import InvalidLogin
from authapi.throttling.refusals import TooManyFailures
from authapi.throttling.shared_count import SharedCount, seconds_left


class FailedLogins:
    """Both limits look like `30/minute`.

    Past the limit of an address, it is refused until its window is over. Past the limit of all
    together, so is every address with a failure in its window: a client that did nothing wrong is
    let in whatever the others do. The latter also bounds the memory.
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
        self._under_way: Counter[str] = Counter()

    async def admit(self, address: str) -> None:
        """Before a key is judged. Raises `TooManyFailures`."""
        await self._admit(_network_of(address), 0)

    @asynccontextmanager
    async def attempt(self, address: str) -> AsyncIterator[None]:
        """One login that takes long to judge; `InvalidLogin` counts as its failure.

        What is under way from the same network counts as failed until it is judged: otherwise all
        of a burst would be admitted before the first is counted. Raises `TooManyFailures`.
        """
        network = _network_of(address)
        beside = self._under_way[network]
        self._under_way[network] += 1
        try:
            await self._admit(network, beside)
            yield
        except InvalidLogin:
            await self.count(address)
            raise
        finally:
            self._under_way[network] -= 1
            if not self._under_way[network]:
                del self._under_way[network]

    async def _admit(self, network: str, beside: int) -> None:
        if beside or self._count.is_shared or self._clock() < self._own_failures_until:
            for limit, window in await self._count.ask(partial(self._windows, network, beside)):
                if window.remaining <= 0:
                    raise TooManyFailures(seconds_left(window, limit))

    async def count(self, address: str) -> None:
        """A key was refused."""
        await self._count.ask(partial(self._hit, _network_of(address)))

    async def _windows(
        self, network: str, beside: int, limiter: FixedWindowRateLimiter
    ) -> list[tuple[RateLimitItem, WindowStats]]:
        """What this network is judged by: if it has no failure, by what is `beside` alone."""
        own = await limiter.get_window_stats(self._by_address, network)
        has_failed = own.remaining < self._by_address.amount
        own = WindowStats(own.reset_time, own.remaining - beside)
        if not has_failed:
            return [(self._by_address, own)]
        together = await limiter.get_window_stats(self._together)
        return [(self._by_address, own), (self._together, together)]

    async def _hit(self, network: str, limiter: FixedWindowRateLimiter) -> None:
        await limiter.hit(self._by_address, network)
        await limiter.hit(self._together)
        self._own_failures_until = self._clock() + self._longest_window


@lru_cache(1000)
def _network_of(address: str) -> str:
    """A customer of an IPv6 provider has 2^64 addresses at the least, and counts as one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # as `unix`, of who connects by a Unix socket
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
