"""What was read of clients and their keys, kept for as long as nothing there can have changed.

Logins and `/me` ask the same questions again and again. An answer is kept under the lease of the
revocations: while their copy is fresh, no change of the registry is older than `max_age_seconds`
that a poll has not brought; and a change that it brings ends every answer from before.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from databases.interfaces import Record

from authapi.rules.revocations import MARGIN_SECONDS, Revocations

Row = dict[str, Any]
MAX_CACHED = 10_000
CACHE_SECONDS = MARGIN_SECONDS / 2
"""Shorter than the copy keeps an era, so that of the answer and the copy one has the latest."""


class ClientCache:
    def __init__(self, revocations: Revocations) -> None:
        self.revocations = revocations
        self._kept: dict[str, tuple[Row, float]] = {}
        self._changes = 0

    def kept(self, name: str) -> Row | None:
        """The answer that is kept under `name`."""
        if self.revocations.registry_version != self._changes or len(self._kept) >= MAX_CACHED:
            self._kept.clear()
            self._changes = self.revocations.registry_version
        row, until = self._kept.get(name, (None, 0))
        is_good = self.revocations.clocks.steady() < until and self.revocations.are_fresh()
        return row if is_good else None

    async def find(self, name: str, ask: Callable[[], Awaitable[Record]]) -> Row:
        """The same, else what `ask` returns; what it raises is not kept."""
        row = self.kept(name)
        if row is None:
            now, changes = self.revocations.clocks.steady(), self.revocations.registry_version
            row = dict(await ask())  # quicker to read than a record
            if self.revocations.registry_version == changes:
                self._kept[name] = row, now + CACHE_SECONDS
        return row

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)
