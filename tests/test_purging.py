"""Rows go when they can end nothing any more, and not a moment before."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from database import Database
from purging import purge, purge_regularly
from revocations import MARGIN_SECONDS
from settings import Settings
from tests.conftest import NOW, Clock

LEEWAY = 10
END = int(NOW) - LEEWAY - MARGIN_SECONDS


def fill(database_file: Path, expiries: list[int]) -> None:
    rows = [(f"jti-{number}", "spent", NOW, expiry) for number, expiry in enumerate(expiries)]
    with sqlite3.connect(database_file) as database:
        database.executemany("INSERT INTO revoked_jtis VALUES (?, ?, ?, ?, NULL)", rows)


def remaining(database_file: Path) -> list[int]:
    with sqlite3.connect(database_file) as database:
        rows = database.execute("SELECT expires_at FROM revoked_jtis ORDER BY expires_at")
        return [expires_at for (expires_at,) in rows]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_only_rows_whose_time_is_over_go(
    settings: Settings, database_file: Path, batch: int
) -> None:
    fill(database_file, [0, END - 1, END, END + 1, int(NOW), int(NOW) + 900])

    async def run() -> int:
        async with Database(settings.database_url) as database:
            return await purge(database, NOW, LEEWAY, batch)

    assert asyncio.run(run()) == 3
    assert remaining(database_file) == [END + 1, int(NOW), int(NOW) + 900]


def test_the_server_purges_by_itself_and_a_database_out_of_reach_does_not_stop_it(
    settings: Settings, database_file: Path, clock: Clock
) -> None:
    fill(database_file, [END, END + 100])
    aside = database_file.with_suffix(".aside")
    database = Database(settings.database_url)

    async def rows_become(expected: list[int]) -> None:
        async with asyncio.timeout(10):
            while remaining(database_file) != expected:  # noqa: ASYNC110, it is another's work
                await asyncio.sleep(0)

    async def run() -> None:
        async with database:
            os.rename(database_file, aside)
            purging = asyncio.create_task(purge_regularly(database, LEEWAY, 0, clock))
            for _ in range(100):
                await asyncio.sleep(0)
            os.rename(aside, database_file)
            await rows_become([END + 100])
            clock.advance(101)
            await rows_become([])
            assert not purging.done()
            purging.cancel()

    asyncio.run(run())
