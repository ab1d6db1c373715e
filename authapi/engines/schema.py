"""Brings the database to the schema that this version of the service needs."""

import os
from pathlib import Path

import aiosqlite
from sqlalchemy import Connection

from authapi.engines.database import Database
from authapi.engines.postgres import connect_alone
from authapi.engines.sqlite_files import create_file, exists
from tables import SCHEMA_REVISION

MIGRATIONS = Path(__file__).parent / "migrations"

NO_DATABASE = (
    "On a first start, `python manage.py migrate` makes it. If there was one, run this in its "
    "folder and with its settings, or restore a back-up: an empty one knows no client."
)
OTHER_SCHEMA = f"The schema of the database is not revision {SCHEMA_REVISION}."

# Each of two nodes that upgrade at once begins with this, and so waits for the other.
_TAKE_TURNS = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(1635087464)",
}
_HAS_REVISION = {
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'",
    "postgresql": "SELECT count(to_regclass('alembic_version'))",
}


class SchemaError(Exception):
    """There is no database, or one with another schema than this version of the service has."""

    def __init__(
        self, fault: str, remedy: str = "`python manage.py migrate` brings it there."
    ) -> None:
        super().__init__(f"{fault} {remedy}")


async def prepare(database: Database, create: bool = False) -> None:
    """Before a start. A SQLite file is upgraded if need be; a PostgreSQL must be current.

    With `create`, a SQLite file is made where there is none. That is never done unasked: a file
    that was lost holds the revocations, and a new one would let the revoked in again.
    Raises `SchemaError`, and what the drivers raise where the database cannot be asked.
    """
    if database.is_sqlite and not exists(database.url.database):
        if not create:
            file = os.path.abspath(database.url.database)
            raise SchemaError(f"There is no database {file}.", NO_DATABASE)
        create_file(database.url.database)
    async with database:
        revision = await _revision(database)
    if revision != SCHEMA_REVISION:
        if not database.is_sqlite:
            raise _fault(revision)
        await upgrade(database)


async def check(database: Database) -> None:
    """Raises `SchemaError` unless the connected database has the schema that we need."""
    revision = await _revision(database)
    if revision != SCHEMA_REVISION:
        raise _fault(revision)


async def _revision(database: Database) -> str:
    """The revision of the schema; empty if there is none of ours."""
    if not await database.fetch_val(_HAS_REVISION[database.url.dialect]):
        return ""
    return str(await database.fetch_val("SELECT version_num FROM alembic_version"))


def _fault(revision: str) -> SchemaError:
    if revision:
        return SchemaError(OTHER_SCHEMA)
    return SchemaError("The database has none of our tables.", NO_DATABASE)


async def upgrade(database: Database) -> None:
    """Run the revisions that are missing, all or none; `database` need not be connected."""
    # Alembic and the engine are imported here since a start with a current schema needs neither.
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    url, dialect = database.url, database.url.dialect
    if database.is_sqlite:
        create_file(url.database)
        engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=lambda: aiosqlite.connect(url.database, isolation_level=None),
            poolclass=NullPool,
        )
    else:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect_alone(url),
            poolclass=NullPool,
        )
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(_TAKE_TURNS[dialect])
            await connection.run_sync(_run_revisions)
    except DBAPIError as fault:  # SQLAlchemy's own, around the driver's
        drivers = fault.orig or fault
        raise (drivers.__cause__ or drivers) from None


def _run_revisions(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError:  # for a revision that is not among ours
        raise SchemaError(OTHER_SCHEMA, "Another version made it: run that one.") from None
