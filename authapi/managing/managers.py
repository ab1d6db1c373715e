"""Who manages over HTTP, and when what they did is in force."""

from collections.abc import Sequence

from authapi import deadline
from authapi.credentials.claims import Claims
from authapi.engines.database import Database
from authapi.managing.manager import Manager
from authapi.revocation.feed import Feed
from authapi.revocation.revocations import Revocations


class Managers:
    """Of one worker. `feed` is that of verifiers elsewhere, where there may be any; `secrets` seal
    the answers that are kept for a repeat."""

    def __init__(self, revocations: Revocations, feed: Feed | None, secrets: Sequence[str]) -> None:
        self._revocations = revocations
        self._feed = feed
        self.secrets = secrets

    def by(self, database: Database, claims: Claims) -> Manager:
        """Whoever manages by this access token."""
        return Manager(database, self._revocations.clocks.wall, self._settle, claims)

    async def _settle(self) -> None:
        await self._revocations.settle()
        if self._feed is not None:
            await self._feed.outlast()
        deadline.begin()  # what is asked after the wait has its own time
