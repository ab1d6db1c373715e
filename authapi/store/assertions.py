"""What a client with a private key asks the database (RFC 7523)."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.engines.database import Database, Row
from authapi.store.revocations import ROW_COLUMNS, row
from authapi.store.sessions import open_logins
from tables import client_keys, identity, revoked_jtis

MAX_KEYS = 20
"""So many of a client's public keys are tried, the newest first: each costs a verification."""
FIND_PUBLIC_KEYS = (
    open_logins.where(client_keys.c.public_key.is_not(None))
    .order_by(client_keys.c.created_at.desc(), client_keys.c.id)
    .limit(MAX_KEYS)
)


async def find_public_keys(database: Database, client_id: str, now: float) -> list[Row]:
    """The open public keys of a client, with what `find_login` finds of a client key."""
    return await database.fetch_all(FIND_PUBLIC_KEYS, {"sub": client_id, "now": int(now)})


_nothing = sa.cast(sa.null(), sa.BigInteger)
_expires_at = sa.cast(sa.bindparam("expires_at"), sa.BigInteger)
# Not `refresh_purged_until`: after a purge by a wrong clock that may be a session's length ahead.
_is_not_purged = sa.exists().where(identity.c.access_purged_until < _expires_at)
SPEND_ASSERTION = (
    insert(revoked_jtis)
    .from_select(ROW_COLUMNS, row(_nothing, _expires_at, _expires_at).where(_is_not_purged))
    .on_conflict_do_nothing()
    .returning(revoked_jtis.c.jti)
)


async def spend(database: Database, jti: str, now: float, expires_at: int) -> bool:
    """Of all attempts, on any node, one gets True; none whose row may have been purged."""
    values = {"ended_id": jti, "reason": "assertion", "ended_by": None, "revoked_at": now}
    spent = await database.fetch_one(SPEND_ASSERTION, values | {"expires_at": expires_at})
    return spent is not None
