"""What who manages asks besides: is an administrator left, who is gone, limits, page by page."""

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from authapi.engines.database import Database, Row
from authapi.store.client_keys import key_is_open
from authapi.store.clients import find_client
from authapi.store.revocations import find_era, mark_registry_changed
from tables import client_keys, clients

Limits = Mapping[str, str | int | None]
"""By the name of each; None is that of all clients."""


class After(NamedTuple):
    """A page goes on past what was made at that time and has that id."""

    created_at: int
    id: str


BEGINNING = After(-1, "")
_after = sa.tuple_(sa.bindparam("after_at", type_=sa.BigInteger), sa.bindparam("after_id"))
_past_clients = sa.tuple_(clients.c.created_at, clients.c.id) > _after
_past_keys = sa.tuple_(client_keys.c.created_at, client_keys.c.id) > _after
_their_keys = client_keys.c.client_id == clients.c.id


def _has_scope(scope: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Not by LIKE, to which on SQLite `A` is `a`."""
    padded = sa.literal(" ") + clients.c.scopes + sa.literal(" ")
    return sa.func.replace(padded, sa.literal(" ") + scope + sa.literal(" "), "") != padded


_name, _scope = (sa.cast(sa.bindparam(each), sa.String) for each in ("client_name", "scope"))
_one: sa.ColumnElement[int] = sa.literal_column("1", sa.Integer)
_disabled = sa.cast(sa.bindparam("disabled"), sa.Integer)
PAGE_CLIENTS = (
    sa.select(
        *clients.c,
        sa.select(sa.func.count())
        .where(_their_keys, key_is_open)
        .scalar_subquery()
        .label("open_keys"),
        sa.select(sa.func.max(client_keys.c.last_used_at))
        .where(_their_keys)
        .scalar_subquery()
        .label("last_used_at"),
    )
    .where(
        _past_clients,
        sa.or_(_name.is_(None), clients.c.name == _name),
        sa.or_(_scope.is_(None), _has_scope(_scope)),
        sa.or_(_disabled.is_(None), clients.c.disabled_at.is_not(None) == (_disabled == _one)),
    )
    .order_by(clients.c.created_at, clients.c.id)
    .limit(sa.bindparam("most"))
)


async def page_clients(
    database: Database,
    now: float,
    after: After,
    limit: int,
    name: str | None = None,
    scope: str | None = None,
    disabled: bool | None = None,
) -> list[Row]:
    """The clients past `after` that are as asked, the oldest first: with how many of their keys
    open something, and with when any of them was used last."""
    values = {"after_at": after.created_at, "after_id": after.id, "most": limit, "now": int(now)}
    asked = {"client_name": name, "scope": scope}
    disabled_as_number = None if disabled is None else int(disabled)
    return await database.fetch_all(PAGE_CLIENTS, values | asked | {"disabled": disabled_as_number})


PAGE_KEYS = (
    sa.select(client_keys)
    .where(client_keys.c.client_id == sa.bindparam("sub"), _past_keys)
    .order_by(client_keys.c.created_at, client_keys.c.id)
    .limit(sa.bindparam("most"))
)


async def page_keys(database: Database, client_id: str, after: After, limit: int) -> list[Row]:
    """The client's keys past `after`, the oldest first."""
    values = {"sub": client_id, "after_at": after.created_at, "after_id": after.id}
    return await database.fetch_all(PAGE_KEYS, values | {"most": limit})


ADMINISTERS = "admin:write"
"""The scope of who changes clients and keys."""
LASTING_SECONDS = 86_400
"""A key that ends sooner keeps nobody in, nor does a public key that never logged in: nobody may
have its other half."""
_stays_open = sa.and_(
    _their_keys,
    key_is_open,
    sa.or_(client_keys.c.public_key.is_(None), client_keys.c.uses > sa.literal_column("0")),
)
COUNT_ADMINISTRATORS = (
    sa.select(sa.func.count())
    .select_from(clients)
    .where(clients.c.disabled_at.is_(None), _has_scope(_scope), sa.exists().where(_stays_open))
)


async def count_administrators(database: Database, now: float) -> int:
    """The clients that may log in and manage, today and tomorrow."""
    values = {"scope": ADMINISTERS, "now": int(now) + LASTING_SECONDS - 1}
    return int(await database.fetch_val(COUNT_ADMINISTRATORS, values))


UNLIMITED = {"login_limit": None, "session_limit": None}
SET_LIMITS = (
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("sub"))
    .values(login_limit=sa.bindparam("login_limit"), session_limit=sa.bindparam("session_limit"))
    .returning(clients.c.id)
)


async def set_limits(database: Database, client: Row, changes: Limits, now: float) -> None:
    """What the next logins of a client are judged by: `login_limit`, `session_limit` or both."""

    async def change() -> None:
        await mark_registry_changed(database, now)
        limits = {name: client[name] for name in UNLIMITED} | dict(changes)
        await database.fetch_one(SET_LIMITS, {"sub": client["id"]} | limits)

    await database.atomically(change)


DELETE_KEYS = (
    sa.delete(client_keys)
    .where(client_keys.c.client_id == sa.bindparam("sub"))
    .returning(client_keys.c.id)
)
DELETE_CLIENT = (
    sa.delete(clients).where(clients.c.id == sa.bindparam("sub")).returning(clients.c.id)
)


async def delete_rows(database: Database, client_id: str) -> None:
    """For a transaction."""
    await database.fetch_all(DELETE_KEYS, {"sub": client_id})
    await database.fetch_all(DELETE_CLIENT, {"sub": client_id})


async def delete_client(database: Database, client_id: str, era: float, now: float) -> bool:
    """Remove a disabled client and its keys. False, and nothing is changed, if it is not disabled
    any more, or all of its sessions were ended again since `era`."""

    async def delete() -> bool:
        await mark_registry_changed(database, now)
        client = await find_client(database, client_id)
        if not client or not client["disabled_at"] or await era_of(database, client_id) != era:
            return False
        await delete_rows(database, client_id)
        return True

    return await database.atomically(delete)


async def era_of(database: Database, client_id: str) -> float:
    """When all of the client's sessions were last ended; 0 if they never were."""
    era = await find_era(database, client_id)
    return era["revoked_at"] if era else 0
