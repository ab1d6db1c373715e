"""Puts the parts of the service together, and repeats what it does beside the requests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from authapi.clocks import Clock, Clocks
from authapi.credentials.assertions import ASSERTION_ALGORITHMS
from authapi.credentials.signing_key_file import Use, WatchedKeys
from authapi.credentials.signing_keys import SigningKey
from authapi.credentials.signing_schedule import WATCH_SECONDS
from authapi.credentials.tokens import Tokens
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.engines.sqlite_files import server_lock
from authapi.managing.over_http import Managers
from authapi.revocation.feed import Feed
from authapi.revocation.issuing import RENEW_SECONDS, Issuing
from authapi.revocation.pacing import Pacing
from authapi.revocation.purging import purge_when_settled
from authapi.revocation.revocations import Revocations
from authapi.rules.assertions import Assertions
from authapi.rules.client_authentication import ClientAuthentication
from authapi.rules.client_cache import ClientCache
from authapi.rules.client_key_uses import WRITE_SECONDS, ClientKeyUses
from authapi.rules.client_limits import ClientLimits
from authapi.rules.oauth import OAuth
from authapi.rules.own_keys import OwnKeys
from authapi.rules.sessions import Sessions
from authapi.server.background import attempt, repeat
from authapi.server.metrics import Reporter
from authapi.telemetry.counting import counts
from authapi.telemetry.flood import Refusals
from authapi.telemetry.logs import flush_log
from authapi.throttling.client_logins import ClientLogins
from authapi.throttling.failed_logins import FailedLogins
from authapi.throttling.shared_count import SharedCount
from authapi.web.metadata import audiences, describe_server
from settings import Settings, schedule_of

PURGE_SECONDS = 60.0
FLUSH_SECONDS = 1.0
REPORT_SECONDS = 1.0


class Service:
    """All parts. To make them does no I/O."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        create_database: Callable[[Settings], Database],
        steady_clock: Clock,
    ) -> None:
        self._settings = settings
        self.database = create_database(settings)
        self.tokens = create_tokens(settings, clock)
        self._clocks = Clocks(clock, steady_clock)
        self._pacing = Pacing(settings.feed_lease_seconds, settings.feed_max_held, steady_clock)
        self._revocations = self._create_revocations()
        self.feed = self._create_feed()
        self.signing_keys = create_signing_keys(settings, self._use_keys, clock)
        self.client_cache = ClientCache(self.database, self._revocations)
        self._key_uses = ClientKeyUses(self.database)
        self._issuing = Issuing(self.database)
        self._count = SharedCount(settings.rate_limit_storage)
        by_address, together = settings.login_failures_by_address, settings.login_failures_together
        self.failed_logins = FailedLogins(self._count, by_address, together)
        authentication = self._create_client_authentication()
        self._client_authentication = authentication
        self.sessions = self._create_sessions()
        self.oauth = OAuth(self.sessions, self.tokens, authentication, self._key_uses)
        self.metadata = describe_server(
            settings.token_issuer, ASSERTION_ALGORITHMS, self.signing_keys is not None
        )
        feed, is_on = self.feed if self.signing_keys else None, settings.management == "on"
        # Without a secret, what is sealed hangs on the caller's `Idempotency-Key` alone.
        self.managers = Managers(self._revocations, feed, settings.secrets or [""], is_on)
        self.own_keys = OwnKeys(self.database, self.managers, self.failed_logins, authentication)
        self.refusals = Refusals()
        self._reporter = Reporter(counts, self._gauges)

    def _create_revocations(self) -> Revocations:
        settings = self._settings
        return Revocations(
            self.database,
            access_seconds=settings.access_token_seconds,
            leeway_seconds=settings.leeway_seconds,
            max_age_seconds=settings.revocation_max_age_seconds,
            is_shared=settings.workers > 1 or not self.database.is_sqlite,
            clocks=self._clocks,
            serve=self.tokens.serve,
            tell=self._pacing.tell,
        )

    def _create_feed(self) -> Feed:
        settings = self._settings
        return Feed(
            self._revocations,
            self._pacing,
            settings.feed_lease_seconds,
            settings.access_token_seconds,
            settings.leeway_seconds,
        )

    def _use_keys(self, keys: Sequence[SigningKey]) -> None:
        self.tokens.use(keys)
        self.feed.use(keys)

    def _create_client_authentication(self) -> ClientAuthentication:
        settings = self._settings
        assertions = Assertions(
            self.database,
            self._clocks,
            audiences(settings.token_issuer),
            settings.leeway_seconds,
        )
        return ClientAuthentication(
            self.client_cache, self._revocations, self.failed_logins, assertions
        )

    def _create_sessions(self) -> Sessions:
        settings = self._settings
        return Sessions(
            self.database,
            self.tokens,
            self._revocations,
            self._client_authentication,
            self._key_uses,
            ClientLimits(self.database, ClientLogins(self._count, settings.logins_by_client)),
            self._issuing,
            settings.refresh_grace_seconds,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the database at hand, what is ended in memory, and everything repeated."""
        database = self.database
        async with AsyncExitStack() as stack:
            if database.is_sqlite:
                is_alone = self._settings.workers == 1
                stack.enter_context(server_lock(database.url.database, is_alone))
            await stack.enter_async_context(database)
            await schema.check(database)
            await self._revocations.read()
            if self.signing_keys:
                self.signing_keys.load()
            stack.push_async_callback(attempt, self._key_uses.write)
            stack.push_async_callback(self.refusals.flush)
            for endless in self._repeated():
                stack.callback(asyncio.create_task(endless).cancel)
            yield

    def _repeated(self) -> Iterator[Coroutine[Any, Any, None]]:
        poll_seconds = self._settings.revocation_poll_seconds
        yield repeat(self._revocations.read, poll_seconds, first_after=poll_seconds)
        yield repeat(self._renew_issuing, RENEW_SECONDS)
        yield repeat(self._purge, PURGE_SECONDS)
        yield repeat(self._key_uses.write, WRITE_SECONDS)
        yield repeat(self.refusals.flush, FLUSH_SECONDS)
        yield repeat(flush_log, FLUSH_SECONDS)
        yield repeat(self._reporter.write, REPORT_SECONDS)
        if self.signing_keys:
            yield repeat(self.signing_keys.poll, WATCH_SECONDS)

    def _gauges(self) -> dict[str, float]:
        age, entries = self._revocations.age_seconds(), len(self._revocations.entries)
        return {"age": age, "entries": entries, "held": self.feed.held}

    async def _renew_issuing(self) -> None:
        await self._issuing.renew(self.tokens.database_id, self._clocks.wall())

    async def _purge(self) -> None:
        await purge_when_settled(self.database, self._clocks, self._settings.leeway_seconds)


def create_database(settings: Settings) -> Database:
    return Database(settings.database_url, settings.database_pool_size)


def create_tokens(settings: Settings, clock: Clock) -> Tokens:
    return Tokens(
        settings.secrets,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        access_seconds=settings.access_token_seconds,
        refresh_seconds=settings.refresh_token_seconds,
        leeway_seconds=settings.leeway_seconds,
        clock=clock,
    )


def create_signing_keys(settings: Settings, use: Use, clock: Clock) -> WatchedKeys | None:
    if not settings.signing_keys_file:
        return None
    return WatchedKeys(settings.signing_keys_file, schedule_of(settings), use, clock)
