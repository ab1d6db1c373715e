"""Rows go when they can end nothing any more, and not a moment before."""

import asyncio
from pathlib import Path

import pytest

from authapi.engines.database import Database
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.purging import purge
from authapi.store.revocations import end_session, ending_by_operator
from settings import Settings
from tests.conftest import NOW
from tests.sqlite import opened

LEEWAY = 10
END = int(NOW) - LEEWAY - MARGIN_SECONDS


def fill(database_file: Path, expiries: list[int]) -> None:
    rows = [(f"jti-{number}", "spent", NOW, expiry) for number, expiry in enumerate(expiries)]
    with opened(database_file) as database:
        database.executemany("INSERT INTO revoked_jtis VALUES (?, ?, ?, ?, NULL, NULL, NULL)", rows)


def remaining(database_file: Path) -> list[int]:
    with opened(database_file) as database:
        rows = database.execute("SELECT expires_at FROM revoked_jtis ORDER BY expires_at")
        return [expires_at for (expires_at,) in rows]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_only_rows_whose_time_is_over_go(
    settings: Settings, database_file: Path, batch: int
) -> None:
    fill(database_file, [0, END - 1, END, END + 1, int(NOW), int(NOW) + 900])

    async def run() -> int:
        async with Database(settings.database_url) as database:
            return await purge(database, NOW, LEEWAY, batch, pause_seconds=0)

    assert asyncio.run(run()) == 3
    assert remaining(database_file) == [END + 1, int(NOW), int(NOW) + 900]


def test_a_write_waits_for_few_rows(settings: Settings, database_file: Path) -> None:
    """Whoever logs out meanwhile comes after the batch that is under way."""
    fill(database_file, [0] * 400)

    async def run() -> int:
        async with Database(settings.database_url) as database:
            purging = asyncio.create_task(purge(database, NOW, LEEWAY))
            while remaining(database_file).count(0) == 400:  # noqa: ASYNC110
                await asyncio.sleep(0)  # a purge tells of no batch
            await end_session(database, ending_by_operator("sid-1", "logged_out", NOW))
            left = remaining(database_file).count(0)
            await purging
            return left

    assert asyncio.run(run()) >= 250
    assert remaining(database_file).count(0) == 0


NOTE_MODE = """
CREATE TRIGGER note_mode AFTER DELETE ON revoked_jtis BEGIN
    INSERT INTO revoked_jtis
    SELECT 'mode', synchronous, 0, 9e9, NULL, NULL, NULL FROM pragma_synchronous;
END"""


def test_it_does_not_wait_for_the_disk_while_it_keeps_others_waiting(
    settings: Settings, database_file: Path
) -> None:
    fill(database_file, [0])
    with opened(database_file) as database:
        database.execute(NOTE_MODE)

    async def run() -> int:
        async with Database(settings.database_url) as database:
            return await purge(database, NOW, LEEWAY)

    assert asyncio.run(run()) == 1
    with opened(database_file) as database:
        assert database.execute("SELECT reason FROM revoked_jtis").fetchall() == [("1",)]
