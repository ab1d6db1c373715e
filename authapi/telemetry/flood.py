"""Records refusals, of which anybody can cause any number: beyond a rate they are counted."""

import math
import time
from collections import Counter
from collections.abc import Callable

from authapi.telemetry import audit
from authapi.telemetry.counting import counts

LINES_A_SECOND = 100
MAX_ALIKE = 100

Kind = tuple[str, tuple[tuple[str, str], ...]]
"""An event with its details."""


class Flood:
    """Writes up to `LINES_A_SECOND` refusals one by one, and counts the rest of the second.

    Being refused costs nothing, so it must not fill a disk. None is left out: those that are alike
    share a line with their `count` and without the id of a request. Past `MAX_ALIKE` kinds in a
    second, a line has no address; past twice as many, only the reason.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = -math.inf
        self._left = 0
        self._counts: Counter[Kind] = Counter()

    def record(self, event: str, reason: str, **details: str) -> None:
        now = self._clock()
        if now >= self._until:
            self.flush()
            self._until, self._left = now + 1, LINES_A_SECOND
        if self._left:
            self._left -= 1
            audit.record(event, reason=reason, **details)
        else:
            self._counts[self._kind(event, reason, details)] += 1

    def flush(self) -> None:
        """Write what was counted, and not written yet."""
        counts, self._counts = self._counts, Counter()
        for (event, details), count in counts.items():
            audit.write(event, {**dict(details), "count": count})

    def _kind(self, event: str, reason: str, details: dict[str, str]) -> Kind:
        why, where = ("reason", reason), ("address", audit.origin()["address"])
        kinds = (event, (why, where, *details.items())), (event, (why, *details.items()))
        for kind, room in zip(kinds, (MAX_ALIKE, 2 * MAX_ALIKE), strict=True):
            if kind in self._counts or len(self._counts) < room:
                return kind
        return event, (why,)


class Refusals:
    """Counts those that name a client apart, so that no flood hides whose token was misused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_nobody = Flood(clock)
        self._of_clients = Flood(clock)

    def record(self, event: str, reason: str, **details: str) -> None:
        counts.refuse(event, reason)
        flood = self._of_clients if details.get("client") else self._of_nobody
        flood.record(event, reason, **details)

    async def flush(self) -> None:
        self._of_nobody.flush()
        self._of_clients.flush()
