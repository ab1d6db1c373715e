"""Ends sessions as the rules do, and copies of what is ended, for tests of what lies beneath."""

from collections.abc import Callable

from authapi.clocks import Clock, Clocks
from authapi.engines.database import Database
from authapi.revocation.revocations import Revocations
from authapi.store.following import Ended
from authapi.store.revocations import Ending, end_session
from tests.conftest import NOW


async def end(
    database: Database, sid: str, expires_at: int = int(NOW) + 900, now: float = NOW
) -> Ended:
    """End a session; what was ended is told, too, for a copy."""
    seconds = expires_at - int(now)
    return await end_session(database, Ending(sid, "logged_out", now, seconds, seconds))


def copy_of(
    database: Database,
    wall: Clock,
    steady: Clock,
    max_age: float = 0.5,
    is_shared: bool = False,
    serve: Callable[[str], None] = lambda database_id: None,
    tell: Callable[[], None] = lambda: None,
) -> Revocations:
    """A worker's copy by the clocks of the test, of a service with the settings by default."""
    clocks = Clocks(wall, steady)
    return Revocations(database, 900, 10, max_age, is_shared, clocks, serve, tell)
