"""Starts the server: settings, logging, the schema, and then uvicorn with its workers."""

import asyncio
import logging
import sys

import uvicorn

import development
import schema
from database import Database
from settings import Settings, SettingsError, load_settings


def configure_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s"
    )
    for name in ("databases", "aiosqlite"):
        # At their lower levels these log the values of queries: digests and token ids.
        logging.getLogger(name).setLevel(logging.WARNING)


async def prepare(settings: Settings) -> None:
    """Before the first worker starts: the schema, and in development the demo client."""
    await schema.prepare(settings.database_url)
    if settings.is_development:
        async with Database(settings.database_url) as database:
            client_key = await development.register_demo_client(database)
        if client_key:
            print(development.welcome(client_key, settings.host, settings.port), flush=True)


def main() -> None:
    try:
        settings = load_settings()
        development.with_secret(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    asyncio.run(prepare(settings))
    uvicorn.run(
        "app:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        lifespan="on",
        log_config=None,
        access_log=False,  # it would log tokens that callers put into a query
        server_header=False,
        proxy_headers=False,
    )
