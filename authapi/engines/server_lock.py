"""Tells servers of one SQLite file of each other: only a server that is alone need not wait.

With one worker, a log-out is in force once it is in that worker's own copy (revocations.py). That
holds only while nobody else serves the same file.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager


class AlreadyServed(Exception):
    """Another server, which does not know of this one, has the file."""


@contextmanager
def server_lock(database_file: str, alone: bool) -> Iterator[None]:
    """Hold a lock beside the file, until the process ends at the latest.

    Raises `AlreadyServed` if another server holds it alone, or at all if this one is to be alone.
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
