"""How the audit trail tells of refusals, of which a stranger can make as many as they like."""

import math
import time
from collections import Counter
from collections.abc import Callable

import audit

LINES_A_SECOND = 100
MAX_ALIKE = 100


class Refusals:
    """Tells refusals one by one, up to `LINES_A_SECOND`, and the rest of the second together.

    To be refused costs a stranger nothing, so it must not fill a disk. None is left out: those
    that are alike make one line with their `count`, which has no id of a request. Where more than
    `MAX_ALIKE` kinds come in a second, their lines do not tell whose they were.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = -math.inf
        self._left = 0
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def record(self, event: str, reason: str, **details: str) -> None:
        now = self._clock()
        if now >= self._until:
            self._tell()
            self._until, self._left = now + 1, LINES_A_SECOND
        if self._left:
            self._left -= 1
            audit.record(event, reason=reason, **details)
            return
        why = ("reason", reason)
        alike = event, (why, ("address", audit.origin()["address"]), *details.items())
        is_known = alike in self._counts or len(self._counts) < MAX_ALIKE
        self._counts[alike if is_known else (event, (why,))] += 1

    async def tell(self) -> None:
        """Tell what was counted and not told."""
        self._tell()

    def _tell(self) -> None:
        counts, self._counts = self._counts, Counter()
        for (event, details), count in counts.items():
            audit.tell(event, {**dict(details), "count": count})
