"""What ends tokens: the questions about it, one coroutine and one constant statement for each."""

from typing import Any, NamedTuple

import sqlalchemy as sa
from databases.interfaces import Record
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.credentials.claims import MAX_ACCESS_SECONDS, MAX_SESSION_SECONDS, Claims
from authapi.engines.commit_order import NextCommit
from authapi.engines.database import Database
from tables import identity, revoked_jtis

ERA_STEP = 0.001
"""Seconds between two eras of a client, should a clock stand still or go back."""


class Ending(NamedTuple):
    """What ends access tokens: a row of `revoked_jtis`, whose `jti` is `ended_id`.

    `access_expires_at` is the latest `exp` of an access token that it ends, and `expires_at` of
    any token: as who ends it knows. As the row is written, both become so late that they hold for
    all that was issued until the identity's `issued_until`, `access_seconds` and `session_seconds`
    being how long it lives.
    """

    ended_id: str
    reason: str
    revoked_at: float
    access_expires_at: int
    expires_at: int
    access_seconds: int = 0
    session_seconds: int = 0


def ending_by_operator(ended_id: str, reason: str, now: float) -> Ending:
    """For whatever was issued by now, by servers whose settings the operator need not have."""
    return Ending(
        ended_id,
        reason,
        now,
        access_expires_at=int(now) + MAX_ACCESS_SECONDS,
        expires_at=int(now) + MAX_SESSION_SECONDS,
        access_seconds=MAX_ACCESS_SECONDS,
        session_seconds=MAX_SESSION_SECONDS,
    )


def is_ended_by(*ids: str, purged_until: sa.Column[int]) -> sa.ColumnElement[bool]:
    """A row ends one of these ids, or the client's era is later than the token's; or the token
    is of another database, or so old that its row may have been purged.
    """
    ended = revoked_jtis.alias("ended")
    is_in_force = sa.exists().where(
        identity.c.database_id == sa.bindparam("database_id"), purged_until < sa.bindparam("exp")
    )
    by_row = sa.exists().where(
        sa.or_(
            ended.c.jti.in_([sa.bindparam(name) for name in ids]),
            sa.and_(ended.c.jti == sa.bindparam("sub"), ended.c.revoked_at > sa.bindparam("era")),
        )
    )
    return sa.or_(~is_in_force, by_row)


ROW_COLUMNS = [
    "jti", "reason", "revoked_at", "access_expires_at", "expires_at", "commit_order"
]  # fmt: skip


def row(
    commit_order: sa.ColumnElement[int],
    access_expires_at: sa.ColumnElement[int],
    expires_at: sa.ColumnElement[int],
) -> sa.Select[Any]:
    """A row to insert where a condition holds; PostgreSQL wants to be told the types."""
    return sa.select(
        sa.cast(sa.bindparam("ended_id"), sa.String),
        sa.cast(sa.bindparam("reason"), sa.String),
        sa.cast(sa.bindparam("revoked_at"), sa.Double),
        access_expires_at,
        expires_at,
        commit_order,
    )


def greater(one: sa.ColumnElement[Any], other: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((one > other, one), else_=other)


def _for_all_issued(name: str, lives: str) -> sa.ColumnElement[int]:
    """So late, or so late that it holds for the last token that may have been issued."""
    # Shared, on PostgreSQL: while this is not committed, nobody is allowed to issue later tokens,
    # who might not see it yet. SQLite has one writer at a time.
    issued_until = sa.select(identity.c.issued_until).with_for_update(read=True).scalar_subquery()
    at, seconds = (sa.cast(sa.bindparam(each), sa.BigInteger) for each in (name, lives))
    return greater(issued_until + seconds, at)


_row = row(
    NextCommit(),
    _for_all_issued("access_expires_at", "access_seconds"),
    _for_all_issued("expires_at", "session_seconds"),
)
_access_token_is_ended = is_ended_by(
    "jti", "sid", "key_id", purged_until=identity.c.access_purged_until
)
IS_ENDED = sa.select(_access_token_is_ended)


async def is_ended(database: Database, claims: Claims) -> bool:
    """Tell whether the token, its session, its key or its client's era is over."""
    return bool(await database.fetch_val(IS_ENDED, claims._asdict()))


_end = insert(revoked_jtis).from_select(ROW_COLUMNS, _row.where(sa.true()))
END = _end.on_conflict_do_nothing().returning(
    revoked_jtis.c.revoked_at, revoked_jtis.c.access_expires_at
)


async def end_session(database: Database, ending: Ending) -> Ending:
    """End every token with this `sid`, once. Returns what was written."""
    written = await database.fetch_one(END, ending._asdict())
    return ending._replace(**dict(written)) if written else ending


REGISTRY_VERSION = "registry"
"""The one id that ends no token, but what workers have kept of clients and their keys."""
MARK_REGISTRY_CHANGED = _end.on_conflict_do_update(
    index_elements=[revoked_jtis.c.jti],
    set_={
        name: insert(revoked_jtis).excluded[name]
        for name in ("revoked_at", "access_expires_at", "expires_at", "commit_order")
    },
).returning(revoked_jtis.c.jti)


async def mark_registry_changed(database: Database, now: float) -> None:
    """Let every worker read anew what it knows of clients and keys. For the transaction of a
    change, so that who reads this reads the change."""
    change = Ending(
        REGISTRY_VERSION, "changed", now, access_expires_at=int(now), expires_at=int(now)
    )
    await database.fetch_one(MARK_REGISTRY_CHANGED, change._asdict())


_excluded = insert(revoked_jtis).excluded
_later_era = {
    "reason": _excluded.reason,
    "access_expires_at": greater(_excluded.access_expires_at, revoked_jtis.c.access_expires_at),
    "expires_at": greater(_excluded.expires_at, revoked_jtis.c.expires_at),
    "commit_order": _excluded.commit_order,
    "revoked_at": greater(_excluded.revoked_at, revoked_jtis.c.revoked_at + ERA_STEP),
}
END_ALL = (
    insert(revoked_jtis)
    .from_select(ROW_COLUMNS, _row.where(~_access_token_is_ended))
    .on_conflict_do_update(
        index_elements=[revoked_jtis.c.jti],
        set_=_later_era,
        where=revoked_jtis.c.revoked_at <= sa.bindparam("era"),
    )
    .returning(revoked_jtis.c.revoked_at, revoked_jtis.c.access_expires_at)
)


async def end_all_sessions(database: Database, asked_by: Claims, ending: Ending) -> Ending | None:
    """Begin a new era of the client `asked_by.sub`. Returns what was written; None if the token
    that asks is dead."""
    written = await database.fetch_one(END_ALL, asked_by._asdict() | ending._asdict())
    return ending._replace(**dict(written)) if written else None


END_CLIENT = _end.on_conflict_do_update(
    index_elements=[revoked_jtis.c.jti], set_=_later_era
).returning(revoked_jtis.c.revoked_at)


async def end_client(database: Database, ending: Ending) -> None:
    """Begin a new era of a client for an operator, whom no token has to allow it."""
    await database.fetch_one(END_CLIENT, ending._asdict())


FIND_ERA = sa.select(revoked_jtis.c.revoked_at, revoked_jtis.c.reason).where(
    revoked_jtis.c.jti == sa.bindparam("sub")
)


async def find_era(database: Database, client_id: str) -> Record | None:
    """When all of the client's sessions were last ended (`revoked_at`), and the `reason`."""
    return await database.fetch_one(FIND_ERA, {"sub": client_id})
