"""A SQLite database is backed up whole and sound while it is written, or not at all."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from manage import cli
from settings import Settings
from tests.conftest import SECRET, Registered
from tests.postgres import Postgres

Manage = Callable[..., Result]


@pytest.fixture
def manage(settings: Settings) -> Manage:
    def manage(*arguments: str, status: int = 0, url: str = settings.database_url) -> Result:
        environ = {"SECRET_KEY": SECRET, "DATABASE_URL": url}
        result = CliRunner().invoke(cli, arguments, env=environ)
        assert result.exit_code == status, result.output
        return result

    return manage


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_back_up_is_one_file_for_its_owner(
    manage: Manage, registered: Registered, tmp_path: Path
) -> None:
    copy = tmp_path / "copies" / "monday.db"
    copy.parent.mkdir()
    result = manage("back-up", str(copy), "--json")
    assert json.loads(result.stdout) == {"file": str(copy)}
    assert json.loads(result.stderr)["event"] == "database_backed_up"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert names(copy.parent) == {"monday.db"}
    rows = json.loads(manage("list-clients", "--json", url=f"sqlite:///{copy}").stdout)
    assert [row["user_id"] for row in rows] == [registered.id]


def test_a_file_that_is_there_is_kept(manage: Manage, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("mine")
    before = names(tmp_path)
    result = manage("back-up", str(copy), status=2)
    assert result.stderr == f"Error: There is a file {copy} already; choose another name.\n"
    assert copy.read_text() == "mine"
    assert names(tmp_path) - before <= {"auth.db-wal", "auth.db-shm"}


def test_writers_go_on_and_the_copy_is_of_one_moment(
    manage: Manage, database_file: Path, tmp_path: Path
) -> None:
    """Each transaction writes two rows; a copy that has one of a pair is of two moments."""
    stop = threading.Event()
    written: list[list[str]] = []

    def write() -> None:
        with closing(sqlite3.connect(database_file, timeout=10, isolation_level=None)) as writer:
            while not stop.wait(0.002):  # SQLite passes its lock to whoever asks first
                pair = [f"{len(written)}-{one}" for one in "ab"]
                row = "(?, 'x', 1, 1, 1, NULL, NULL)"
                writer.execute(f"INSERT INTO revoked_jtis VALUES {row}, {row}", pair)
                written.append(pair)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            before = len(written)
            manage("back-up", str(tmp_path / f"{number}.db"))
            with closing(sqlite3.connect(tmp_path / f"{number}.db")) as copy:
                (rows,) = copy.execute("SELECT count(*) FROM revoked_jtis").fetchone()
            assert rows % 2 == 0
            assert rows >= 2 * before
    finally:
        stop.set()
        thread.join()
    assert written


def test_of_a_damaged_file_no_copy_is_kept(
    manage: Manage, database_file: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(database_file)) as database:
        rows = [(f"row {number} " * 9, number) for number in range(3000)]
        database.executemany("INSERT INTO revoked_jtis VALUES (?, 'x', 1, ?, 1, NULL, NULL)", rows)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(database_file.read_bytes())
    content[-40 * 4096 : -20 * 4096] = bytes(20 * 4096)
    database_file.write_bytes(content)
    before = names(tmp_path)
    result = manage("back-up", str(tmp_path / "copy.db"), status=2)
    assert result.stderr.startswith("Error: Nothing was kept, since the copy is damaged: ")
    assert result.stderr.count("\n") == 1
    assert names(tmp_path) == before


def test_a_folder_that_is_not_there_is_told_in_a_line(manage: Manage, tmp_path: Path) -> None:
    result = manage("back-up", str(tmp_path / "no" / "copy.db"), status=2)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_postgresql_has_a_tool_of_its_own(
    manage: Manage, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    manage("migrate", url=url)
    result = manage("back-up", str(tmp_path / "copy.db"), status=2, url=url)
    assert "pg_dump" in result.stderr
    assert not (tmp_path / "copy.db").exists()
