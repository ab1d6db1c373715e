"""Starts the server: settings, the schema, and then uvicorn with its workers."""

import argparse
import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import NoReturn

import uvicorn
from starlette.routing import Route
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from authapi.credentials.signing_key_file import KeyFileError, read_live
from authapi.engines import schema
from authapi.engines.database import FAULTS, Database, explain
from authapi.engines.sqlite_files import AlreadyServed, demand_writable, server_lock
from authapi.errors import TemporarilyUnavailable
from authapi.server import development, metrics
from authapi.server.connections import GuardedProtocol
from authapi.server.limits import LIMITS, Limits, limits_of_workers
from authapi.server.listening import CannotListen, explain_fault, listen, port_of
from authapi.store import clients
from authapi.telemetry.logs import configure_logging
from authapi.telemetry.version import VERSION
from authapi.web.own_routes import RoutesFault, load_routes
from settings import Settings, SettingsError, load_settings, misspelt

logger = logging.getLogger("auth.settings")

STOP_SECONDS = 6
"""How long a stop waits for the requests in flight."""


def main(
    routes: Sequence[Route], limits: Limits = LIMITS, stop_seconds: int = STOP_SECONDS
) -> None:
    """Serve until a signal. If it cannot start, says why in a line and exits with 2.

    `routes` are ours, whose paths those of ROUTES must leave alone.
    """
    read_arguments()
    try:
        settings = load_settings()
    except SettingsError as error:
        refuse(error)
    try:
        development.with_secret(settings)
        if settings.signing_keys_file:
            read_live(settings.signing_keys_file, time.time())
        load_routes(settings.routes, routes)
        configure_logging(settings.log_level, sys.stdout)
        warn_of_slips()
        limits = limits_of_workers(limits, settings.feed_max_held)
        config = configure_server(settings, limits, stop_seconds)
        # First: if the port is in use, the demo key that is shown once must not be lost.
        listener = listen(settings.host, settings.port)
        folder = folder_of_metrics(settings)
        welcome = asyncio.run(prepare(settings, port_of(listener)))
    except (
        SettingsError,
        KeyFileError,
        RoutesFault,
        schema.SchemaError,
        AlreadyServed,
        CannotListen,
    ) as error:
        refuse(error)
    except (TemporarilyUnavailable, *FAULTS) as fault:
        refuse(explain(fault, Database(settings.database_url)))
    with folder:
        serve(config, listener, welcome)


def folder_of_metrics(settings: Settings) -> AbstractContextManager[object]:
    """Where the workers write, until all is over. Raises `CannotListen`."""
    if not settings.metrics_port:
        return nullcontext()
    folder = TemporaryDirectory(prefix="auth-api-metrics-")
    host, port = settings.metrics_host, settings.metrics_port
    try:
        metrics.expose(host, port, Path(folder.name))
    except OSError as fault:
        raise CannotListen(explain_fault(fault, host, port, "METRICS_")) from None
    return folder


def refuse(why: object) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(2)


def read_arguments() -> None:
    """There are none but these two, which end the process."""
    parser = argparse.ArgumentParser(
        description="Serve. Each setting comes from the environment or from .env; "
        "docs/configuration.md lists them, and `manage.py --help` what an operator does."
    )
    parser.add_argument("--version", action="version", version=f"auth-api {VERSION}")
    parser.parse_args()


def warn_of_slips() -> None:
    for name, nearest in misspelt().items():
        details = {"name": name, "nearest": nearest}
        logger.warning("setting_unknown", extra={"details": details})


async def prepare(settings: Settings, port: int) -> str:
    """Before the first worker starts: the schema, and in development the demo client.

    Returns what is shown last; empty outside of development.
    """
    database = Database(settings.database_url)
    lock: AbstractContextManager[None] = nullcontext()
    if database.is_sqlite:
        # Each worker takes it for its life. Here it guards the schema against another server, and
        # makes a conflict one clear line.
        lock = server_lock(database.url.database, alone=settings.workers == 1)
    with lock:
        await schema.prepare(database, create=settings.is_development)
        if database.is_sqlite:
            demand_writable(database.url.database)
    if not settings.is_development:
        return ""
    async with database:
        if client_key := await development.register_demo_client(database):
            return development.welcome(client_key, settings.host, port)
        count = await clients.count_clients(database)
    file = database.url.database
    return development.welcome_back(file, count, settings.host, port)


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
        except KeyboardInterrupt:  # uvicorn raises it again after it has stopped
            sys.exit(128 + signal.SIGINT)
    else:
        supervise(Multiprocess(config, [listener]))


def supervise(supervisor: Multiprocess) -> None:
    supervisor.run()
    # It also stops when a worker cannot start, and then returns as after a signal.
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


def collect_garbage_less_often() -> None:
    """For a process that serves, once its application is made."""
    # What is loaded by now stays. The garbage collector would visit all of it again and again:
    # a ninth of the price of a login or a log-out, and 30 ms in which nobody is answered.
    gc.freeze()
    # And what waits for the disk stays young for longer than the default of 700 objects.
    gc.set_threshold(3_000)


def configure_server(settings: Settings, limits: Limits, stop_seconds: int) -> uvicorn.Config:
    return uvicorn.Config(
        "app:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        lifespan="on",
        log_config=None,
        http=partial(GuardedProtocol, limits=limits),  # type: ignore[arg-type]  # is only called
        ws="none",
        access_log=False,  # it would log tokens that callers put into a query
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=stop_seconds,
    )
