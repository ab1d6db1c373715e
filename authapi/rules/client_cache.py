"""What was read of clients and their keys, for as long as nothing there can have changed.

Logins and `/me` ask the same questions again and again. An answer is cached under the lease of the
revocations: while their copy is fresh, the only changes of the registry that it can lack are
younger than `max_age_seconds`; and a change that it brings drops every answer from before.
"""

from collections.abc import Awaitable
from typing import TypeVar

from authapi.engines.database import Database, Row
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.revocations import Revocations
from authapi.store import clients, sessions

Found = TypeVar("Found", bound=Row | None)
MAX_CACHED = 10_000
CACHE_SECONDS = MARGIN_SECONDS / 2
"""Less than the copy's own memory, so that an answer is gone before the era that outdates it."""


class ClientCache:
    def __init__(self, database: Database, revocations: Revocations) -> None:
        self._database = database
        self._revocations = revocations
        self._answers: dict[str, tuple[Row, float]] = {}
        self._version = 0

    async def find_login(self, digest: str) -> Row:
        """As `store.sessions.find_login`."""
        if (cached := self.get(digest)) is not None:
            return cached
        return await self._cache(digest, sessions.find_login(self._database, digest))

    async def find_client(self, client_id: str) -> Row | None:
        """As `store.clients.find_client`."""
        if (cached := self.get(client_id)) is not None:
            return cached
        return await self._cache(client_id, clients.find_client(self._database, client_id))

    def get(self, name: str) -> Row | None:
        """The answer that is cached under this digest or id."""
        version = self._revocations.registry_version
        if version != self._version or len(self._answers) >= MAX_CACHED:
            self._answers.clear()
            self._version = version
        answer, until = self._answers.get(name, (None, 0))
        is_good = self._revocations.clocks.steady() < until and self._revocations.are_fresh()
        return answer if is_good else None

    def drop(self, name: str) -> None:
        self._answers.pop(name, None)

    async def _cache(self, name: str, asked: Awaitable[Found]) -> Found:
        """The answer, cached unless something has changed since it was asked for."""
        now, version = self._revocations.clocks.steady(), self._revocations.registry_version
        found = await asked
        if found is not None and self._revocations.registry_version == version:
            self._answers[name] = dict(found), now + CACHE_SECONDS
        return found
