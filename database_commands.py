"""The operator's commands for the database."""

import time

import click

import purging
import schema
from commands import Report, reported, run, run_unprepared
from database import Database
from settings import Settings
from tables import SCHEMA_REVISION


@click.command()
@reported
def migrate() -> Report:
    """Bring the database to the schema of this version; safe while others do the same."""

    async def upgrade(database: Database, settings: Settings) -> None:
        await schema.upgrade(database)

    run_unprepared(upgrade)
    return Report({"revision": SCHEMA_REVISION}, f"The schema is at revision {SCHEMA_REVISION}.")


@click.command()
@reported
def purge() -> Report:
    """Delete the rows whose time is over; the server does it by itself while it runs."""

    async def delete(database: Database, settings: Settings) -> int:
        return await purging.purge(database, time.time(), settings.leeway_seconds)

    deleted = run(delete)
    return Report({"deleted": deleted}, f"Deleted {deleted} rows.")
