"""A number that orders rows by their commit, so that a reader who asks for the newer misses none.

Timestamps and sequences do not: a row with an earlier one may become visible after a row with a
later one has been read. SQLite has one writer at a time, so the next number is one more than the
last, or the time in microseconds if that is greater: the last rows may have been purged.
PostgreSQL numbers its transactions, and its snapshot tells the oldest that is still under way.
"""

from typing import Any

import sqlalchemy as sa
from databases.interfaces import Record
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from database import Database
from tables import revoked_jtis


class NextCommit(FunctionElement[int]):
    """The number of a row that is being written."""

    inherit_cache = True
    type = sa.BigInteger()


class Horizon(FunctionElement[int]):
    """Every row with a smaller number is visible to this statement, or never will be."""

    inherit_cache = True
    type = sa.BigInteger()


# The condition is what lets SQLite look the greatest up in the index, which has no empty ones.
_AFTER_THE_LAST = (
    "(SELECT coalesce(max(commit_order), 0) + 1 FROM revoked_jtis WHERE commit_order IS NOT NULL)"
)


@compiles(NextCommit, "sqlite")
def _(element: NextCommit, compiler: Any, **options: Any) -> str:
    now = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
    return f"max({_AFTER_THE_LAST}, {now})"


@compiles(Horizon, "sqlite")
def _(element: Horizon, compiler: Any, **options: Any) -> str:
    return _AFTER_THE_LAST


@compiles(NextCommit, "postgresql")
def _(element: NextCommit, compiler: Any, **options: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"


@compiles(Horizon, "postgresql")
def _(element: Horizon, compiler: Any, **options: Any) -> str:
    return "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"


_horizon = sa.select(Horizon().label("horizon")).subquery()
LOAD = sa.select(_horizon.c.horizon, revoked_jtis.c.jti, revoked_jtis.c.revoked_at).select_from(
    _horizon.outerjoin(
        revoked_jtis,
        sa.and_(
            revoked_jtis.c.commit_order.is_not(None),
            revoked_jtis.c.revoked_at > sa.bindparam("after"),
        ),
    )
)
POLL = sa.select(_horizon.c.horizon, revoked_jtis.c.jti, revoked_jtis.c.revoked_at).select_from(
    _horizon.outerjoin(revoked_jtis, revoked_jtis.c.commit_order >= sa.bindparam("since"))
)


async def load_ended(database: Database, after: float) -> list[Record]:
    """The `jti` and `revoked_at` of what ends access tokens and was written since `after`.

    The `horizon` in each row, of which there is one at least, is where `poll_ended` goes on.
    """
    return await database.fetch_all(LOAD, {"after": after})


async def poll_ended(database: Database, since: int) -> list[Record]:
    """Like `load_ended`: all that was committed since the horizon of an earlier call."""
    return await database.fetch_all(POLL, {"since": since})
