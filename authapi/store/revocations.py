"""What ends tokens: one coroutine and one constant statement for each question about it."""

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.credentials.claims import MAX_ACCESS_SECONDS, MAX_SESSION_SECONDS, Claims
from authapi.engines.database import Database, Row
from authapi.engines.statements import NextCommit
from authapi.store.following import Ended
from tables import identity, revoked_jtis

ERA_STEP = 0.001
"""Seconds between two eras of a client, should a clock stand still or go back."""


class Ending(NamedTuple):
    """Asks for a row of `revoked_jtis` that ends every token with an id: of a session, a key or a
    client.

    `access_seconds` and `session_seconds` are how long tokens live. The row is kept for as long as
    those that were issued by `revoked_at`, or until the identity's `issued_until` if that is later.
    `shown_exp` is of the access token that asks for it, if one does: it may have been issued for
    longer than tokens are now. `ended_by` is the session that ends all of its client's.
    """

    ended_id: str
    reason: str
    revoked_at: float
    access_seconds: int
    session_seconds: int
    shown_exp: int = 0
    ended_by: str | None = None

    def ended(self) -> Ended:
        """What is ended, without regard to `issued_until`."""
        by_now = int(self.revoked_at) + self.access_seconds
        return Ended(self.ended_id, self.revoked_at, max(by_now, self.shown_exp))

    def values(self) -> dict[str, Any]:
        """For the statements here."""
        access_expires_at = self.ended().access_expires_at
        expires_at = int(self.revoked_at) + self.session_seconds
        return self._asdict() | {"access_expires_at": access_expires_at, "expires_at": expires_at}


def ending_by_operator(ended_id: str, reason: str, now: float) -> Ending:
    """For all that was issued by now, by servers whose settings may differ from the operator's."""
    return Ending(ended_id, reason, now, MAX_ACCESS_SECONDS, MAX_SESSION_SECONDS)


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
    "jti", "reason", "ended_by", "revoked_at", "access_expires_at", "expires_at", "commit_order"
]  # fmt: skip


def row(
    commit_order: sa.ColumnElement[int],
    access_expires_at: sa.ColumnElement[int],
    expires_at: sa.ColumnElement[int],
) -> sa.Select[Any]:
    """A row to insert where a condition holds; PostgreSQL needs the types."""
    return sa.select(
        sa.cast(sa.bindparam("ended_id"), sa.String),
        sa.cast(sa.bindparam("reason"), sa.String),
        sa.cast(sa.bindparam("ended_by"), sa.String),
        sa.cast(sa.bindparam("revoked_at"), sa.Double),
        access_expires_at,
        expires_at,
        commit_order,
    )


def greater(one: sa.ColumnElement[Any], other: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((one > other, one), else_=other)


def _for_all_issued(name: str, lives: str) -> sa.ColumnElement[int]:
    """The time given, or if later that at which the last token that may have been issued ends."""
    # With a shared lock on PostgreSQL: until this is committed, `issued_until` cannot be raised by
    # a worker that would not see this yet. SQLite has one writer at a time.
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
    """Whether the token, its session, its key or its client's era is over."""
    return bool(await database.fetch_val(IS_ENDED, claims._asdict()))


_end = insert(revoked_jtis).from_select(ROW_COLUMNS, _row.where(sa.true()))
END = _end.on_conflict_do_nothing().returning(
    revoked_jtis.c.revoked_at, revoked_jtis.c.access_expires_at
)


async def end_session(database: Database, ending: Ending) -> Ended:
    """End every token with this `sid`, once. Returns what was written."""
    written = await database.fetch_one(END, ending.values())
    return Ended(ending.ended_id, **written) if written else ending.ended()


_excluded = insert(revoked_jtis).excluded
REGISTRY_VERSION = "registry"
"""The one id that ends no token, but what workers have cached of clients and their keys."""
MARK_REGISTRY_CHANGED = _end.on_conflict_do_update(
    index_elements=[revoked_jtis.c.jti],
    set_={
        name: _excluded[name]
        for name in ("revoked_at", "access_expires_at", "expires_at", "commit_order")
    },
).returning(revoked_jtis.c.jti)


async def mark_registry_changed(database: Database, now: float) -> None:
    """Let every worker read again what it has cached of clients and keys. For the transaction of a
    change, so that whatever reads this sees the change."""
    change = Ending(REGISTRY_VERSION, "changed", now, access_seconds=0, session_seconds=0)
    await database.fetch_one(MARK_REGISTRY_CHANGED, change.values())


_later_era = {
    "reason": _excluded.reason,
    "ended_by": _excluded.ended_by,
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


async def end_all_sessions(database: Database, asked_by: Claims, ending: Ending) -> Ended | None:
    """Begin a new era of the client `asked_by.sub`. Returns what was written; None if the token
    that asks does not count."""
    written = await database.fetch_one(END_ALL, asked_by._asdict() | ending.values())
    return Ended(ending.ended_id, **written) if written else None


END_CLIENT = _end.on_conflict_do_update(
    index_elements=[revoked_jtis.c.jti], set_=_later_era
).returning(revoked_jtis.c.revoked_at)


async def end_client(database: Database, ending: Ending) -> None:
    """Begin a new era of a client for an operator, who needs no token."""
    await database.fetch_one(END_CLIENT, ending.values())


FIND_ERA = sa.select(revoked_jtis.c.revoked_at, revoked_jtis.c.ended_by).where(
    revoked_jtis.c.jti == sa.bindparam("sub")
)


async def find_era(database: Database, client_id: str) -> Row | None:
    """When all of the client's sessions were last ended (`revoked_at`), and by which of them."""
    return await database.fetch_one(FIND_ERA, {"sub": client_id})
