"""How many connections a worker holds, and how long it waits for whoever is slow."""

import logging
import resource
from dataclasses import dataclass, replace

SPARE_DESCRIPTORS = 64
"""For the database, the log and what else a worker has open, beside its connections."""

logger = logging.getLogger("auth.server")


@dataclass(frozen=True)
class Limits:
    """For each worker. A test makes them smaller."""

    connections: int = 1_000
    """Past it, the connection that has kept us waiting for the longest is closed."""
    wait_seconds: float = 10.0
    """How long a head may take to arrive, then a body, and then an answer to be read."""
    check_seconds: float = 1.0


LIMITS = Limits()


def within_descriptors(limits: Limits) -> Limits:
    """As many connections as this process may open, once its soft limit is as high as they need.

    Else the system refuses new ones, and nothing in the log says why.
    """
    needed = limits.connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            connections = max(1, soft - SPARE_DESCRIPTORS)
            details = {"allowed": soft, "needed": needed, "connections": connections}
            logger.warning("few_file_descriptors", extra={"details": details})
            return replace(limits, connections=connections)
    return limits
