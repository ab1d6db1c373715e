"""What a session asks the database: one coroutine and one constant statement for each question."""

from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.credentials.claims import MAX_ACCESS_SECONDS, Claims, successor_jti
from authapi.engines.database import Database, Row
from authapi.store.client_keys import key_is_open
from authapi.store.revocations import ROW_COLUMNS, is_ended_by, row
from tables import client_keys, clients, counted_sessions, identity, revoked_jtis

_session_goes_on = sa.and_(
    clients.c.id == sa.bindparam("sub"),
    client_keys.c.id == sa.bindparam("key_id"),
    client_keys.c.client_id == clients.c.id,
    clients.c.disabled_at.is_(None),
    key_is_open,
    ~is_ended_by("sid", "key_id", purged_until=identity.c.refresh_purged_until),
)
_key = sa.select(client_keys.c.expires_at).where(client_keys.c.id == sa.bindparam("key_id"))
_key_expires_at = _key.scalar_subquery().label("key_expires_at")
_asked = sa.select(sa.cast(sa.bindparam("digest"), sa.String).label("digest")).subquery()
_eras = revoked_jtis.alias("eras")
_client_id = sa.func.coalesce(client_keys.c.client_id, _asked.c.digest)
FIND_LOGIN = sa.select(
    clients.c.id.is_not(None).label("is_known"),
    _client_id.label("id"),
    sa.func.coalesce(clients.c.scopes, "").label("scopes"),
    clients.c.disabled_at,
    sa.func.coalesce(client_keys.c.id, _asked.c.digest).label("key_id"),
    client_keys.c.expires_at,
    client_keys.c.revoked_at,
    clients.c.login_limit,
    clients.c.session_limit,
    sa.func.coalesce(_eras.c.revoked_at, 0).label("era"),
).select_from(
    _asked.outerjoin(client_keys, client_keys.c.digest == _asked.c.digest)
    .outerjoin(clients, clients.c.id == _client_id)
    .outerjoin(_eras, _eras.c.jti == _client_id)
)


async def find_login(database: Database, digest: str) -> Row:
    """The key, its client and the client's era, if the key `is_known`.

    The caller judges whether it opens. An unknown one is looked up in every table too, and has as
    many texts: otherwise the time of the answer would tell why a key does not open.
    """
    row = await database.fetch_one(FIND_LOGIN, {"digest": digest})
    return cast(Row, row)  # a row without conditions is always there


open_logins = (
    sa.select(
        clients.c.id,
        clients.c.scopes,
        clients.c.disabled_at,
        client_keys.c.id.label("key_id"),
        client_keys.c.public_key,
        client_keys.c.expires_at,
        clients.c.login_limit,
        clients.c.session_limit,
        sa.func.coalesce(_eras.c.revoked_at, 0).label("era"),
    )
    .select_from(
        clients.join(client_keys, client_keys.c.client_id == clients.c.id).outerjoin(
            _eras, _eras.c.jti == clients.c.id
        )
    )
    .where(clients.c.id == sa.bindparam("sub"), key_is_open)
)
"""By each open key of a client, what `find_login` finds of a client key."""
FIND_OWN_LOGIN = (
    open_logins.where(clients.c.disabled_at.is_(None))
    # By the key that lasts the longest, since sessions end with it.
    .order_by(
        client_keys.c.expires_at.is_not(None), client_keys.c.expires_at.desc(), client_keys.c.id
    )
    .limit(1)
)


async def find_own_login(database: Database, client_id: str, now: float) -> Row | None:
    """What `find_login` finds, of a client that a route of somebody's own has authenticated: by
    one of its open keys, and nothing if it has none or is disabled."""
    return await database.fetch_one(FIND_OWN_LOGIN, {"sub": client_id, "now": int(now)})


_nothing = sa.cast(sa.null(), sa.BigInteger)
_spent_row = row(_nothing, _nothing, sa.cast(sa.bindparam("expires_at"), sa.BigInteger))
SPEND = (
    insert(revoked_jtis)
    .from_select(ROW_COLUMNS, _spent_row.where(_session_goes_on))
    .on_conflict_do_nothing()
    .returning(revoked_jtis.c.revoked_at, _key_expires_at)
)


async def spend(database: Database, claims: Claims, now: float) -> Row | None:
    """Spend a refresh token. Of all attempts, on any node, one gets a row."""
    values = {"ended_id": claims.jti, "reason": "spent", "ended_by": None, "revoked_at": now}
    values |= {"expires_at": claims.exp, "now": now}
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


async def find_spent(database: Database, claims: Claims, now: float) -> Row | None:
    """When a refresh token was spent, whether its successor is spent too, and whether the session
    may still go on."""
    values = {"successor_jti": successor_jti(claims.jti), "now": now}
    return await database.fetch_one(FIND_SPENT, claims._asdict() | values)


# Those who begin a session at the same time wait here; to add a key does not.
LOCK_CLIENT = (
    sa.select(clients.c.id)
    .where(clients.c.id == sa.bindparam("sub"))
    .with_for_update(key_share=True)
)
FORGET_ENDED = (
    sa.delete(counted_sessions)
    .where(
        counted_sessions.c.client_id == sa.bindparam("sub"),
        sa.or_(
            counted_sessions.c.expires_at <= sa.bindparam("now"),
            sa.exists().where(
                revoked_jtis.c.jti.in_([counted_sessions.c.sid, counted_sessions.c.key_id])
            ),
            # Refreshed no more since then, so that its last access token is over, too.
            sa.exists().where(
                client_keys.c.id == counted_sessions.c.key_id,
                client_keys.c.expires_at <= sa.bindparam("key_ended_by"),
            ),
            sa.exists().where(
                revoked_jtis.c.jti == counted_sessions.c.client_id,
                revoked_jtis.c.revoked_at > counted_sessions.c.era,
            ),
        ),
    )
    .returning(counted_sessions.c.sid)
)
COUNT_SESSIONS = sa.select(
    sa.func.count().label("total"), sa.func.min(counted_sessions.c.expires_at).label("first_end")
).where(counted_sessions.c.client_id == sa.bindparam("sub"))
COUNTED = ("sid", "sub", "key_id", "era", "exp")
COUNT_IN = (
    insert(counted_sessions)
    .values(
        sid=sa.bindparam("sid"),
        client_id=sa.bindparam("sub"),
        key_id=sa.bindparam("key_id"),
        era=sa.bindparam("era"),
        expires_at=sa.bindparam("exp"),
    )
    .returning(counted_sessions.c.sid)
)


async def count_in(database: Database, session: Claims, most: int, now: int) -> int | None:
    """Count a session among those of its client that live, of which there may be so many at once.
    None if it is one of them; else it is not counted, and this is when the first of them ends."""
    values = session._asdict()

    async def count() -> int | None:
        await database.fetch_one(LOCK_CLIENT, {"sub": session.sub})
        ended = {"sub": session.sub, "now": now, "key_ended_by": now - MAX_ACCESS_SECONDS}
        await database.fetch_all(FORGET_ENDED, ended)
        living = await database.fetch_one(COUNT_SESSIONS, {"sub": session.sub})
        if living and living["total"] >= most:
            first_end: int = living["first_end"]
            return first_end
        await database.fetch_one(COUNT_IN, {name: values[name] for name in COUNTED})
        return None

    return await database.atomically(count)
