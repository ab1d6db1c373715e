"""Judges tokens from memory, as long as what is held there may be believed."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Literal, Self, TypedDict

from auth_api_verifier.feed import Fault, Feed
from auth_api_verifier.revocations import Answer, Revocations
from auth_api_verifier.tokens import Claims, Reader, Refused, Unavailable

USUAL_LEASE = 1.5
"""In seconds; until the service has told its own."""
MAX_WAIT = 5.0
PAUSE_SECONDS = 0.02
RETRY_SECONDS = 0.05
MAX_RETRY_SECONDS = 0.4
LOAD_EVERY_SECONDS = 1.0
"""Public keys, where one of those in force is not known."""
RENEW_EVERY_SECONDS = 60.0
"""All that is held, where a clock of the service or of this machine was wrong."""
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


@dataclass(eq=False)
class Verifier:
    """Follows the feed in `async with`. Durations are in seconds.

    `lease` is for how long what was told is believed; None is what the service says. `patience` is
    for how long `verify` waits for an answer. `access_seconds` is the longest life of a token.
    """

    url: str
    client_key: str = field(repr=False)
    algorithms: Sequence[str] = ("ES256",)
    lease: float | None = None
    patience: float = 2.0
    issuer: str = "auth-api"
    audience: str = "auth-api"
    leeway: float = 10.0
    access_seconds: float = MAX_ACCESS_SECONDS
    steady: Clock = steady_clock
    wall: Clock = time.time

    def __post_init__(self) -> None:
        if self.lease is not None and self.lease <= 0:
            raise ValueError("lease: more than 0 seconds")
        self._reader = Reader(self.algorithms, self.issuer, self.audience)
        self._service_lease = USUAL_LEASE
        self._held = self._next = Revocations()
        self._expired_until = 0
        self._expiring = Lock()
        self._load_at = self._renew_at = -math.inf
        self._news = asyncio.Event()
        self._fault = self._key_fault = ""
        self._is_told_fresh: bool | None = None

    async def __aenter__(self) -> Self:
        self._feed = Feed(self.url, self.client_key, self.steady)
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        await asyncio.wait([self._following])
        await self._feed.close()

    # Judging

    def judge(self, token: str | None) -> Claims:
        """What the token says. From memory: raises `Refused` or `Unavailable` at once."""
        if token is None:
            raise Refused("no token")
        held = self._held
        if self.steady() >= held.good_until:
            raise Unavailable(self._fault or "nothing was told yet")
        claims = self._reader.read(token)
        now = self.wall()
        if claims.exp <= now - self.leeway:
            with self._expiring:  # so that no clock that is set back revives it
                self._expired_until = max(self._expired_until, claims.exp)
        if claims.exp <= self._expired_until:
            raise Refused("expired")
        if claims.iat > now + self.leeway:
            raise Refused("issued in the future")
        if claims.exp - claims.iat > self.access_seconds:
            raise Refused("lives longer than the service's")
        held.check(claims)
        return claims

    async def verify(self, token: str | None) -> Claims:
        """Like `judge`, but what is unavailable is waited for, for up to `patience`."""
        give_up = asyncio.get_running_loop().time() + self.patience
        while True:
            news = self._news
            try:
                return self.judge(token)
            except Unavailable as unavailable:
                try:
                    async with asyncio.timeout_at(give_up):
                        await news.wait()
                except TimeoutError:
                    raise unavailable from None

    def status(self) -> Status:
        good_until = self._held.good_until
        left = max(0.0, good_until - self.steady())
        return {
            "state": "fresh" if left else "stale" if good_until > -math.inf else "empty",
            "lease_left": left,
            "entries": len(self._held.entries),
            "last_fault": self._fault or self._key_fault,
            "fail_open": self.lease is not None and self.lease > self._service_lease,
        }

    # Following

    async def _follow(self) -> None:
        retry = RETRY_SECONDS
        while True:
            try:
                pause = await self._poll()
                retry = RETRY_SECONDS
            except Exception as fault:  # whatever it is, it is no answer, and polling goes on
                if isinstance(fault, Fault) and fault.status == 410:
                    self._held = self._next = Revocations()
                self._fault = _words(fault)
                self._tell_state()
                pause = retry * random.uniform(0.5, 1.5)  # noqa: S311  # so that not all come at once
                retry = min(MAX_RETRY_SECONDS, 2 * retry)
            await asyncio.sleep(pause)

    async def _poll(self) -> float:
        """How long to pause after it. Raises whatever is no answer."""
        held = self._next
        lease = min(self.lease or math.inf, self._service_lease)
        wait = min(MAX_WAIT, lease / 2 * random.uniform(0.8, 1)) if held.cursor else 0  # noqa: S311
        answer, sent = await self._feed.poll(held.cursor, wait, wait + lease / 2)
        self._service_lease = answer.lease
        tells = held.merge(answer, self.wall(), self.steady())
        if answer.fresh_for is None:
            return PAUSE_SECONDS
        await self._load_keys(held.keys, lease / 4)
        own = 0 if self.lease is None else self.lease - answer.lease
        self._believe(held, sent + answer.fresh_for + own)
        self._renew_if_needed(answer)
        # Else a proxy that ends polls early would make a loop.
        return PAUSE_SECONDS if tells else max(PAUSE_SECONDS, sent + wait - self.steady())

    def _believe(self, held: Revocations, until: float) -> None:
        if held is not self._held:
            held.succeed(self._held)
        held.believe_until(until)
        self._held = held
        self._fault = "" if self.steady() < held.good_until else "an answer that is too old"
        self._tell_state()
        # Wake up all that wait.
        self._news.set()
        self._news = asyncio.Event()

    def _renew_if_needed(self, answer: Answer) -> None:
        """Where `purged_until` is of a clock that was ahead, and the service says so no more: load
        all anew, as after a restart, beside what is held until then."""
        is_wrong = answer.purged_until < self._held.purged_until > self.wall()
        if is_wrong and self.steady() >= self._renew_at:
            self._renew_at = self.steady() + RENEW_EVERY_SECONDS
            self._next = Revocations()

    async def _load_keys(self, in_force: frozenset[str], seconds: float) -> None:
        """The public keys, if one of those in force is not known; and no more than so often."""
        if self._reader.lacks(in_force) and self.steady() >= self._load_at:
            self._load_at = self.steady() + LOAD_EVERY_SECONDS
            try:
                self._reader.load(await self._feed.public_keys(seconds))
                self._key_fault = ""
            except Exception as fault:  # whatever it is, a later answer asks again
                self._key_fault = _words(fault)
            self._reader.lacks(in_force)

    def _tell_state(self) -> None:
        """One line when it becomes unavailable, and one when it is fresh again."""
        status = self.status()
        is_fresh = status["state"] == "fresh"
        if is_fresh != self._is_told_fresh:
            self._is_told_fresh = is_fresh
            if not is_fresh:
                logger.warning("unavailable: no token is accepted: %s", self._fault)
            elif status["fail_open"]:
                logger.warning("fresh, but fails open by a lease of %s s", self.lease)
            else:
                logger.info("fresh")


def _words(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
