"""The questions of a session to the database: one coroutine and one constant statement for each."""

from databases.interfaces import Record
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    String,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too
from sqlalchemy.schema import CreateIndex, CreateTable

from claims import Claims, successor_jti
from database import Database
from tables import client_keys, clients, metadata, revoked_jtis

EPOCH_STEP = 0.001
"""Seconds between two epochs of a client, should a clock stand still or go back."""


def _is_ended(*ids: str) -> ColumnElement[bool]:
    """A row ends one of these ids, or the client's epoch is later than the token's."""
    ended = revoked_jtis.alias("ended")
    return exists().where(
        or_(
            ended.c.jti.in_([bindparam(name) for name in ids]),
            and_(ended.c.jti == bindparam("sub"), ended.c.revoked_at > bindparam("epoch")),
        )
    )


_key_opens = and_(
    client_keys.c.client_id == clients.c.id,
    clients.c.disabled_at.is_(None),
    client_keys.c.revoked_at.is_(None),
    or_(client_keys.c.expires_at.is_(None), client_keys.c.expires_at > bindparam("now")),
)
_session_goes_on = and_(
    clients.c.id == bindparam("sub"),
    client_keys.c.id == bindparam("key_id"),
    _key_opens,
    ~_is_ended("sid", "key_id"),
)
_new_row = select(  # the casts tell PostgreSQL what SQLite does not ask
    cast(bindparam("row_jti"), String),
    cast(bindparam("reason"), String),
    cast(bindparam("now"), Double),
    cast(bindparam("expires_at"), BigInteger),
)
_row_columns = ["jti", "reason", "revoked_at", "expires_at"]

_epochs = revoked_jtis.alias("epochs")
FIND_LOGIN = (
    select(
        clients.c.id,
        clients.c.scopes,
        client_keys.c.id.label("key_id"),
        func.coalesce(_epochs.c.revoked_at, 0).label("epoch"),
    )
    .select_from(client_keys.join(clients).outerjoin(_epochs, _epochs.c.jti == clients.c.id))
    .where(client_keys.c.digest == bindparam("digest"), _key_opens)
)


async def find_login(database: Database, digest: str, now: float) -> Record | None:
    """The `id`, `scopes`, `key_id` and `epoch` of a session that the key may begin."""
    return await database.fetch_one(FIND_LOGIN, {"digest": digest, "now": now})


IS_ENDED = select(_is_ended("jti", "sid", "key_id"))


async def is_ended(database: Database, claims: Claims) -> bool:
    """Tell whether the token, its session, its key or its client's epoch is over."""
    return bool(await database.fetch_val(IS_ENDED, claims.as_dict()))


SPEND = (
    insert(revoked_jtis)
    .from_select(_row_columns, _new_row.where(_session_goes_on))
    .on_conflict_do_nothing()
    .returning(revoked_jtis.c.jti)
)


async def spend(database: Database, claims: Claims, now: float) -> bool:
    """Spend a refresh token. Of all who try, on any node, one is told True."""
    values = {"row_jti": claims.jti, "reason": "spent", "now": now, "expires_at": claims.exp}
    return await database.fetch_one(SPEND, claims.as_dict() | values) is not None


_successors = revoked_jtis.alias("successors")
FIND_SPENT = select(
    revoked_jtis.c.revoked_at,
    exists().where(_successors.c.jti == bindparam("successor_jti")).label("successor_is_spent"),
    exists().where(_session_goes_on).label("session_goes_on"),
).where(revoked_jtis.c.jti == bindparam("jti"))


async def find_spent(database: Database, claims: Claims, now: float) -> Record | None:
    """What became of a spent refresh token: when, whether its successor is spent too, and
    whether the session still may go on."""
    values = {"successor_jti": successor_jti(claims.jti), "now": now}
    return await database.fetch_one(FIND_SPENT, claims.as_dict() | values)


END = insert(revoked_jtis).on_conflict_do_nothing().returning(revoked_jtis.c.jti)


async def end_session(
    database: Database, sid: str, reason: str, now: float, expires_at: int
) -> None:
    """End every token with this `sid`; to end it again changes nothing."""
    row = {"jti": sid, "reason": reason, "revoked_at": now, "expires_at": expires_at}
    await database.fetch_one(END, row)


_excluded = insert(revoked_jtis).excluded
END_ALL = (
    insert(revoked_jtis)
    .from_select(_row_columns, _new_row.where(~_is_ended("jti", "sid", "key_id")))
    .on_conflict_do_update(
        index_elements=[revoked_jtis.c.jti],
        set_={
            "reason": _excluded.reason,
            "expires_at": _excluded.expires_at,
            "revoked_at": case(
                (_excluded.revoked_at > revoked_jtis.c.revoked_at, _excluded.revoked_at),
                else_=revoked_jtis.c.revoked_at + EPOCH_STEP,
            ),
        },
        where=revoked_jtis.c.revoked_at <= bindparam("epoch"),
    )
    .returning(revoked_jtis.c.revoked_at)
)


async def end_all_sessions(
    database: Database, asked_by: Claims, reason: str, now: float, expires_at: int
) -> bool:
    """Begin a new epoch of the client `asked_by.sub`; False if the token that asks is dead."""
    values = {"row_jti": asked_by.sub, "reason": reason, "now": now, "expires_at": expires_at}
    return await database.fetch_one(END_ALL, asked_by.as_dict() | values) is not None


FIND_EPOCH = select(revoked_jtis.c.revoked_at).where(revoked_jtis.c.jti == bindparam("sub"))


async def find_epoch(database: Database, client_id: str) -> float:
    """When all of the client's sessions were last ended; 0 for never."""
    return float(await database.fetch_val(FIND_EPOCH, {"sub": client_id}) or 0)


PURGE = (
    delete(revoked_jtis)
    .where(
        revoked_jtis.c.jti.in_(
            select(revoked_jtis.c.jti)
            .where(revoked_jtis.c.expires_at < bindparam("before"))
            .limit(bindparam("batch"))
        )
    )
    .returning(revoked_jtis.c.jti)
)


async def purge(database: Database, before: float, batch: int) -> int:
    """Delete at most `batch` rows whose `expires_at` is earlier than `before`; tell how many."""
    return len(await database.fetch_all(PURGE, {"before": before, "batch": batch}))


PING = select(clients.c.id).limit(1)


async def ping(database: Database) -> None:
    """Raises `TemporarilyUnavailable` unless the database answers, and with our tables."""
    await database.fetch_one(PING)


async def create_tables(database: Database) -> None:
    """Make what is missing; what is there is left as it is."""
    for table in metadata.sorted_tables:
        await database.fetch_all(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda index: index.name or ""):
            await database.fetch_all(CreateIndex(index, if_not_exists=True))
