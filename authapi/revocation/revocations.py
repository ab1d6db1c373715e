"""Each worker's own copy of what is revoked, so that a request need not ask the database.

A request is judged by the copy while that is fresh: its last reading of the database began at most
`max_age_seconds` ago. Otherwise the database is asked. And a log-out is answered `max_age_seconds`
after its commit. So a request that begins after that answer is judged by what was read after the
commit, on any worker of any node, without a lock or a broker.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress

from authapi import deadline
from authapi.clocks import Clocks
from authapi.credentials.claims import Claims
from authapi.engines.database import Database
from authapi.revocation.entries import MARGIN_SECONDS, Entries
from authapi.store import revocations
from authapi.store.following import Ended, Follower, Reading

TIMER_SECONDS = 0.005
"""How early a timer may fire."""
LATE_SECONDS = 0.25
"""A request waits so long for a reading that goes on, before it asks itself; 0 is not at all."""

logger = logging.getLogger("auth.revocations")


class Revocations:
    """The ids that end access tokens. No access token is judged by the spent refresh tokens, so
    they are not among them.

    If it `is_shared`, other workers may have copies, which a log-out has to wait for. `serve` is
    called with the id of the database, at first and whenever it is another one; `tell` whenever
    there is something that a verifier may lack.
    """

    def __init__(
        self,
        database: Database,
        access_seconds: float,
        leeway_seconds: float,
        max_age_seconds: float,
        is_shared: bool,
        clocks: Clocks,
        serve: Callable[[str], None],
        tell: Callable[[], None],
        late_seconds: float = LATE_SECONDS,
    ) -> None:
        self._database = database
        self._follower = Follower(database)
        self._leeway_seconds = leeway_seconds
        self._keep_seconds = access_seconds + leeway_seconds + MARGIN_SECONDS
        self._max_age_seconds = max_age_seconds
        self.enforce_seconds = max_age_seconds + TIMER_SECONDS if is_shared else 0
        """How long after a commit it is in force on every worker."""
        self.clocks = clocks
        self._serve, self._tell = serve, tell
        self._late_seconds = late_seconds
        self.registry_version = 0
        """How many changes of clients and keys were seen; a whole reading counts as one."""
        self.database_id = ""
        self.entries = Entries()
        self.read_at = -math.inf
        """When the last reading of the database began, by the steady clock."""
        self._own: list[Ended] = []
        self._is_reading = False
        self._told = ("", 0)
        self._was_read = asyncio.Event()

    def age_seconds(self) -> float:
        """Since the last reading of the database began."""
        return self.clocks.steady() - self.read_at

    def are_fresh(self) -> bool:
        """Whether all that was committed `max_age_seconds` ago is in the copy."""
        return self.age_seconds() < self._max_age_seconds

    def era_of(self, client_id: str) -> float:
        """When all of the client's sessions were last ended; 0 if no token can tell any more."""
        return self.entries.revoked_at(client_id)

    async def is_ended(self, claims: Claims) -> bool:
        """Raises `TemporarilyUnavailable` if the copy is stale and the database out of reach."""
        if self._late_seconds and self._is_reading and not self.are_fresh():
            # It is late on a busy machine, and a question for each request would make it later.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline.after(self._late_seconds)):
                    await self._was_read.wait()
        if not self.are_fresh():
            return await revocations.is_ended(self._database, claims)
        entries = self.entries
        return (
            claims.database_id != self.database_id  # which may be another one since the wait
            or claims.sid in entries
            or claims.jti in entries
            or claims.key_id in entries
            or claims.exp <= entries.over
            or entries.revoked_at(claims.sub) > claims.era
        )

    async def enforce(self, ended: Ended) -> None:
        """For a row that is committed: return when it is in force on every worker."""
        self._own.append(ended)
        self.entries.remember(ended, self.clocks.steady())
        self._tell_news()
        if self.enforce_seconds:
            await asyncio.sleep(self.enforce_seconds)

    async def settle(self) -> None:
        """For whatever was committed: return when it is in force on every worker."""
        if self.enforce_seconds:
            await asyncio.sleep(self.enforce_seconds)
            return
        # Where there is no other, by the next reading; or the copy is too old to be judged by.
        with suppress(TimeoutError):
            await asyncio.wait_for(self.catch_up(), self._max_age_seconds)

    async def read(self) -> None:
        """Read what was committed since the last time, and forget what is over.

        The first time, on another connection and after the clock was set, that is not known, and
        all that can still matter is read. Raises `TemporarilyUnavailable`.
        """
        if step := self.clocks.step():
            self._follower.start_over()
            logger.warning("clock_stepped", extra={"details": {"seconds": round(step)}})
        began = self.clocks.steady()
        self._is_reading, self._own = True, []
        after = self._over_by_now()
        try:
            self._take(await self._follower.read(after), after)
        except BaseException:
            self._follower.start_over()  # else what was read and not taken would be lost
            raise
        finally:
            self._is_reading = False
        self.read_at = began
        self._forget()
        self._was_read.set()
        self._was_read = asyncio.Event()
        self._tell_news()

    async def catch_up(self) -> None:
        """Return once a reading has ended that began no sooner than this was asked for."""
        asked_at = self.clocks.steady()
        while self.read_at < asked_at:
            await self._was_read.wait()

    def mark_change(self) -> None:
        """For what is no entry, and yet news for who follows them."""
        self.entries.last += 1
        self._tell_news()

    def _tell_news(self) -> None:
        newest = (self.entries.run, self.entries.last)
        if newest != self._told:
            self._told = newest
            self._tell()

    def _take(self, reading: Reading, after: int) -> None:
        if reading.is_whole:
            self._start_over(reading, after)
        for ended in reading.ended:
            if ended.jti == revocations.REGISTRY_VERSION:
                self.registry_version += 1
            else:
                self.entries.remember(ended, self.clocks.steady())
        self.entries.over = max(self.entries.over, reading.access_purged_until)

    def _start_over(self, reading: Reading, after: int) -> None:
        self.entries = Entries(over=after + MARGIN_SECONDS)
        # What this worker wrote since the reading began may not be in it.
        for ended in self._own:
            self.entries.remember(ended, self.clocks.steady())
        self.registry_version += 1
        if reading.database_id != self.database_id:
            if self.database_id:
                logger.warning("database_changed")
            self.database_id = reading.database_id
            self._serve(reading.database_id)
        self._compare_clocks(reading)

    def _compare_clocks(self, reading: Reading) -> None:
        """Log it if our clock is behind the newest row, or far from the database's."""
        now = self.clocks.wall()
        behind = max((ended.revoked_at for ended in reading.ended), default=now) - now
        apart = 0 if reading.clock is None else now - reading.clock
        if behind > MARGIN_SECONDS or abs(apart) > MARGIN_SECONDS:
            details = {"behind_newest_row": round(behind), "ahead_of_database": round(apart)}
            logger.warning("clock_disagrees", extra={"details": details})

    def _over_by_now(self) -> int:
        """By any clock, a row with an `access_expires_at` up to here ends nothing that counts."""
        return math.floor(self.clocks.earliest() - self._leeway_seconds - MARGIN_SECONDS)

    def _forget(self) -> None:
        self.entries.forget(self.clocks.steady(), self._keep_seconds, self._over_by_now())
