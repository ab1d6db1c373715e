"""Who manages over HTTP, and when what they did is in force."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from authapi import deadline
from authapi.credentials.claims import Claims
from authapi.deadline import ANSWER_SECONDS
from authapi.engines.database import Database
from authapi.managing.manager import Manager
from authapi.revocation.feed import Feed
from authapi.revocation.revocations import Revocations


class Managers:
    """Of one worker. `feed` is that of verifiers elsewhere, where there may be any; `secrets` seal
    the answers that are kept for a repeat. Unless it `is_on`, nobody manages over HTTP."""

    def __init__(
        self, revocations: Revocations, feed: Feed | None, secrets: Sequence[str], is_on: bool
    ) -> None:
        self._revocations = revocations
        self._feed = feed
        self.secrets = secrets
        self._is_on = is_on
        self.clock = revocations.clocks.wall
        self._lock = asyncio.Lock()

    def by(self, database: Database, claims: Claims | None) -> Manager:
        """Whoever manages by this access token; without, the one who shows the key that ends."""
        turn = partial(self._turn, database)
        return Manager(database, self.clock, self.settle, claims, turn, self._is_on)

    @asynccontextmanager
    async def _turn(self, database: Database) -> AsyncIterator[None]:
        """Raises `TemporarilyUnavailable` where the others take too long."""
        async with database.reached(ANSWER_SECONDS):
            await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    async def settle(self) -> None:
        """Return once what was committed before is in force everywhere."""
        await self._revocations.settle()
        if self._feed is not None:
            await self._feed.outlast()
        deadline.begin()  # what is asked after the wait has its own time
