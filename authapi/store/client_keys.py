"""The registry of client keys: one coroutine for each thing that is done to them."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from authapi.credentials.assertions import PublicKey
from authapi.credentials.client_keys import ClientKey
from authapi.engines.database import Database, Row
from authapi.store.revocations import end_session, ending_by_operator, mark_registry_changed
from tables import client_keys

NewKey = ClientKey | PublicKey


class KnownKey(Exception):
    """A public key is registered already, or was once."""


key_is_open = sa.and_(
    client_keys.c.revoked_at.is_(None),
    sa.or_(client_keys.c.expires_at.is_(None), client_keys.c.expires_at > sa.bindparam("now")),
)


def is_open(key: Row, now: float) -> bool:
    """As `key_is_open`, of a row that was read."""
    return key["revoked_at"] is None and (key["expires_at"] is None or key["expires_at"] > now)


# The columns are named, so that one that is added later takes its default here.
ADD_KEY = (
    insert(client_keys)
    .values(
        id=sa.bindparam("key_id"),
        client_id=sa.bindparam("sub"),
        digest=sa.bindparam("key_digest"),
        created_at=sa.bindparam("now"),
        expires_at=sa.bindparam("until"),
        public_key=sa.bindparam("public_key"),
        made_by=sa.bindparam("made_by"),
    )
    .on_conflict_do_nothing()
    .returning(client_keys.c.id)
)


async def add_key(
    database: Database,
    client_id: str,
    key: NewKey,
    now: int,
    expires_at: int | None = None,
    made_by: str | None = None,
) -> None:
    """One more key of the client. Nothing is marked: no worker remembers that a key is unknown.

    Raises `KnownKey`.
    """
    row = {"key_id": key.id, "sub": client_id, "key_digest": key.digest, "now": now}
    values = row | {"public_key": key.public_key, "until": expires_at, "made_by": made_by}
    if not await database.fetch_one(ADD_KEY, values):
        raise KnownKey(key.digest)


LIST_KEYS = (
    sa.select(client_keys)
    .where(client_keys.c.client_id == sa.bindparam("sub"))
    .order_by(client_keys.c.created_at, client_keys.c.id)
)


async def list_keys(database: Database, client_id: str) -> list[Row]:
    """The client's keys, the oldest first."""
    return await database.fetch_all(LIST_KEYS, {"sub": client_id})


by_until = sa.case(
    (client_keys.c.expires_at < sa.bindparam("until"), client_keys.c.expires_at),
    else_=sa.bindparam("until"),
)
SHORTEN = (
    sa.update(client_keys)
    .where(client_keys.c.client_id == sa.bindparam("sub"), key_is_open)
    # Set even if unchanged, so that RETURNING also lists keys that expire earlier.
    .values(expires_at=by_until)
    .returning(*client_keys.c)
)


async def rotate_keys(
    database: Database, client_id: str, key: NewKey, now: int, until: int
) -> list[Row]:
    """Add a key, and let those that open end at `until`, unless they end earlier.

    Returns the latter as they are then, the oldest first. Raises `KnownKey`.
    """

    async def rotate() -> list[Row]:
        # First, since it makes other changes of the registry wait: of two rotations at once, the
        # second ends the key of the first.
        await mark_registry_changed(database, now)
        values = {"sub": client_id, "now": now, "until": until}
        old_keys = await database.fetch_all(SHORTEN, values)
        await add_key(database, client_id, key, now)
        return sorted(old_keys, key=lambda row: (row["created_at"], row["id"]))

    return await database.atomically(rotate)


FIND_KEY = sa.select(client_keys).where(client_keys.c.id == sa.bindparam("key_id"))


async def find_key(database: Database, key_id: str) -> Row | None:
    return await database.fetch_one(FIND_KEY, {"key_id": key_id})


FIND_DIGEST = sa.select(client_keys).where(client_keys.c.digest == sa.bindparam("digest"))


async def find_digest(database: Database, digest: str) -> Row | None:
    """The key with this digest, which proves that the caller has the key, not just its id."""
    return await database.fetch_one(FIND_DIGEST, {"digest": digest})


REVOKE = (
    sa.update(client_keys)
    .where(client_keys.c.id == sa.bindparam("key_id"), client_keys.c.revoked_at.is_(None))
    .values(revoked_at=sa.bindparam("now"))
    .returning(client_keys.c.id)
)


async def revoke_keys(database: Database, key_ids: Iterable[str], now: float) -> set[str]:
    """Let the keys open nothing, and end every session that they began: all of them, or none.

    Returns those that were not revoked before.
    """

    async def revoke() -> set[str]:
        await mark_registry_changed(database, now)
        rows: list[Any] = []
        for key_id in key_ids:
            await end_session(database, ending_by_operator(key_id, "revoked", now))
            rows += await database.fetch_all(REVOKE, {"key_id": key_id, "now": int(now)})
        return {row["id"] for row in rows}

    return await database.atomically(revoke)


ADD_USES = (
    sa.update(client_keys)
    .where(client_keys.c.id == sa.bindparam("key_id"))
    .values(
        uses=client_keys.c.uses + sa.bindparam("uses"),
        last_used_at=sa.case(  # another worker may have written a later one
            (client_keys.c.last_used_at > sa.bindparam("used_at"), client_keys.c.last_used_at),
            else_=sa.bindparam("used_at"),
        ),
    )
    .returning(client_keys.c.id)
)


async def add_uses(database: Database, key_id: str, uses: int, used_at: int) -> None:
    """The key was used so many times more, and `used_at` was the last of them."""
    values = {"key_id": key_id, "uses": uses, "used_at": used_at}
    await database.fetch_all(ADD_USES, values)
