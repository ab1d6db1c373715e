"""The questions of a session to the database: one coroutine and one constant statement for each."""

from typing import Any, cast

import sqlalchemy as sa
from databases.interfaces import Record
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from claims import Claims, successor_jti
from commit_order import NextCommit
from database import Database
from tables import client_keys, clients, revoked_jtis

EPOCH_STEP = 0.001
"""Seconds between two epochs of a client, should a clock stand still or go back."""


def _is_ended(*ids: str) -> sa.ColumnElement[bool]:
    """A row ends one of these ids, or the client's epoch is later than the token's."""
    ended = revoked_jtis.alias("ended")
    return sa.exists().where(
        sa.or_(
            ended.c.jti.in_([sa.bindparam(name) for name in ids]),
            sa.and_(ended.c.jti == sa.bindparam("sub"), ended.c.revoked_at > sa.bindparam("epoch")),
        )
    )


key_is_open = sa.and_(
    client_keys.c.revoked_at.is_(None),
    sa.or_(client_keys.c.expires_at.is_(None), client_keys.c.expires_at > sa.bindparam("now")),
)
_session_goes_on = sa.and_(
    clients.c.id == sa.bindparam("sub"),
    client_keys.c.id == sa.bindparam("key_id"),
    client_keys.c.client_id == clients.c.id,
    clients.c.disabled_at.is_(None),
    key_is_open,
    ~_is_ended("sid", "key_id"),
)
_key = sa.select(client_keys.c.expires_at).where(client_keys.c.id == sa.bindparam("key_id"))
_key_expires_at = _key.scalar_subquery().label("key_expires_at")
_row_columns = ["jti", "reason", "revoked_at", "expires_at", "commit_order"]


def _row(commit_order: sa.ColumnElement[int]) -> sa.Select[Any]:
    """A row to insert where a condition holds; PostgreSQL wants to be told the types."""
    return sa.select(
        sa.cast(sa.bindparam("row_jti"), sa.String),
        sa.cast(sa.bindparam("reason"), sa.String),
        sa.cast(sa.bindparam("now"), sa.Double),
        sa.cast(sa.bindparam("expires_at"), sa.BigInteger),
        commit_order,
    )


_asked = sa.select(sa.cast(sa.bindparam("digest"), sa.String).label("digest")).subquery()
_epochs = revoked_jtis.alias("epochs")
_client_id = sa.func.coalesce(client_keys.c.client_id, _asked.c.digest)
FIND_LOGIN = sa.select(
    clients.c.id.is_not(None).label("is_known"),
    _client_id.label("id"),
    sa.func.coalesce(clients.c.scopes, "").label("scopes"),
    clients.c.disabled_at,
    sa.func.coalesce(client_keys.c.id, _asked.c.digest).label("key_id"),
    client_keys.c.expires_at,
    client_keys.c.revoked_at,
    sa.func.coalesce(_epochs.c.revoked_at, 0).label("epoch"),
).select_from(
    _asked.outerjoin(client_keys, client_keys.c.digest == _asked.c.digest)
    .outerjoin(clients, clients.c.id == _client_id)
    .outerjoin(_epochs, _epochs.c.jti == _client_id)
)


async def find_login(database: Database, digest: str) -> Record:
    """The key, its client and the client's epoch, if the key `is_known`.

    Whether it opens is for the caller to judge, and an unknown one is looked up in every table,
    too, and has as many texts: else the time of the answer would tell why a key does not open.
    """
    row = await database.fetch_one(FIND_LOGIN, {"digest": digest})
    return cast(Record, row)  # a row without conditions is always there


IS_ENDED = sa.select(_is_ended("jti", "sid", "key_id"))


async def is_ended(database: Database, claims: Claims) -> bool:
    """Tell whether the token, its session, its key or its client's epoch is over."""
    return bool(await database.fetch_val(IS_ENDED, claims._asdict()))


SPEND = (
    insert(revoked_jtis)
    .from_select(_row_columns, _row(sa.cast(sa.null(), sa.BigInteger)).where(_session_goes_on))
    .on_conflict_do_nothing()
    .returning(revoked_jtis.c.revoked_at, _key_expires_at)
)


async def spend(database: Database, claims: Claims, now: float) -> Record | None:
    """Spend a refresh token. Of all who try, on any node, one gets a row."""
    values = {"row_jti": claims.jti, "reason": "spent", "now": now, "expires_at": claims.exp}
    return await database.fetch_one(SPEND, claims._asdict() | values)


_successors = revoked_jtis.alias("successors")
FIND_SPENT = sa.select(
    revoked_jtis.c.revoked_at,
    sa.exists()
    .where(_successors.c.jti == sa.bindparam("successor_jti"))
    .label("successor_is_spent"),
    sa.exists().where(_session_goes_on).label("session_goes_on"),
    _key_expires_at,
).where(revoked_jtis.c.jti == sa.bindparam("jti"))


async def find_spent(database: Database, claims: Claims, now: float) -> Record | None:
    """What became of a spent refresh token: when, whether its successor is spent too, and
    whether the session still may go on."""
    values = {"successor_jti": successor_jti(claims.jti), "now": now}
    return await database.fetch_one(FIND_SPENT, claims._asdict() | values)


_end = insert(revoked_jtis).from_select(_row_columns, _row(NextCommit()).where(sa.true()))
END = _end.on_conflict_do_nothing()


async def end_session(
    database: Database, sid: str, reason: str, now: float, expires_at: int
) -> None:
    """End every token with this `sid`; to end it again changes nothing."""
    row = {"row_jti": sid, "reason": reason, "now": now, "expires_at": expires_at}
    await database.fetch_one(END, row)


REGISTRY = "registry"
"""The one id that ends no token, but what workers have kept of clients and their keys."""
TELL_CHANGE = _end.on_conflict_do_update(
    index_elements=[revoked_jtis.c.jti],
    set_={
        name: insert(revoked_jtis).excluded[name]
        for name in ("revoked_at", "expires_at", "commit_order")
    },
).returning(revoked_jtis.c.jti)


async def tell_change(database: Database, now: float) -> None:
    """Let every worker read anew what it knows of clients and keys. For the transaction of a
    change, so that who reads this reads the change."""
    row = {"row_jti": REGISTRY, "reason": "changed", "now": now, "expires_at": int(now)}
    await database.fetch_one(TELL_CHANGE, row)


def _greater(one: sa.ColumnElement[Any], other: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((one > other, one), else_=other)


_excluded = insert(revoked_jtis).excluded
END_ALL = (
    insert(revoked_jtis)
    .from_select(_row_columns, _row(NextCommit()).where(~_is_ended("jti", "sid", "key_id")))
    .on_conflict_do_update(
        index_elements=[revoked_jtis.c.jti],
        set_={
            "reason": _excluded.reason,
            "expires_at": _greater(_excluded.expires_at, revoked_jtis.c.expires_at),
            "commit_order": _excluded.commit_order,
            "revoked_at": _greater(_excluded.revoked_at, revoked_jtis.c.revoked_at + EPOCH_STEP),
        },
        where=revoked_jtis.c.revoked_at <= sa.bindparam("epoch"),
    )
    .returning(revoked_jtis.c.revoked_at)
)


async def end_all_sessions(
    database: Database, asked_by: Claims, reason: str, now: float, expires_at: int
) -> float | None:
    """Begin a new epoch of the client `asked_by.sub`; None if the token that asks is dead."""
    values = {"row_jti": asked_by.sub, "reason": reason, "now": now, "expires_at": expires_at}
    epoch: float | None = await database.fetch_val(END_ALL, asked_by._asdict() | values)
    return epoch


FIND_EPOCH = sa.select(revoked_jtis.c.revoked_at, revoked_jtis.c.reason).where(
    revoked_jtis.c.jti == sa.bindparam("sub")
)


async def find_epoch(database: Database, client_id: str) -> Record | None:
    """When all of the client's sessions were last ended (`revoked_at`), and the `reason`."""
    return await database.fetch_one(FIND_EPOCH, {"sub": client_id})


PURGE = (
    sa.delete(revoked_jtis)
    .where(
        revoked_jtis.c.jti.in_(
            sa.select(revoked_jtis.c.jti)
            .where(revoked_jtis.c.expires_at < sa.bindparam("before"))
            .limit(sa.bindparam("batch"))
        )
    )
    .returning(revoked_jtis.c.jti)
)


async def purge(database: Database, before: int, batch: int) -> int:
    """Delete at most `batch` rows whose `expires_at` is earlier than `before`; tell how many."""
    return len(await database.fetch_all(PURGE, {"before": before, "batch": batch}))


PING = sa.select(clients.c.id).limit(1)


async def ping(database: Database) -> None:
    """Raises `TemporarilyUnavailable` unless the database answers, and with our tables."""
    await database.fetch_one(PING)
