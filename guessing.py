"""Slows down whoever tries keys: failed logins are counted, by network address and together."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address, ip_network

from limits import WindowStats, parse
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from errors import InvalidClient, TooManyFailures


class FailedLogins:
    """Both limits look like `30/minute`; `storage` is a URI that the `limits` library knows.

    Past the limit of an address, it is not listened to until its window is over. Past the limit
    of all together, that goes for every address with a failure in its window: a client that did
    nothing wrong is let in whatever the others do. The latter also bounds the memory.
    """

    def __init__(self, storage: str, by_address: str, together: str) -> None:
        self._limiter = FixedWindowRateLimiter(storage_from_string(f"async+{storage}"))
        self._by_address = parse(by_address)
        self._together = parse(together)

    @asynccontextmanager
    async def counted(self, address: str) -> AsyncIterator[None]:
        """Raises `TooManyFailures` at once, or counts an `InvalidClient` that is raised inside."""
        network = _network_of(address)
        await self._check(network)
        try:
            yield
        except InvalidClient:
            await self._limiter.hit(self._by_address, network)
            await self._limiter.hit(self._together)
            raise

    async def _check(self, network: str) -> None:
        own = await self._limiter.get_window_stats(self._by_address, network)
        if own.remaining == self._by_address.amount:
            return
        together = await self._limiter.get_window_stats(self._together)
        for window in (own, together):
            if window.remaining == 0:
                raise TooManyFailures(_seconds_left(window))


def _seconds_left(window: WindowStats) -> int:
    return max(1, math.ceil(window.reset_time - time.time()))


def _network_of(address: str) -> str:
    """A customer of an IPv6 provider has 2^64 addresses at the least, and counts as one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a Unix socket's peer has none
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
