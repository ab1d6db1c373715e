"""Brings the database to the schema that the service needs."""

from databases import DatabaseURL

import store
from database import Database
from sqlite_backend import create_file


async def prepare(database_url: str) -> None:
    """Make the file and the tables that are missing; what is there stays as it is."""
    create_file(DatabaseURL(database_url).database)
    async with Database(database_url) as database:
        await store.create_tables(database)
