"""A reader that stays lets SQLite's log grow; when it has gone, the log is bounded again."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from authapi.engines.database import Database
from authapi.store import health
from settings import Settings

LIMIT_BYTES = 4 * 2**20
WRITES = 1200


def test_the_log_shrinks_when_a_reader_has_gone(settings: Settings, database_file: Path) -> None:
    log = database_file.with_name(f"{database_file.name}-wal")

    async def act() -> tuple[int, int]:
        async with Database(settings.database_url) as database:
            with closing(sqlite3.connect(database_file, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT * FROM clients").fetchall()
                for _ in range(WRITES):
                    await health.try_to_write(database)
                grown = log.stat().st_size
            for _ in range(5):
                await health.try_to_write(database)
            return grown, log.stat().st_size

    grown, after = asyncio.run(act())
    assert grown > LIMIT_BYTES
    assert after <= LIMIT_BYTES
