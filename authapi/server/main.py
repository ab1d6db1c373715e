"""Starts the server: settings, the schema, and then uvicorn with its workers."""

import asyncio
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from socket import socket

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from authapi.credentials import signing_key_file
from authapi.engines import schema
from authapi.engines.database import FAULTS, Database, explain
from authapi.engines.server_lock import AlreadyServed, server_lock
from authapi.errors import TemporarilyUnavailable
from authapi.server import development
from authapi.server.protocol import GuardedProtocol
from authapi.telemetry.audit import configure_logging
from settings import Settings, SettingsError, load_settings

STOP_SECONDS = 6
"""How long a stop waits for the requests in flight."""


def main() -> None:
    """Serve until a signal. Exits with 2 if something is amiss, and says in a line what.

    A port that cannot be had is told by uvicorn, which exits with a status of its own.
    """
    try:
        settings = load_settings()
        development.with_secret(settings)
        if settings.signing_keys_file:
            signing_key_file.read_live(settings.signing_keys_file, time.time())
        configure_logging(settings.log_level, sys.stdout)
        config = configure_server(settings)
        # First, since a port in use must not cost a newcomer the key that is shown once.
        listener = config.bind_socket()
        welcome = asyncio.run(prepare(settings, listener.getsockname()[1]))
    except (
        SettingsError,
        signing_key_file.KeyFileError,
        schema.SchemaError,
        AlreadyServed,
    ) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except (TemporarilyUnavailable, *FAULTS) as fault:
        print(explain(fault), file=sys.stderr)
        sys.exit(2)
    serve(config, listener, welcome)


async def prepare(settings: Settings, port: int) -> str:
    """Before the first worker starts: the schema, and in development the demo client.

    Returns what a newcomer is told, if one is there.
    """
    database = Database(settings.database_url)
    lock: AbstractContextManager[None] = nullcontext()
    if database.is_sqlite:
        # Each worker takes it for good. Here, nothing is changed under another server, and a
        # conflict is one clear line.
        lock = server_lock(database.url.database, alone=settings.workers == 1)
    with lock:
        await schema.prepare(database, create=settings.is_development)
    if not settings.is_development:
        return ""
    async with database:
        client_key = await development.register_demo_client(database)
    return development.welcome(client_key, settings.host, port) if client_key else ""


class WelcomingServer(uvicorn.Server):
    """Shows a text when it has started, below the log of that; it stays the last on the screen."""

    def __init__(self, config: uvicorn.Config, welcome: str) -> None:
        super().__init__(config)
        self._welcome = welcome

    async def startup(self, sockets: list[socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:  # a start that fails must not cost the key that is shown once
            print(self._welcome, end="", flush=True)


def serve(config: uvicorn.Config, listener: socket, welcome: str = "") -> None:
    """Raises `SystemExit` if the server or a worker failed to start."""
    if config.workers == 1:
        try:
            WelcomingServer(config, welcome).run([listener])
        except KeyboardInterrupt:  # raised once more when it has stopped
            sys.exit(128 + signal.SIGINT)
    else:
        supervise(Multiprocess(config, [listener]))


def supervise(supervisor: Multiprocess) -> None:
    supervisor.run()
    # It stops when a worker cannot start, too, and as if it had been asked to.
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


def configure_server(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "app:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        lifespan="on",
        log_config=None,
        http=GuardedProtocol,
        ws="none",
        access_log=False,  # it would log tokens that callers put into a query
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
