"""Opens a SQLite file for a test, and closes it, which the module's own context does not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def opened(file: Path | str) -> Iterator[sqlite3.Connection]:
    """What was written is committed, unless there is an exception."""
    with closing(sqlite3.connect(file)) as connection, connection:
        yield connection
