"""Slows down who tries keys: failed logins are counted, by network address and together."""

import math
import time
from collections.abc import Callable
from functools import lru_cache, partial
from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItem, WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter

from authapi.errors import TooManyFailures
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

    async def admit(self, address: str) -> None:
        """Before a key is judged. Raises `TooManyFailures`."""
        if self._count.is_shared or self._clock() < self._own_failures_until:
            network = _network_of(address)
            for limit, window in await self._count.ask(partial(self._windows, network)):
                if window.remaining == 0:
                    raise TooManyFailures(seconds_left(window, limit))

    async def count(self, address: str) -> None:
        """A key was refused."""
        await self._count.ask(partial(self._hit, _network_of(address)))

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
