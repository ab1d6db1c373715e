"""Verifiers elsewhere, on the steady clock of the machine, and what they say of each token."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache

from auth_api_verifier import Refused, Unavailable, Verifier

from tests.faults.client import READY_SECONDS, Recorder, Session
from tests.faults.history import Event
from tests.forge import claims_of, header_of

SCOPE = "revocations:read"
CHECK_SECONDS = 0.01
"""Between two checks of a token by one verifier."""
WATCH_SECONDS = 8
"""After which a token that is still accepted is left to the judge."""
AGAIN = 3
"""How often a token is checked once more after it was refused."""


async def wait_until_accepted(verifier: Verifier, session: Session) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                await verifier.verify(session.access)
                return
            except Unavailable:
                pass


class Elsewhere:
    """Verifiers by their names, each of which writes down every check."""

    def __init__(self, recorder: Recorder, verifiers: dict[str, Verifier]) -> None:
        self._recorder = recorder
        self._verifiers = verifiers

    async def wait_until_known(self, session: Session) -> None:
        """Off the record, since each has just begun to follow."""
        for verifier in self._verifiers.values():
            await wait_until_accepted(verifier, session)

    async def check(self, session: Session) -> list[int]:
        """The status of each verifier."""
        return await asyncio.gather(*(self._check(name, session) for name in self._verifiers))

    async def watch(self, *sessions: Session) -> None:
        """Check all the time until each is refused everywhere, and then a few times more."""
        await asyncio.gather(
            *(self._watch(name, session) for name in self._verifiers for session in sessions)
        )

    async def keep_checking(self, sessions: Iterable[Session]) -> None:
        """Without an end: of tokens that nothing ends."""
        while True:
            for session in sessions:
                await self.check(session)
            await asyncio.sleep(5 * CHECK_SECONDS)

    async def _watch(self, name: str, session: Session) -> None:
        give_up = time.monotonic() + WATCH_SECONDS
        status = 200
        while status != 401 and time.monotonic() < give_up:
            status = await self._check(name, session)
            await asyncio.sleep(CHECK_SECONDS)
        for _ in range(AGAIN):
            await asyncio.sleep(10 * CHECK_SECONDS)
            await self._check(name, session)

    async def _check(self, name: str, session: Session) -> int:
        token = session.access
        start, status = time.monotonic(), 200
        try:
            await self._verifiers[name].verify(token)
        except Refused:
            status = 401
        except Unavailable:
            status = 503
        token_id, kid = _names_of(token)
        event = Event(
            start,
            time.monotonic(),
            name,
            "offline check",
            status,
            session.client.name,
            session.id,
            token_id,
            key=kid,
        )
        self._recorder.events.append(event)
        return status


@lru_cache(100_000)
def _names_of(token: str) -> tuple[str, str]:
    """Its id, and that of the signing key without the database's."""
    return claims_of(token)["jti"], header_of(token)["kid"].partition(".")[0]


@asynccontextmanager
async def followed(recorder: Recorder, key: str, **urls: str) -> AsyncIterator[Elsewhere]:
    """By a verifier for each of these URLs, which logs in with the key."""
    async with AsyncExitStack() as stack:
        verifiers = {
            name: await stack.enter_async_context(Verifier(url, key)) for name, url in urls.items()
        }
        yield Elsewhere(recorder, verifiers)
