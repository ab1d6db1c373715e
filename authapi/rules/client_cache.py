"""What was read of clients and their keys, for as long as nothing there can have changed.

Logins and `/me` ask the same questions again and again. An answer is cached under the lease of the
revocations: while their copy is fresh, the only changes of the registry that it can lack are
younger than `max_age_seconds`; and a change that it brings drops every answer from before.
"""

from collections.abc import Awaitable
from sys import getsizeof
from typing import Any, TypeVar

from authapi.engines.database import Database, Row
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.revocations import Revocations
from authapi.store import clients, sessions

Found = TypeVar("Found", bound=Row | None)
MAX_BYTES = 128 * 1024 * 1024
"""Of each worker: some 110,000 answers."""
SLOT_BYTES = 600
"""At most what an answer takes beside itself: its name, its time, its place."""
CACHE_SECONDS = MARGIN_SECONDS / 2
"""Less than the copy's own memory, so that an answer is gone before the era that outdates it."""


class ClientCache:
    def __init__(
        self, database: Database, revocations: Revocations, max_bytes: int = MAX_BYTES
    ) -> None:
        self._database = database
        self._revocations = revocations
        self._max_bytes = max_bytes
        self._answers: dict[str, tuple[Row, float]] = {}
        self._bytes = 0
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
        if version != self._version or self._bytes >= self._max_bytes:
            self._answers.clear()
            self._bytes = 0
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
            answer = dict(found)
            self._answers[name] = answer, now + CACHE_SECONDS
            # What this replaces is not taken off, so that the sum is never too small.
            self._bytes += size_of(answer)
        return found


def size_of(answer: dict[str, Any]) -> int:
    """How many bytes it takes here, at most."""
    return SLOT_BYTES + getsizeof(answer) + sum(map(getsizeof, answer.values()))
