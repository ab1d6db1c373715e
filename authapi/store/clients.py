"""The registry of clients: one coroutine for each thing that an operator does."""

import re
from collections.abc import Awaitable, Callable
from unicodedata import is_normalized

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.credentials.scopes import is_within
from authapi.engines.database import Database, Row
from authapi.store.client_keys import NewKey, add_key
from authapi.store.revocations import end_client, ending_by_operator, mark_registry_changed
from tables import clients

_others = clients.alias("others")
FIND_CLIENT = sa.select(clients).where(clients.c.id == sa.bindparam("sub"))


async def find_client(database: Database, client_id: str) -> Row | None:
    return await database.fetch_one(FIND_CLIENT, {"sub": client_id})


FIND_NAMED = (
    sa.select(clients)
    .where(sa.or_(clients.c.id == sa.bindparam("text"), clients.c.name == sa.bindparam("text")))
    .order_by(clients.c.id != sa.bindparam("text"))  # an id comes before a name
    .limit(1)
)


async def find_named(database: Database, name_or_id: str) -> Row | None:
    return await database.fetch_one(FIND_NAMED, {"text": name_or_id})


COUNT_CLIENTS = sa.select(sa.func.count()).select_from(clients)


async def count_clients(database: Database) -> int:
    return int(await database.fetch_val(COUNT_CLIENTS))


# The columns are named, so that one that is added later takes its default here.
ADD_CLIENT = (
    insert(clients)
    .values(
        id=sa.bindparam("sub"),
        name=sa.bindparam("client_name"),
        scopes=sa.bindparam("granted"),
        created_at=sa.bindparam("now"),
        metadata=sa.bindparam("noted"),
    )
    .on_conflict_do_nothing()
    .returning(clients.c.id)
)


_ID = re.compile("[0-9a-f]{20}")
_INVISIBLE = re.compile(  # printable to Python: Default_Ignorable_Code_Point, and the empty Braille
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_name(text: str) -> bool:
    """Whether a client may be called so: nobody takes it for an id, an option or another name."""
    is_plain = text.isprintable() and text.strip() == text and 1 <= len(text) <= 100
    misleads = text.startswith("-") or _ID.fullmatch(text) or _INVISIBLE.search(text)
    return is_plain and not misleads and is_normalized("NFC", text)


async def create_client(
    database: Database,
    client_id: str,
    name: str,
    key: NewKey,
    now: int,
    scopes: str = "",
    also: Callable[[], Awaitable[object]] | None = None,
    metadata: str = "{}",
) -> bool:
    """False, and nothing is changed, if the name is taken. `also` is done in the same transaction.
    Raises `KnownKey`."""
    client = {"sub": client_id, "client_name": name, "granted": scopes, "now": now}
    client["noted"] = metadata

    async def create() -> bool:
        is_new = await database.fetch_one(ADD_CLIENT, client) is not None
        if is_new:
            await add_key(database, client_id, key, now)
            if also is not None:
                await also()
        return is_new

    return await database.atomically(create)


SET_SCOPES = (
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("sub"))
    .values(scopes=sa.bindparam("granted"))
    .returning(clients.c.id)
)


async def set_scopes(
    database: Database, client_id: str, scopes: str, may_end: bool, now: float
) -> str | None:
    """What its next login may have; returns what that was before.

    To take a scope away ends the client's sessions. Where that `may_end` none, it changes nothing
    and returns None.
    """

    async def change() -> str | None:
        await mark_registry_changed(database, now)  # first, since it makes another such change wait
        client = await database.fetch_one(FIND_CLIENT, {"sub": client_id})
        former: str = client["scopes"] if client else ""
        takes_away = not is_within(former.split(), scopes)
        if takes_away and not may_end:
            return None
        await database.fetch_one(SET_SCOPES, {"sub": client_id, "granted": scopes})
        if takes_away:
            await end_client(database, ending_by_operator(client_id, "scopes", now))
        return former

    return await database.atomically(change)


RENAME = (
    sa.update(clients)
    .where(
        clients.c.id == sa.bindparam("sub"),
        ~sa.exists().where(
            _others.c.name == sa.bindparam("client_name"), _others.c.id != sa.bindparam("sub")
        ),
    )
    .values(name=sa.bindparam("client_name"))
    .returning(clients.c.id)
)


async def rename_client(database: Database, client_id: str, name: str, now: float) -> bool:
    """False, and nothing is changed, if the name is taken."""

    async def rename() -> bool:
        await mark_registry_changed(database, now)
        values = {"sub": client_id, "client_name": name}
        return await database.fetch_one(RENAME, values) is not None

    return await database.atomically(rename)


NOTE = (
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("sub"))
    .values(metadata=sa.bindparam("noted"))
    .returning(clients.c.id)
)


async def note_metadata(database: Database, client_id: str, metadata: str) -> None:
    """Replace what is noted of the client. Nothing is marked: no worker remembers it."""
    await database.fetch_one(NOTE, {"sub": client_id, "noted": metadata})


DISABLE = (
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("sub"))
    .values(disabled_at=sa.func.coalesce(clients.c.disabled_at, sa.bindparam("now")))
    .returning(clients.c.id)
)


async def disable_client(database: Database, client_id: str, now: float) -> None:
    """Let the client in no more, and end every session that it has."""

    async def disable() -> None:
        await database.fetch_one(DISABLE, {"sub": client_id, "now": int(now)})
        await end_client(database, ending_by_operator(client_id, "disabled", now))
        await mark_registry_changed(database, now)

    await database.atomically(disable)


ENABLE = (
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("sub"))
    .values(disabled_at=None)
    .returning(clients.c.id)
)


async def enable_client(database: Database, client_id: str, now: float) -> None:
    """Let the client in again; the sessions that it had stay ended."""

    async def enable() -> None:
        await database.fetch_one(ENABLE, {"sub": client_id})
        await mark_registry_changed(database, now)

    await database.atomically(enable)
