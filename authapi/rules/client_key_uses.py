"""When client keys were used: gathered in memory and written once a minute, not at each login."""

import asyncio

from authapi.engines.database import Database
from authapi.store.client_keys import add_uses

WRITE_SECONDS = 60.0
AT_ONCE = 4
"""Half of the connections to a PostgreSQL; SQLite commits them together."""


class ClientKeyUses:
    """What this worker has not written yet: for each key how often it was used, and when last.

    A key is used by a login, and by each refresh of a session that it began. A worker that is
    killed loses a minute of this at most.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathered: dict[str, tuple[int, int]] = {}
        self._turn = asyncio.Lock()

    def note(self, key_id: str, now: int) -> None:
        uses, used_at = self._gathered.get(key_id, (0, now))
        self._gathered[key_id] = uses + 1, max(used_at, now)

    async def write(self) -> None:
        """Write what was gathered; what could not be written stays for the next time.

        To cancel the caller does not cancel this: what is under way would be counted twice.
        """
        await asyncio.shield(asyncio.create_task(self._write()))

    async def _write(self) -> None:
        async with self._turn:
            key_ids = list(self._gathered)
            for start in range(0, len(key_ids), AT_ONCE):
                some = key_ids[start : start + AT_ONCE]
                outcomes = await asyncio.gather(*map(self._write_one, some), return_exceptions=True)
                for outcome in outcomes:
                    if outcome is not None:
                        raise outcome

    async def _write_one(self, key_id: str) -> None:
        uses, used_at = self._gathered.pop(key_id)
        try:
            await add_uses(self._database, key_id, uses, used_at)
        except BaseException:
            since, last = self._gathered.get(key_id, (0, used_at))
            self._gathered[key_id] = uses + since, max(used_at, last)
            raise
