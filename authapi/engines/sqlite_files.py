"""What is done to a whole SQLite file: to create, lock, copy and check it, and to know it again."""

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkstemp
from urllib.parse import quote

from authapi.engines.sqlite_writer import PRAGMAS
from authapi.file_rights import Obstacle, find_obstacle

BESIDE = ("-wal", "-shm", "-server")
"""The ends of the names of the files that are made beside a database."""


class AlreadyServed(Exception):
    """Another server has the file, and does not reckon with this one."""


class DamagedFile(Exception):
    """The file is no sound database."""


class OpenedFile:
    """The file that a path names now, to which it may not always lead."""

    def __init__(self, path: str) -> None:
        """Raises `OSError`, as `check` does."""
        self._path = path
        self._identity = _identity(path)

    def check(self) -> None:
        """Raises `OSError` if the file is gone, emptied, or not the one that we opened."""
        if _identity(self._path) != self._identity:
            raise OSError("the database file was replaced")


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    if status.st_size == 0:
        raise OSError("the database file is empty")
    return status.st_dev, status.st_ino


def create_file(path: str) -> None:
    """Create a database without tables, readable by its owner only; an existing one stays."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # else SQLite would be content to read
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(PRAGMAS[0])  # an empty file would be taken for one that was emptied


def exists(path: str) -> bool:
    """Raises `OSError` where that cannot be seen, which is not the same as that it is not."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def has_no_room(database_file: str) -> bool:
    """Not even for what SQLite needs to open it."""
    return shutil.disk_usage(os.path.dirname(database_file) or ".").free < 2**20


def demand_writable(path: str) -> None:
    """Raises `OSError`. SQLite itself opens what it may only read, and fails at the first write."""
    os.close(os.open(path, os.O_RDWR))


def find_obstacle_to(database_file: str) -> Obstacle | None:
    """What keeps this user from serving the file: a right that is missing there or beside it."""
    beside = [f"{database_file}{end}" for end in BESIDE]
    folder = os.path.dirname(os.path.abspath(database_file))
    return find_obstacle(database_file, folder, *filter(os.path.exists, beside))


@contextmanager
def server_lock(database_file: str, alone: bool) -> Iterator[None]:
    """Hold a lock beside the file, until the process ends at the latest.

    With one worker, a log-out is in force once it is in that worker's own copy, which is true only
    while nobody else serves the file. Raises `AlreadyServed` if another server holds it alone, or
    at all if this one is to be alone.
    """
    with open(f"{database_file}-server", "w") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(
                f"Another server serves {database_file}. Stop it first, or give WORKERS=2 or more "
                "to every server of the file, so that they reckon with each other."
            ) from None
        yield


CHANGE_IDENTITY = """
UPDATE identity
SET database_id = ?, created_at = ?, access_purged_until = 0, refresh_purged_until = 0,
    issued_until = 0"""


def back_up(database_file: str, copy: Path, database_id: str) -> None:
    """Make `copy`, which only its owner may read, of one moment of a file that may be in use.

    It is another database, named `database_id`: what it has forgotten when it is restored is dead.
    The copy appears when it is whole and sound. Raises `FileExistsError` if it is there already,
    `DamagedFile`, and what `sqlite3` and the system raise.
    """
    if copy.exists():
        raise FileExistsError(copy)
    handle, name = mkstemp(prefix=f".{copy.name}.", dir=copy.parent)
    unfinished = Path(name)
    os.close(handle)
    try:
        with closing(_open(database_file)) as source, closing(sqlite3.connect(name)) as made:
            source.backup(made)  # SQLite's own; in one step, which keeps no writer out
            made.execute("PRAGMA journal_mode = DELETE")  # all is in the one file that is renamed
            with made:
                made.execute(CHANGE_IDENTITY, (database_id, int(time.time())))
        check(name)
        _sync(unfinished)
        unfinished.rename(copy)
        _sync(copy.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def check(database_file: str) -> None:
    """Raises `DamagedFile` if SQLite finds a fault in the file, or what `sqlite3` raises."""
    with closing(_open(database_file)) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedFile(" ".join(found.split()))


def _open(database_file: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(database_file)}?mode=rw", uri=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
