"""What is answered to verifiers elsewhere, which judge tokens by a copy and a lease of their own.

Each answer brings what the asking verifier lacks of this worker's copy, and says for how long all
that it then holds may be believed: until `lease_seconds` after this worker's last reading of the
database began, counted by steady clocks from when the verifier sent its question. So what was
committed that long ago is either known to a verifier, or it believes nothing.
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple

from authapi.credentials.signing_keys import SigningKey
from authapi.errors import TemporarilyUnavailable, UnknownCursor
from authapi.revocation.cursors import Cursor
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.pacing import Pacing
from authapi.revocation.revocations import TIMER_SECONDS, Revocations

PAGE = 50_000
"""So many ids are 2 MB."""
MAX_PAGES = 8
"""So many are remembered, since all who wait lack the same."""
MANY = 1_000
"""Past so many ids an answer is the same for all who ask within a tenth of a second, and lack the
same: it is compressed once for them."""


class Page(NamedTuple):
    """What is past a position, or the first part of it unless it `is_last`; `reached` is where that
    ends, and `life_seconds` how long the longest of its entries matters."""

    revoked: dict[str, float]
    reached: int
    is_last: bool
    life_seconds: float


class Feed:
    """Of one worker. It asks the database nothing."""

    def __init__(
        self,
        revocations: Revocations,
        pacing: Pacing,
        lease_seconds: float,
        access_seconds: float,
        leeway_seconds: float,
        page_size: int = PAGE,
    ) -> None:
        self._revocations = revocations
        self._pacing = pacing
        self._lease_seconds = lease_seconds
        self._access_seconds = access_seconds
        self._spare_seconds = leeway_seconds + MARGIN_SECONDS
        self._page_size = page_size
        # One of 50,000 takes 70 ms: made for each of a thousand verifiers, it would be an outage.
        self._page = lru_cache(MAX_PAGES)(self._make_page)
        self._keys: Sequence[SigningKey] = ()

    @property
    def held(self) -> int:
        """How many polls wait for news."""
        return self._pacing.held

    def use(self, keys: Sequence[SigningKey]) -> None:
        """These are the keys in force that a verifier can know."""
        self._keys = keys
        self._revocations.mark_change()

    async def outlast(self) -> None:
        """For what was committed and is in force on every worker by now: return when no verifier
        elsewhere believes anything that it heard before."""
        rest = max(0, self._lease_seconds - self._revocations.enforce_seconds)
        await asyncio.sleep(rest + TIMER_SECONDS)

    async def poll(
        self,
        cursor: Cursor | None,
        wait_seconds: float = 0,
        gone: asyncio.Future[None] | None = None,
    ) -> dict[str, Any]:
        """What a verifier lacks that has come as far as `cursor`: at once if there is anything,
        else when something comes, or it is `gone`, or after `wait_seconds`.

        Raises `UnknownCursor` for that of another database, and `TemporarilyUnavailable` where the
        copy is old, or too many wait.
        """
        came = self._revocations.clocks.steady()
        await self._demand_recent()
        if cursor and cursor.database_id != self._revocations.database_id:
            # It may be another one since the last reading, as who sent the cursor knows.
            await self._catch_up()
        if cursor and wait_seconds and (self._pacing.is_due or not self._lacks(cursor)):
            gone = gone or asyncio.get_running_loop().create_future()
            await self._pacing.hold(wait_seconds, partial(self._lacks, cursor), gone)
            await self._demand_recent()
        return self._answer(cursor, came)

    async def _catch_up(self) -> None:
        """With the database, for so long that the answer is not late even if it comes to nothing:
        a verifier waits for half of the lease beyond what it asked for."""
        try:
            async with asyncio.timeout(self._lease_seconds / 4):
                await self._revocations.catch_up()
        except TimeoutError:
            raise TemporarilyUnavailable("the copy is old") from None

    async def _demand_recent(self) -> None:
        """A reading that is late on a busy machine is waited for, and one that fails is not."""
        if self._is_old() or not self._revocations.are_fresh():
            with suppress(TemporarilyUnavailable):
                await self._catch_up()
            if self._is_old():
                raise TemporarilyUnavailable("the copy is old")

    def _is_old(self) -> bool:
        return self._revocations.age_seconds() > self._lease_seconds / 2

    def _lacks(self, cursor: Cursor) -> bool:
        """Or whatever it has is of another database, or of none."""
        entries = self._revocations.entries
        is_known = cursor.database_id == self._revocations.database_id
        return not is_known or cursor.positions.get(entries.run, 0) != entries.last

    def _position(self, cursor: Cursor) -> int:
        """Up to where it has this worker's entries. Raises `UnknownCursor`."""
        entries = self._revocations.entries
        position = cursor.positions.get(entries.run, 0)
        if cursor.database_id != self._revocations.database_id or position > entries.last:
            raise UnknownCursor
        return position

    def _answer(self, cursor: Cursor | None, came: float) -> dict[str, Any]:
        copy, database_id = self._revocations, self._revocations.database_id
        entries, since = copy.entries, self._position(cursor) if cursor else 0
        page = self._page(entries.run, since, entries.last)
        answer = {
            "revoked": page.revoked,
            "keys": [key.kid_in(database_id) for key in self._keys],
            "purged_until": entries.over,
            "cursor": str((cursor or Cursor(database_id, {})).moved(entries.run, page.reached)),
            "keep": math.ceil(page.life_seconds + self._spare_seconds),
            "lease": self._lease_seconds,
        }
        if page.is_last:
            fresh_for = self._lease_seconds + copy.read_at - came
            steps = 10 if len(page.revoked) > MANY else 1000
            answer["fresh_for"] = math.floor(fresh_for * steps) / steps  # rounded up, it would lie
        return answer

    def _make_page(self, run: str, since: int, last: int) -> Page:
        """Of the run and up to the position that are now the newest."""
        lacked = self._revocations.entries.since(since)
        page = lacked[: self._page_size]
        is_last = len(page) == len(lacked)
        reached = last if is_last else page[-1][1].position
        revoked = {ended_id: entry.revoked_at for ended_id, entry in page}
        lives = [entry.access_expires_at - entry.revoked_at for _, entry in page]
        return Page(revoked, reached, is_last, max([self._access_seconds, *lives]))
