"""What this process has counted since it began: cheap enough to be done at every request."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STATEMENTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
MAX_REASONS = 200
"""They are constants of ours. Were one ever made of what a caller sends, memory would not grow."""
FROM_ZERO = ("login", "refreshed", "refresh_reused", "logged_out", "logged_out_everywhere")
"""Events that are told before the first of them: where a count begins with 1, Prometheus sees no
increase, and the alarm for one refresh token that was used again would stay silent."""


class Distribution:
    """How many values were at most as large as each bound, and larger than the one before; the last
    count is of those past all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counts:
    """Of one process. Only its event loop touches it."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], Distribution] = defaultdict(
            lambda: Distribution(SECONDS)
        )
        """By the path of the route, the method and the status."""
        self.events = Counter(dict.fromkeys(FROM_ZERO, 0))
        """Lines of the audit trail that are no refusal."""
        self.refusals: Counter[tuple[str, str]] = Counter()
        """By the event and its reason."""
        self.database = Distribution(SECONDS)
        """How long each question to the database took, with the wait for a connection."""
        self.commits = Distribution(STATEMENTS)
        """How many statements SQLite has committed together."""

    def refuse(self, event: str, reason: str) -> None:
        kind = (event, reason)
        if kind not in self.refusals and len(self.refusals) >= MAX_REASONS:
            kind = (event, "other")
        self.refusals[kind] += 1

    def snapshot(self) -> dict[str, Any]:
        """As JSON may hold it: labels in a list, then the values."""
        return {
            "requests": [
                [[path, method, str(status)], each.counts, each.total]
                for (path, method, status), each in self.requests.items()
            ],
            "events": [[[event], count] for event, count in self.events.items()],
            "refusals": [[[*kind], count] for kind, count in self.refusals.items()],
            "database": [[[], self.database.counts, self.database.total]],
            "commits": [[[], self.commits.counts, self.commits.total]],
        }


counts = Counts()
"""As there is one audit trail, there is one of these in a process."""
