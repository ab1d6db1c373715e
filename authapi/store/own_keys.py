"""What a client does with its own keys: signs by them, lists and finds them, makes the next."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.credentials.claims import Claims
from authapi.engines.database import Database, Row
from authapi.errors import InvalidToken
from authapi.store.client_keys import (
    FIND_DIGEST,
    FIND_KEY,
    NewKey,
    add_key,
    by_until,
    is_open,
    key_is_open,
)
from authapi.store.revocations import ROW_COLUMNS, is_ended, mark_registry_changed, row
from authapi.store.sessions import open_logins
from tables import client_keys, clients, identity, revoked_jtis

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


async def spend_assertion(database: Database, jti: str, now: float, expires_at: int) -> bool:
    """Of all attempts, on any node, one gets True; none whose row may have been purged."""
    values = {"ended_id": jti, "reason": "assertion", "ended_by": None, "revoked_at": now}
    spent = await database.fetch_one(SPEND_ASSERTION, values | {"expires_at": expires_at})
    return spent is not None


MAX_LISTED = 100
LIST_OWN_KEYS = (
    sa.select(client_keys)
    .where(client_keys.c.client_id == sa.bindparam("sub"))
    .order_by(~key_is_open, client_keys.c.created_at.desc(), client_keys.c.id.desc())
    .limit(MAX_LISTED)
)


async def list_own_keys(database: Database, client_id: str, now: float) -> list[Row]:
    """The oldest first: no more than a hundred, and of those that open nothing the newest."""
    rows = await database.fetch_all(LIST_OWN_KEYS, {"sub": client_id, "now": int(now)})
    return sorted(rows, key=lambda key: (key["created_at"], key["id"]))


FIND_OWN_KEY = FIND_KEY.where(client_keys.c.client_id == sa.bindparam("sub"))


async def find_own_key(database: Database, client_id: str, key_id: str) -> Row | None:
    """None for another client's, as for one that there is not."""
    return await database.fetch_one(FIND_OWN_KEY, {"sub": client_id, "key_id": key_id})


class TooMany(Exception):
    """The client has as many keys as it may make."""


FIND_OPENER = (
    sa.select(client_keys.c.expires_at)
    .select_from(client_keys.join(clients, clients.c.id == client_keys.c.client_id))
    .where(client_keys.c.id == sa.bindparam("key_id"), clients.c.disabled_at.is_(None), key_is_open)
)
COUNT_KEYS = sa.select(sa.func.count()).where(
    client_keys.c.client_id == sa.bindparam("sub"),
    sa.or_(key_is_open, client_keys.c.created_at > sa.bindparam("after")),
)
SUPERSEDE = (
    sa.update(client_keys)
    .where(
        client_keys.c.client_id == sa.bindparam("sub"),
        client_keys.c.made_by == sa.bindparam("key_id"),
        key_is_open,
    )
    .values(expires_at=by_until)
    .returning(client_keys.c.id)
)


async def make_next_key(
    database: Database, session: Claims, key: NewKey, now: int, overlap: int
) -> Row:
    """Add a key that ends when the one does that opened the session, which stays as it is. Another
    one that the latter has made before ends `overlap` seconds from now. Returns its `id` and
    its `expires_at`; a public key that a repeat brings again is the one that was added, while that
    is open.

    Raises `InvalidToken` unless the session and its key count, `TooMany` if the client has
    `MAX_KEYS` that are open or younger than `overlap`, and `KnownKey`.
    """
    opener = {"sub": session.sub, "key_id": session.key_id, "now": now}

    async def make() -> Row:
        # First, since it makes other changes of the registry wait: a key that is being revoked, of
        # a client that is being disabled, has either made its next key before or makes none.
        await mark_registry_changed(database, now)
        found = await database.fetch_one(FIND_OPENER, opener)
        if found is None or await is_ended(database, session):
            raise InvalidToken("ended key", client=session.sub, session=session.sid)
        known = await database.fetch_one(FIND_DIGEST, {"digest": key.digest})
        if known and known["made_by"] == session.key_id and is_open(known, now):
            return known
        asked = {"sub": session.sub, "now": now, "after": now - overlap}
        if await database.fetch_val(COUNT_KEYS, asked) >= MAX_KEYS:
            raise TooMany
        await database.fetch_all(SUPERSEDE, opener | {"until": now + overlap})
        await add_key(database, session.sub, key, now, found["expires_at"], session.key_id)
        return {"id": key.id, "expires_at": found["expires_at"]}

    return await database.atomically(make)
