"""How many connections a worker has, and how long it waits for whoever is slow."""

import asyncio
import logging
import os
import resource
from dataclasses import dataclass, replace

MAX_HELD = "FEED_MAX_HELD"
SPARE_DESCRIPTORS = 64
"""For the database, the log and what else a worker has open, beside its connections."""

logger = logging.getLogger("auth.server")


@dataclass(frozen=True)
class Limits:
    """For each worker. A test makes them smaller."""

    connections: int = 1_000
    """Past it, the connection that has kept us waiting for the longest is closed."""
    held: int = 2_000
    """Connections besides, of those whose polls are held until there is news."""
    wait_seconds: float = 10.0
    """How long a head may take to arrive, then a body, and then an answer to be read."""
    check_seconds: float = 1.0


LIMITS = Limits()


class Holding:
    """What a connection is while its requests may wait for seconds until something happens: it has
    a budget of its own, or else those who wait would push out all others. It stays there between
    two of them, until another request is answered. `gone` is done when its client has hung up."""

    def __init__(self, gone: asyncio.Future[None]) -> None:
        self.is_on = False
        self.gone = gone
        self._is_asked = False

    def begin(self) -> asyncio.Future[None]:
        """For the request that is being answered. Returns `gone`."""
        self.is_on = self._is_asked = True
        return self.gone

    def end(self) -> None:
        """The request is answered."""
        self.is_on, self._is_asked = self._is_asked, False


def within_descriptors(limits: Limits) -> Limits:
    """As many connections as this process may open, once its soft limit is as high as they need.

    Else the system refuses new ones, and nothing in the log says why.
    """
    needed = limits.connections + limits.held + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            limits = _shared(limits, soft - SPARE_DESCRIPTORS)
            found = {"connections": limits.connections, "held": limits.held}
            details = {"allowed": soft, "needed": needed, **found}
            logger.warning("few_file_descriptors", extra={"details": details})
    return limits


def _shared(limits: Limits, room: int) -> Limits:
    """Fewer are held, but a quarter of the room is for them."""
    held = max(1, min(limits.held, max(room - limits.connections, room // 4)))
    return replace(limits, connections=max(1, min(limits.connections, room - held)), held=held)


def limits_of_workers(limits: Limits, max_held: int) -> Limits:
    """With what is to be held at the most, or what this process lets its workers hold."""
    limits = within_descriptors(replace(limits, held=max_held))
    os.environ[MAX_HELD] = str(limits.held)  # where a worker reads what it may hold
    return limits
