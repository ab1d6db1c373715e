"""Until when tokens may have been issued: none is issued later than the database knows.

What ends tokens is remembered for as long as they live, and that depends on the clock of the worker
that issued them, which may have been wrong then and right since. So before a worker issues a token
at a later time than any before, it raises `issued_until` in the database, a minute ahead; and how
long a row is kept is counted from there, not from the clock of the worker that writes it.
"""

from authapi.engines.database import Database
from authapi.store import database_identity

AHEAD_SECONDS = 60
RENEW_SECONDS = 20.0


class Issuing:
    """Remembers until when this worker may issue tokens for one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._database_id = ""
        self._until = 0

    async def allow(self, database_id: str, iat: int) -> None:
        """Return once the database knows that tokens are issued at this time.

        Raises `TemporarilyUnavailable`.
        """
        if database_id != self._database_id or iat > self._until:
            until = iat + AHEAD_SECONDS
            await database_identity.raise_issued_until(self._database, database_id, until)
            self._database_id, self._until = database_id, until

    async def renew(self, database_id: str, now: float) -> None:
        """Ahead of time, so that no login has to wait for it."""
        await self.allow(database_id, int(now) + AHEAD_SECONDS // 2)
