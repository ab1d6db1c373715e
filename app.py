"""The service on one screen: its routes, its middleware, how errors are answered, its lifespan."""

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route

import admin_handlers as admin
import handlers
import oauth_handlers
import page_handlers
from auth_backend import BearerBackend
from authapi.clocks import Clock, steady_clock
from authapi.engines.database import Database
from authapi.html.pages import Docs
from authapi.openapi.document import build
from authapi.server import development
from authapi.server.main import collect_garbage_less_often, main
from authapi.service import Service, create_database
from authapi.telemetry.logs import configure_logging
from authapi.telemetry.version import VERSION
from authapi.web.endpoints import Endpoints
from authapi.web.exceptions import exception_handlers
from authapi.web.metadata import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    METADATA_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
    public_url,
)
from authapi.web.own_routes import Reserved, Resource, load_routes
from authapi.web.requests import OriginMiddleware
from settings import Settings, load_settings

# They are matched in this order, and before those of ROUTES.
routes: list[Route] = [
    Reserved("/secure-data", handlers.secure_data),
    Reserved("/verify", handlers.verify, *handlers.ANY_METHOD),
    Reserved("/me", handlers.me),
    Reserved("/login", handlers.login, "POST"),
    Reserved("/refresh-token", handlers.refresh_token, "POST"),
    Reserved("/logout", handlers.logout, "POST"),
    Reserved("/revocations", oauth_handlers.revocations),
    Reserved(TOKEN_PATH, oauth_handlers.token, "POST"),
    Reserved(REVOCATION_PATH, oauth_handlers.revoke, "POST"),
    Reserved(INTROSPECTION_PATH, oauth_handlers.introspect, "POST"),
    Reserved(METADATA_PATH, oauth_handlers.metadata),
    Reserved(JWKS_PATH, oauth_handlers.jwks),
    Reserved("/", page_handlers.landing),
    Reserved("/docs", page_handlers.docs),
    Reserved("/openapi.json", page_handlers.openapi),
    Reserved("/healthz", handlers.healthz),
    Reserved("/readyz", handlers.readyz),
    Reserved("/me/keys", handlers.list_own_keys),
    Reserved("/me/keys/rotate", handlers.rotate_own_key, "POST"),
    Reserved("/me/keys/revoke", handlers.end_shown_key, "POST"),
    # Last, since what it would take is not found in the table if it comes later.
    Reserved("/me/keys/{key_id}", handlers.end_own_key, "DELETE"),
]

managing: list[Resource] = [
    Resource("/admin/clients", {"GET": admin.list_clients, "POST": admin.create_client}),
    Resource(
        "/admin/clients/{client_id}",
        {"GET": admin.read_client, "PATCH": admin.change_client, "DELETE": admin.delete_client},
    ),
    Resource("/admin/clients/{client_id}/end-sessions", {"POST": admin.end_sessions}),
    Resource("/admin/clients/{client_id}/keys", {"GET": admin.list_keys, "POST": admin.add_key}),
    Resource("/admin/clients/{client_id}/keys/rotate", {"POST": admin.rotate_key}),
    Resource("/admin/keys/{key_id}", {"GET": admin.read_key, "DELETE": admin.revoke_key}),
    Resource("/admin/leaks", {"POST": admin.report_leak}),
]
"""With MANAGEMENT=on; else these paths are unknown."""


def create_app(
    settings: Settings,
    clock: Clock = time.time,
    create_database: Callable[[Settings], Database] = create_database,
    steady_clock: Clock = steady_clock,
) -> Starlette:
    """The application. Does no I/O before its lifespan begins."""
    service = Service(settings, clock, create_database, steady_clock)
    ours = [*routes, *(managing if settings.management == "on" else ())]
    served = [*ours, *load_routes(settings.routes, ours)]
    middleware = [
        Middleware(OriginMiddleware),
        Middleware(AuthenticationMiddleware, backend=BearerBackend(service.sessions.check)),
        Middleware(Endpoints, routes=served),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[handlers.State]:
        # When it is first asked for: it takes longer than all else that a start does.
        document = cache(partial(build, app.routes, VERSION))
        if settings.routes:
            document()  # so that a wrong description of yours ends the start
        async with service.running():
            yield {
                "database": service.database,
                "sessions": service.sessions,
                "oauth": service.oauth,
                "own_keys": service.own_keys,
                "metadata": service.metadata,
                "tokens": service.tokens,
                "refusals": service.refusals,
                "client_cache": service.client_cache,
                "failed_logins": service.failed_logins,
                "document": document,
                "docs": Docs(document).page,
                "base_url": public_url(settings.token_issuer),
                "signing_keys": service.signing_keys,
                "feed": service.feed,
                "managers": service.managers,
            }

    app = Starlette(
        routes=served,
        middleware=middleware,
        exception_handlers=exception_handlers,
        lifespan=lifespan,
    )
    # Starlette would redirect to a path with or without a slash, at the Host that the caller sent.
    app.router.redirect_slashes = False
    return app


def app_from_environment() -> Starlette:
    """For a server that wants a factory: `uvicorn --factory app:app_from_environment`."""
    settings = development.with_secret(load_settings())
    configure_logging(settings.log_level, sys.stdout)
    app = create_app(settings)
    collect_garbage_less_often()
    return app


if __name__ == "__main__":
    main([*routes, *managing])
