"""Reads what ends access tokens: at first all that can matter, then what has become visible since.

Snapshots say what has become visible, numbers do not: on PostgreSQL, what the last reading could
not see is at or past the end of its snapshot, or in its list of open transactions. That is true
until the server crashes or fails over, and gives numbers out again. So a snapshot belongs to the
connection on which it was taken, and is worth nothing on another one.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from authapi.engines.database import Database, Row, Unfit
from authapi.engines.statements import AFTER_THE_LAST

LOAD_SECONDS = 60.0
"""A million rows take 5 seconds. Until then each request asks the database."""
POLL_SECONDS = 2.0

_HEAD = {
    "sqlite": f"""SELECT database_id, access_purged_until,
       ':' || {AFTER_THE_LAST} || ':' AS snapshot,
       {{reader}} AS reader, 0 AS is_standby, NULL AS clock,
       NULL AS jti, NULL AS revoked_at, NULL AS access_expires_at
FROM identity
""",  # noqa: S608  # of constants alone
    "postgresql": """SELECT database_id, access_purged_until,
       CAST(pg_current_snapshot() AS text) AS snapshot,
       {reader} AS reader, pg_is_in_recovery() AS is_standby,
       CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS clock,
       NULL AS jti, NULL AS revoked_at, NULL AS access_expires_at
FROM identity
""",
}
_ENDED = """
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, jti, revoked_at, access_expires_at
FROM revoked_jtis
WHERE
"""
# One statement each, so that the row of the head and all others are of one snapshot. `reader` marks
# the connection, which a proxy could exchange unnoticed.
LOAD = {
    "sqlite": sa.text(
        _HEAD["sqlite"].format(reader=":reader")
        + _ENDED
        + "commit_order IS NOT NULL AND access_expires_at > :after"
    ),
    "postgresql": sa.text(
        _HEAD["postgresql"].format(reader="set_config('auth_api.reader', :reader, false)")
        + _ENDED
        + "commit_order IS NOT NULL AND access_expires_at > :after"
    ),
}
POLL = {
    "sqlite": sa.text(_HEAD["sqlite"].format(reader=":reader") + _ENDED + "commit_order >= :xmax"),
    # The first part has an upper end, too: a row that was restored may have a number of the future.
    # Without the second, what is committed late would be lost.
    "postgresql": sa.text(
        _HEAD["postgresql"].format(reader="current_setting('auth_api.reader', true)")
        + _ENDED
        + """commit_order >= :xmax AND commit_order <
    CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"""
        + _ENDED
        + "commit_order = ANY (CAST(:still_open AS bigint[]))"
    ),
}


class Ended(NamedTuple):
    """A row: the id that is ended, when, and the latest `exp` of an access token with that id."""

    jti: str
    revoked_at: float
    access_expires_at: int


class Reading(NamedTuple):
    """What a moment of the database adds to what was read before, or all of it if it `is_whole`.

    `clock` is the time on the machine of the database, which for SQLite is ours and so None.
    """

    database_id: str
    access_purged_until: int
    clock: float | None
    is_whole: bool
    ended: list[Ended]


class Snapshot(NamedTuple):
    """What a reading could not see: numbers from `xmax` on, and those that were `still_open`.

    SQLite, which has one writer at a time, has none of the latter.
    """

    xmax: int
    still_open: list[int]


class Follower:
    """Remembers where its last reading ended, while that is of use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = str(database.url.dialect)
        self._connection: object = None
        self._reader = ""
        self._database_id = ""
        self._snapshot = Snapshot(0, [])

    def start_over(self) -> None:
        """Let the next reading be whole."""
        self._connection = None

    async def read(self, after: int) -> Reading:
        """What was committed since the last reading; or, where that may not be complete, all that
        ends access tokens whose `exp` is later than `after`. Raises `TemporarilyUnavailable`.
        """
        connection = await self._database.dedicated_connection()
        if connection is self._connection:
            values: Row = {"reader": self._reader, **self._snapshot._asdict()}
            head, ended = await self._ask(POLL, values, POLL_SECONDS)
            if self._goes_on(head):
                self._snapshot = _snapshot(head)
                return _reading(head, ended, is_whole=False)
        self._connection, self._reader = connection, secrets.token_hex(8)
        values = {"reader": self._reader, "after": after}
        head, ended = await self._ask(LOAD, values, LOAD_SECONDS)
        self._database_id, self._snapshot = head["database_id"], _snapshot(head)
        return _reading(head, ended, is_whole=True)

    async def _ask(
        self, statements: Mapping[str, sa.TextClause], values: Row, seconds: float
    ) -> tuple[Row, list[Ended]]:
        """The row of the head, and what is ended."""
        connection, self._connection = (
            self._connection,
            None,
        )  # after a fault the next one starts over
        async with self._database.reached(seconds):
            rows = await self._database.fetch_on(
                connection, statements[self._dialect], dict(values)
            )
            head, ended = _part(rows)
        self._connection = connection
        return head, ended

    def _goes_on(self, head: Row) -> bool:
        """Whether it is the same database, on the same connection, and no number went back."""
        return (
            head["database_id"] == self._database_id
            and head["reader"] == self._reader
            and _snapshot(head).xmax >= self._snapshot.xmax
        )


def _snapshot(head: Row) -> Snapshot:
    _, xmax, still_open = head["snapshot"].split(":")
    return Snapshot(int(xmax), [int(number) for number in still_open.split(",") if number])


def _part(rows: Iterable[Row]) -> tuple[Row, list[Ended]]:
    """The row of the head, and what is ended. Raises `Unfit`."""
    head, ended = None, []
    for row in rows:
        if row["jti"] is None:
            head = row
        else:
            ended.append(Ended(row["jti"], row["revoked_at"], row["access_expires_at"]))
    if head is None:
        raise Unfit("it has no identity; `manage.py end-all-sessions` gives it one")
    if head["is_standby"]:
        raise Unfit("it is a standby, and may not know what was ended on its primary")
    return head, ended


def _reading(head: Row, ended: list[Ended], is_whole: bool) -> Reading:
    return Reading(head["database_id"], head["access_purged_until"], head["clock"], is_whole, ended)
