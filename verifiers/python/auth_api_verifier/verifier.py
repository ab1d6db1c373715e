"""Judges tokens from memory, as long as what is held there may be believed."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Literal, Self, TypedDict

from auth_api_verifier.feed import Feed, UnknownCursor
from auth_api_verifier.revocations import Revocations
from auth_api_verifier.tokens import Claims, Reader, Refused, Unavailable

USUAL_LEASE = 1.5
"""In seconds; until the service has told its own."""
MAX_WAIT = 5.0
PAUSE_SECONDS = 0.02
RETRY_SECONDS = 0.05
MAX_RETRY_SECONDS = 0.4
LOAD_EVERY_SECONDS = 1.0
MAX_ACCESS_SECONDS = 86_400
"""The service issues no access token that lives longer, however it is set."""

logger = logging.getLogger("auth_api_verifier")
Clock = Callable[[], float]
steady_clock: Clock = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)
"""Goes on in a suspended machine, where the system can count that."""


class Status(TypedDict):
    """For health checks and metrics. `last_fault` is empty once a poll is answered; `fail_open`
    says that the lease is longer than the service's, so that no promise holds."""

    state: Literal["empty", "fresh", "stale"]
    lease_left: float
    entries: int
    last_fault: str
    fail_open: bool


class Verifier:
    """Polls between `start` and `close`, or in `async with`. Durations are in seconds.

    `lease` is for how long what was told is believed; None is what the service says. `patience` is
    for how long `verify` waits for an answer. `access_seconds` is the longest life of a token.
    """

    def __init__(
        self,
        url: str,
        client_key: str,
        algorithms: Sequence[str] = ("ES256",),
        lease: float | None = None,
        patience: float = 2.0,
        issuer: str = "auth-api",
        audience: str = "auth-api",
        leeway: float = 10.0,
        access_seconds: float = MAX_ACCESS_SECONDS,
        steady: Clock = steady_clock,
        wall: Clock = time.time,
    ) -> None:
        if lease is not None and lease <= 0:
            raise ValueError("lease: more than 0 seconds")
        self._make_feed = partial(Feed, url, client_key, steady)
        self._reader = Reader(algorithms, issuer, audience)
        self._lease = lease
        self._service_lease = USUAL_LEASE
        self._patience = patience
        self._leeway = leeway
        self._access_seconds = access_seconds
        self._steady = steady
        self._wall = wall
        self._held = Revocations()
        self._missing: frozenset[str] = frozenset()
        self._load_at = -math.inf
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault = self._key_fault = ""
        self._told_state = ""

    async def start(self) -> None:
        self._feed = self._make_feed()
        self._begin(self._follow())

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._feed.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Judging

    def judge(self, token: str | None) -> Claims:
        """What the token says. From memory: raises `Refused` or `Unavailable` at once."""
        if token is None:
            raise Refused("no token")
        held = self._held
        if self._steady() >= held.good_until:
            raise Unavailable(self._fault or "nothing was told yet")
        if token.partition(".")[0] in self._missing:
            raise Unavailable(self._key_fault or "its key is being loaded")
        claims = self._reader.read(token)
        now = self._wall()
        if claims.exp <= now - self._leeway:
            held.raise_purged_until(claims.exp)  # so that no clock that is set back revives it
            raise Refused("expired")
        if claims.iat > now + self._leeway:
            raise Refused("issued in the future")
        if claims.exp - claims.iat > self._access_seconds:
            raise Refused("lives longer than the service's")
        held.check(claims)
        return claims

    async def verify(self, token: str | None) -> Claims:
        """Like `judge`, but what is unavailable is waited for, for up to `patience`."""
        unavailable = Unavailable()
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    news = self._news
                    try:
                        return self.judge(token)
                    except Unavailable as fault:
                        unavailable = fault
                    await news.wait()
        except TimeoutError:
            raise unavailable from None

    def status(self) -> Status:
        held = self._held
        left = held.good_until - self._steady()
        state: Literal["empty", "fresh", "stale"] = "fresh" if left > 0 else "stale"
        return {
            "state": "empty" if held.good_until == -math.inf else state,
            "lease_left": max(0.0, left),
            "entries": len(held.entries),
            "last_fault": self._fault or self._key_fault,
            "fail_open": self._fails_open,
        }

    @property
    def _fails_open(self) -> bool:
        return self._lease is not None and self._lease > self._service_lease

    # Following

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                pause = await self._poll()
                failures = 0
            except Exception as fault:  # whatever it is, it is no answer, and polling goes on
                if isinstance(fault, UnknownCursor):
                    self._held = Revocations()
                self._fault = str(fault) or type(fault).__name__
                self._tell_state()
                pause = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2**failures)
                pause *= random.uniform(0.5, 1.5)  # noqa: S311  # so that not all come at once
                failures = min(failures + 1, 10)
            await asyncio.sleep(pause)

    async def _poll(self) -> float:
        """How long to pause after it. Raises whatever is no answer."""
        held = self._held
        lease = min(self._lease or math.inf, self._service_lease)
        wait = min(MAX_WAIT, lease / 2 * random.uniform(0.8, 1)) if held.cursor else 0  # noqa: S311
        answer, sent = await self._feed.poll(held.cursor, wait, wait + lease / 2)
        self._service_lease = answer.lease
        tells = held.merge(answer, self._wall(), self._steady())
        if answer.fresh_for is None:
            return PAUSE_SECONDS
        own = 0 if self._lease is None else self._lease - answer.lease
        held.believe_until(sent + answer.fresh_for + own)
        self._fault = "" if self._steady() < held.good_until else "an answer that is too old"
        self._look_for_keys()
        self._tell_state()
        self._announce()
        # Else a proxy that ends polls early would make a loop.
        return PAUSE_SECONDS if tells else max(PAUSE_SECONDS, sent + wait - self._steady())

    def _look_for_keys(self) -> None:
        """Load the public keys if one of those in force is not known, but once at a time and no
        more than so often."""
        self._missing = self._reader.segments(self._held.keys - self._reader.kids)
        if self._missing and self._steady() >= self._load_at:
            self._load_at = math.inf
            self._begin(self._load_keys())

    async def _load_keys(self) -> None:
        try:
            self._reader.load(await self._feed.public_keys())
            self._key_fault = ""
        except Exception as fault:  # whatever it is, the next answer asks again
            self._key_fault = str(fault) or type(fault).__name__
        self._load_at = self._steady() + LOAD_EVERY_SECONDS
        self._missing = self._reader.segments(self._held.keys - self._reader.kids)
        self._announce()

    def _announce(self) -> None:
        """Wake up all that wait."""
        self._news.set()
        self._news = asyncio.Event()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell_state(self) -> None:
        """One line when it becomes unavailable, and one when it is fresh again."""
        state = "fresh" if self._steady() < self._held.good_until else "unavailable"
        if state == self._told_state:
            return
        if state == "unavailable":
            logger.warning("unavailable: no token is accepted: %s", self._fault)
        elif self._fails_open:
            logger.warning("fresh, but fails open by a lease of %s s", self._lease)
        else:
            logger.info("fresh")
        self._told_state = state
