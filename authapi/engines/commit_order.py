"""The number of a row that ends access tokens: it grows with each commit, and never goes back.

Timestamps and sequences do not order rows by their commit: a row with an earlier one may become
visible after a row with a later one has been read. SQLite has one writer at a time, so the next
number is one more than the greatest, whose row is never purged. PostgreSQL numbers its
transactions, and store/following.py reads what their snapshots say.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class NextCommit(FunctionElement[int]):
    """The number of a row that is being written."""

    inherit_cache = True
    type = sa.BigInteger()


# The condition is what lets SQLite look the greatest up in the index, which has no empty ones.
AFTER_THE_LAST = (
    "(SELECT coalesce(max(commit_order), 0) + 1 FROM revoked_jtis WHERE commit_order IS NOT NULL)"
)


@compiles(NextCommit, "sqlite")
def _(element: NextCommit, compiler: Any, **options: Any) -> str:
    return AFTER_THE_LAST


@compiles(NextCommit, "postgresql")
def _(element: NextCommit, compiler: Any, **options: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
