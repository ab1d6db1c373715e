"""What `/readyz` and operators want to know of a database, one coroutine each; nothing changes."""

from typing import Any

import sqlalchemy as sa

from authapi.engines.database import Database, Row
from authapi.store.client_keys import key_is_open
from authapi.store.database_identity import is_over
from authapi.store.revocations import REGISTRY_VERSION
from tables import client_keys, clients, identity, revoked_jtis

PING = sa.select(clients.c.id).limit(1)
PING_SECONDS = 1.5


async def ping(database: Database) -> None:
    """Raises `TemporarilyUnavailable` unless the database answers, and with our tables; and, after
    something could not be written, until something can."""
    await database.ask(PING, {}, PING_SECONDS)
    if database.is_unwritable:
        await try_to_write(database)


TIME = {
    "sqlite": sa.select(sa.cast(sa.null(), sa.Double)),
    "postgresql": sa.select(sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Double)),
}


async def read_clock(database: Database) -> float | None:
    """The time of the database; None for SQLite, which has no clock but ours."""
    time: float | None = await database.fetch_val(TIME[database.url.dialect])
    return time


NEWEST = sa.select(sa.func.max(revoked_jtis.c.revoked_at)).where(
    revoked_jtis.c.commit_order.is_not(None)
)


async def newest_row(database: Database) -> float | None:
    """When what was ended last was ended, by the clock of who did it; None if nothing was."""
    revoked_at: float | None = await database.fetch_val(NEWEST)
    return revoked_at


IDENTITY = sa.select(identity)


async def find_identity(database: Database) -> Row | None:
    """The `database_id`, since when it has been that (`created_at`), and what counts no more."""
    return await database.fetch_one(IDENTITY)


OLDEST_WRITER = sa.text("""
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - began)), 0)
FROM (SELECT xact_start AS began FROM pg_stat_activity WHERE backend_xid IS NOT NULL
      UNION ALL SELECT prepared FROM pg_prepared_xacts) AS writers
""")


async def oldest_writer(database: Database) -> float:
    """For how many seconds a transaction that writes has been open on this PostgreSQL, in any of
    its databases, as far as our user may see."""
    return float(await database.fetch_val(OLDEST_WRITER))


FUTURE = sa.text("""
SELECT count(*) FROM revoked_jtis
WHERE commit_order >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)
""")


async def count_future(database: Database) -> int:
    """The rows with transaction numbers that this PostgreSQL has not given out yet."""
    return int(await database.fetch_val(FUTURE))


TO_AND_FRO = [
    sa.update(identity).values(created_at=identity.c.created_at + step) for step in (1, -1)
]
"""Nothing is changed, but it is written and committed: a full disk is noticed by nothing less."""


async def try_to_write(database: Database) -> None:
    """Raises `TemporarilyUnavailable` where nothing can be written: a full disk, no right to."""

    async def write() -> None:
        for statement in TO_AND_FRO:
            await database.fetch_all(statement)

    async with database.reached(PING_SECONDS):
        await database.atomically(write)


_keyed = (
    sa.select(
        clients.c.name,
        clients.c.disabled_at,
        sa.func.count(client_keys.c.id).label("open_keys"),
        sa.func.min(client_keys.c.created_at).label("oldest"),
    )
    .select_from(
        clients.outerjoin(
            client_keys, sa.and_(client_keys.c.client_id == clients.c.id, key_is_open)
        )
    )
    .group_by(clients.c.id, clients.c.name, clients.c.disabled_at)
    .subquery()
)
_enabled = _keyed.c.disabled_at.is_(None)
SHOWN = 5
Kind = sa.Select[Any]
"""A kind of clients: those that it selects."""


def _named(*conditions: sa.ColumnElement[bool]) -> Kind:
    names = sa.select(_keyed.c.name, sa.func.count().over().label("total"))
    return names.where(*conditions).order_by(_keyed.c.name).limit(SHOWN)


ENABLED = _named(_enabled)
DEMO = _named(_enabled, _keyed.c.name == sa.bindparam("demo"))
WITH_OLD_KEY = _named(_enabled, _keyed.c.oldest < sa.bindparam("old"))
WITHOUT_KEY = _named(_enabled, _keyed.c.open_keys == 0)
DISABLED_WITH_KEY = _named(~_enabled, _keyed.c.open_keys > 0)


async def find_clients(
    database: Database, kind: Kind, now: float, old: float, demo: str
) -> tuple[int, list[str]]:
    """How many clients there are of this kind, and the first of their names. Only keys that open
    something count; one made before `old` is an old one."""
    rows = await database.fetch_all(kind, {"now": int(now), "old": int(old), "demo": demo})
    return (rows[0]["total"] if rows else 0), [row["name"] for row in rows]


def _count(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(revoked_jtis).where(*conditions)


EXPIRED = _count(is_over)


async def count_expired(database: Database, before: float) -> int:
    """The rows that ended nothing any more `before` then, and were not purged."""
    return int(await database.fetch_val(EXPIRED, {"before": int(before)}))


ENDED = _count(
    revoked_jtis.c.commit_order.is_not(None),  # else it is a spent refresh token
    revoked_jtis.c.jti != REGISTRY_VERSION,
    revoked_jtis.c.revoked_at >= sa.bindparam("after"),
    revoked_jtis.c.revoked_at < sa.bindparam("before"),
)


async def count_ended(database: Database, after: float, before: float) -> int:
    """Sessions that were ended between two times; all the sessions of a client count as one."""
    return int(await database.fetch_val(ENDED, {"after": after, "before": before}))
