"""The table of contents: routes, and how the parts are put together."""

import asyncio
import gc
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route
from starlette.types import Lifespan

import handlers
from auth_backend import BearerBackend
from authapi.clocks import Clock, Clocks, steady_clock
from authapi.credentials.signing_key_file import WatchedKeys
from authapi.credentials.signing_schedule import WATCH_SECONDS
from authapi.credentials.tokens import Tokens
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.engines.server_lock import server_lock
from authapi.rules.client_cache import ClientCache
from authapi.rules.client_key_uses import WRITE_SECONDS, ClientKeyUses
from authapi.rules.client_logins import ClientLogins
from authapi.rules.failed_logins import FailedLogins
from authapi.rules.issuing import RENEW_SECONDS, Issuing
from authapi.rules.purging import purge_when_settled
from authapi.rules.revocations import Revocations
from authapi.rules.sessions import Sessions
from authapi.rules.shared_count import SharedCount
from authapi.server import development
from authapi.server import main as server
from authapi.server.background import attempt, repeat
from authapi.telemetry import audit
from authapi.telemetry.flood import Refusals
from authapi.web.answers import Endpoint, exception_handlers
from authapi.web.headers import OriginMiddleware
from settings import Settings, load_settings, schedule_of

PURGE_SECONDS = 60.0

# They are matched in this order.
routes: list[Route] = [
    Endpoint("/secure-data", handlers.secure_data),
    Endpoint("/me", handlers.me),
    Endpoint("/login", handlers.login, "POST"),
    Endpoint("/refresh-token", handlers.refresh_token, "POST"),
    Endpoint("/logout", handlers.logout, "POST"),
    Endpoint("/.well-known/jwks.json", handlers.jwks),
    Endpoint("/healthz", handlers.healthz),
    Endpoint("/readyz", handlers.readyz),
]
for route in routes:  # `$`, which Starlette writes, lets a final newline pass
    route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")


def create_app(
    settings: Settings,
    clock: Clock = time.time,
    create_database: Callable[[str], Database] = Database,
    steady_clock: Clock = steady_clock,
) -> Starlette:
    """The application. Does no I/O before its lifespan begins."""
    database = create_database(settings.database_url)
    tokens = create_tokens(settings, clock)
    signing_keys = create_signing_keys(settings, tokens, clock)
    clocks = Clocks(clock, steady_clock)
    revocations = create_revocations(settings, database, clocks, tokens.serve)
    failed_logins, client_logins = create_limits(settings)
    refusals = Refusals()
    client_cache = ClientCache(revocations)
    key_uses = ClientKeyUses(database)
    issuing = Issuing(database)
    grace, leeway = settings.refresh_grace_seconds, settings.leeway_seconds
    sessions = Sessions(database, tokens, client_cache, key_uses, client_logins, issuing, grace)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[handlers.State]:
        async with AsyncExitStack() as stack:
            if database.is_sqlite:
                stack.enter_context(server_lock(database.url.database, settings.workers == 1))
            await stack.enter_async_context(database)
            await schema.check(database)
            await revocations.read()
            stack.push_async_callback(attempt, key_uses.write)
            stack.push_async_callback(refusals.flush)
            for action, seconds in (
                (revocations.read, settings.revocation_poll_seconds),
                (lambda: issuing.renew(tokens.database_id, clock()), RENEW_SECONDS),
                (lambda: purge_when_settled(database, clocks, leeway), PURGE_SECONDS),
                (key_uses.write, WRITE_SECONDS),
                (refusals.flush, 1.0),
                *watch(signing_keys),
            ):
                stack.callback(asyncio.create_task(repeat(action, seconds)).cancel)
            yield {
                "database": database,
                "sessions": sessions,
                "tokens": tokens,
                "failed_logins": failed_logins,
                "refusals": refusals,
                "client_cache": client_cache,
                "signing_keys": signing_keys,
            }

    return assemble(BearerBackend(tokens, revocations), lifespan)


def assemble(backend: BearerBackend, lifespan: Lifespan[Starlette]) -> Starlette:
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(OriginMiddleware),
            Middleware(AuthenticationMiddleware, backend=backend),
        ],
        exception_handlers=exception_handlers,
        lifespan=lifespan,
    )
    # A redirect to a path with or without a slash would go to whatever Host the caller named.
    app.router.redirect_slashes = False
    return app


def create_tokens(settings: Settings, clock: Callable[[], float]) -> Tokens:
    secrets = (settings.secret_key, *settings.secret_key_fallbacks)
    return Tokens(
        [secret for secret in secrets if secret],
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        access_seconds=settings.access_token_seconds,
        refresh_seconds=settings.refresh_token_seconds,
        leeway_seconds=settings.leeway_seconds,
        clock=clock,
    )


def create_signing_keys(
    settings: Settings, tokens: Tokens, clock: Callable[[], float]
) -> WatchedKeys | None:
    if not settings.signing_keys_file:
        return None
    return WatchedKeys(settings.signing_keys_file, schedule_of(settings), tokens.use, clock)


def watch(signing_keys: WatchedKeys | None) -> list[tuple[Callable[[], Awaitable[None]], float]]:
    """Load the keys of a file, if there is one; what keeps them current is to be repeated."""
    if signing_keys is None:
        return []
    signing_keys.load()
    return [(signing_keys.poll, WATCH_SECONDS)]


def create_revocations(
    settings: Settings, database: Database, clocks: Clocks, serve: Callable[[str], None]
) -> Revocations:
    return Revocations(
        database,
        access_seconds=settings.access_token_seconds,
        leeway_seconds=settings.leeway_seconds,
        max_age_seconds=settings.revocation_max_age_seconds,
        is_shared=settings.workers > 1 or not database.is_sqlite,
        clocks=clocks,
        serve=serve,
    )


def create_limits(settings: Settings) -> tuple[FailedLogins, ClientLogins]:
    count = SharedCount(settings.rate_limit_storage)
    failed_logins = FailedLogins(
        count,
        by_address=settings.login_failures_by_address,
        together=settings.login_failures_together,
    )
    return failed_logins, ClientLogins(count, settings.logins_by_client)


def app_from_environment() -> Starlette:
    """For a server that wants a factory: `uvicorn --factory app:app_from_environment`."""
    settings = development.with_secret(load_settings())
    audit.configure_logging(settings.log_level, sys.stdout)
    app = create_app(settings)
    # What is loaded by now stays. The garbage collector would look through all of it again and
    # again: a seventh of the price of a log-out, and 30 ms in which nobody is answered.
    gc.freeze()
    # And what waits for the disk is young for longer than the 700 objects that are the default.
    gc.set_threshold(3_000)
    return app


if __name__ == "__main__":
    server.main()
