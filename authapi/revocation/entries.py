"""What a worker's copy holds: each id that ends tokens, in the order in which it was learnt.

So who has seen all up to a position lacks what is past it. An entry that changes is learnt anew, at
the end. What is over is forgotten, and no clock can make that unsafe: the copy knows the latest
`exp` of any token that a forgotten entry may have ended, and refuses every token up to there.
"""

import secrets
import string
from itertools import takewhile
from typing import NamedTuple

from authapi.store.following import Ended

MARGIN_SECONDS = 60
"""How far the clocks of two nodes may be apart before one forgets what it still needs."""
RUN_LENGTH = 10
RUN_LETTERS = string.digits + string.ascii_letters


class Entry(NamedTuple):
    """`learnt_at` is when it came, by the steady clock, and `position` its place in the order."""

    revoked_at: float
    access_expires_at: int
    learnt_at: float
    position: int


class Entries:
    """By their ids, the oldest first. `run` names this order among those of all workers and times,
    `last` is the newest position of it, and a token with an `exp` up to `over` is dead."""

    def __init__(self, over: int = 0) -> None:
        self.run = "".join(secrets.choice(RUN_LETTERS) for _ in range(RUN_LENGTH))
        self.last = 0
        self.over = over
        self._by_id: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, ended_id: str) -> bool:
        return ended_id in self._by_id

    def revoked_at(self, ended_id: str) -> float:
        """When that was ended; 0 if it is not here."""
        entry = self._by_id.get(ended_id)
        return entry.revoked_at if entry else 0

    def since(self, position: int) -> list[tuple[str, Entry]]:
        """What is past it, the oldest first."""
        newest_first = reversed(self._by_id.items())
        return list(takewhile(lambda item: item[1].position > position, newest_first))[::-1]

    def remember(self, ended: Ended, now: float) -> None:
        """With the later times, since a reading may bring an older row. One that says nothing new
        keeps its place: a log-out is news once, and not again when it is read."""
        former = self._by_id.get(ended.jti)
        revoked_at, expires_at = ended.revoked_at, ended.access_expires_at
        if former:
            revoked_at = max(revoked_at, former.revoked_at)
            expires_at = max(expires_at, former.access_expires_at)
            if (revoked_at, expires_at) == former[:2]:
                return
        self._put(ended.jti, revoked_at, expires_at, now)

    def forget(self, now: float, keep_seconds: float, over: int) -> None:
        """Drop what came `keep_seconds` ago, if its tokens' `exp` is not past `over` either."""
        oldest_first = self._by_id.items()
        for ended_id, entry in list(
            takewhile(lambda item: item[1].learnt_at <= now - keep_seconds, oldest_first)
        ):
            if entry.access_expires_at > over:
                self._put(ended_id, entry.revoked_at, entry.access_expires_at, now)
            else:
                del self._by_id[ended_id]
                self.over = max(self.over, entry.access_expires_at + MARGIN_SECONDS)

    def _put(self, ended_id: str, revoked_at: float, access_expires_at: int, now: float) -> None:
        """At the end: both orders, of times and of positions, are that of the dictionary."""
        self._by_id.pop(ended_id, None)
        self.last += 1
        self._by_id[ended_id] = Entry(revoked_at, access_expires_at, now, self.last)
