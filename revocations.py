"""Each worker's own copy of what is revoked, so that a request need not ask the database.

A request is judged from the copy while that is fresh: while the poll that last read the database
began at most `max_age_seconds` ago. Else the database is asked. And a log-out is answered only
`max_age_seconds` after it was committed. So a request that begins after that answer is judged by
what was read after the commit, on any worker of any node, without a lock or a broker.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import takewhile

from databases.interfaces import Record

import commit_order
import store
from claims import Claims
from database import Database

MARGIN_SECONDS = 60
"""By how much the clocks of two nodes may differ before one forgets what it still needs."""
TIMER_SECONDS = 0.005
"""By how much a timer may be early."""


steady_clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that go on in a suspended machine, where the system can count them."""


class Revocations:
    """The ids that end access tokens, each with its `revoked_at`.

    `token_seconds` is how long an access token counts, leeway included. `is_shared` tells that
    other workers may exist, whose copies a log-out has to wait for. Spent refresh tokens are not
    in the copy, since no access token is judged by them.
    """

    def __init__(
        self,
        database: Database,
        token_seconds: float,
        max_age_seconds: float,
        is_shared: bool,
        clock: Callable[[], float] = time.time,
        steady_clock: Callable[[], float] = steady_clock,
    ) -> None:
        self._database = database
        self._keep_seconds = token_seconds + MARGIN_SECONDS
        self._max_age_seconds = max_age_seconds
        self._is_shared = is_shared
        self._clock = clock
        self.steady_clock = steady_clock
        self.changes = 0
        """How many changes of the registry were seen."""
        self._revoked_at: dict[str, float] = {}
        self._horizon = 0
        self._read_at = -math.inf

    def __len__(self) -> int:
        return len(self._revoked_at)

    def are_fresh(self) -> bool:
        """Whether whatever was committed `max_age_seconds` ago is in the copy."""
        return self.steady_clock() - self._read_at < self._max_age_seconds

    def epoch_of(self, client_id: str) -> float:
        """The latest that the copy has; 0 if that ended no token which may still count."""
        return self._revoked_at.get(client_id, 0)

    async def is_ended(self, claims: Claims) -> bool:
        """Raises `TemporarilyUnavailable` if the copy is stale and the database out of reach."""
        if not self.are_fresh():
            return await store.is_ended(self._database, claims)
        revoked_at = self._revoked_at
        return (
            claims.sid in revoked_at
            or claims.jti in revoked_at
            or claims.key_id in revoked_at
            or revoked_at.get(claims.sub, 0) > claims.epoch
        )

    async def announce(self, jti: str, revoked_at: float) -> None:
        """For a row that is committed: return when it is in force on every worker."""
        self._remember(jti, revoked_at)
        if self._is_shared:
            await asyncio.sleep(self._max_age_seconds + TIMER_SECONDS)

    async def load(self) -> None:
        """Read what can still matter."""
        await self._read(
            commit_order.load_ended(self._database, self._clock() - self._keep_seconds)
        )

    async def poll(self) -> None:
        """Read what was committed since, and forget what is over."""
        await self._read(commit_order.poll_ended(self._database, self._horizon))
        self._forget()

    async def _read(self, question: Awaitable[list[Record]]) -> None:
        began = self.steady_clock()
        rows = await question
        for row in rows:
            if row["jti"] == store.REGISTRY:
                self.changes += 1
            elif row["jti"] is not None:
                self._remember(row["jti"], row["revoked_at"])
        self._horizon = rows[0]["horizon"]
        self._read_at = began

    def _remember(self, jti: str, revoked_at: float) -> None:
        # The later of the two, since a poll may bring an epoch that is over already; and at the
        # end, since `_forget` looks at the beginning.
        self._revoked_at[jti] = max(revoked_at, self._revoked_at.pop(jti, 0))

    def _forget(self) -> None:
        over = self._clock() - self._keep_seconds
        oldest_first = self._revoked_at.items()
        for jti, _ in list(takewhile(lambda item: item[1] < over, oldest_first)):
            del self._revoked_at[jti]
