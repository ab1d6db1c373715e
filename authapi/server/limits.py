"""How many connections a worker holds, and how long it waits for whoever is slow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """For each worker. A test makes them smaller."""

    connections: int = 1_000
    """Past it, whoever has kept us waiting for the longest has to go."""
    wait_seconds: float = 10.0
    """How long a head may take to arrive, then a body, and then an answer to be read."""
    check_seconds: float = 1.0


LIMITS = Limits()
