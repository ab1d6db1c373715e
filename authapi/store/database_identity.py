"""Which database this is, and what a purge of it makes it refuse: the one row of `identity`."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.engines.database import Database
from authapi.store.revocations import REGISTRY_VERSION, greater
from tables import identity, revoked_jtis

_newest_number = (
    sa.select(sa.func.max(revoked_jtis.c.commit_order))
    .where(revoked_jtis.c.commit_order.is_not(None))
    .scalar_subquery()
)
is_over = sa.and_(
    revoked_jtis.c.expires_at < sa.bindparam("before"),
    # The greatest number stays, since on SQLite the next one follows from it.
    sa.or_(
        revoked_jtis.c.commit_order.is_(None),
        revoked_jtis.c.commit_order < _newest_number,
    ),
)
PURGE = (
    sa.delete(revoked_jtis)
    .where(
        revoked_jtis.c.jti.in_(
            sa.select(revoked_jtis.c.jti).where(is_over).limit(sa.bindparam("batch"))
        ),
        # Once more: on PostgreSQL a row may have been renewed while this waited for it.
        revoked_jtis.c.expires_at < sa.bindparam("before"),
    )
    .returning(revoked_jtis.c.jti, revoked_jtis.c.expires_at, revoked_jtis.c.access_expires_at)
)
REMEMBER_PURGE = (
    sa.update(identity)
    .values(
        {
            column: greater(column, sa.bindparam(f"{column.name}_now"))
            for column in (identity.c.access_purged_until, identity.c.refresh_purged_until)
        }
    )
    .returning(identity.c.singleton)
)


async def purge(database: Database, before: int, batch: int, margin_seconds: int) -> int:
    """Delete at most `batch` rows whose `expires_at` is before `before`, and return how many.

    From then on every token is refused that they may have ended, whatever a clock shows: each whose
    `exp` is up to `margin_seconds` later than the row says.
    """

    nothing = {"access_purged_until_now": 0, "refresh_purged_until_now": 0}

    async def delete() -> int:
        # First, so that a transaction that ends something waits here, and not for one of the rows
        # while it holds the identity.
        await database.fetch_all(REMEMBER_PURGE, nothing)
        rows = await database.fetch_all(PURGE, {"before": before, "batch": batch})
        if ended := [row for row in rows if row["jti"] != REGISTRY_VERSION]:
            until = {
                "access_purged_until_now": max(row["access_expires_at"] or 0 for row in ended),
                "refresh_purged_until_now": max(row["expires_at"] for row in ended),
            }
            await database.fetch_all(
                REMEMBER_PURGE, {name: at + margin_seconds for name, at in until.items()}
            )
        return len(rows)

    # After a power loss the rows are there again, and the purge with them is to be done.
    return await database.atomically(delete, is_durable=False)


_identity = insert(identity)
CHANGE_IDENTITY = _identity.on_conflict_do_update(
    index_elements=[identity.c.singleton],
    set_={
        column.name: _identity.excluded[column.name]
        for column in identity.c
        if column is not identity.c.singleton
    },
).returning(identity.c.database_id)


async def change_identity(database: Database, database_id: str, now: int) -> None:
    """Make it another database: every token that was issued so far is dead."""
    values = {"singleton": 1, "database_id": database_id, "created_at": now}
    values |= {"access_purged_until": 0, "refresh_purged_until": 0, "issued_until": 0}
    await database.fetch_one(CHANGE_IDENTITY, values)


RAISE_ISSUED_UNTIL = (
    sa.update(identity)
    .where(
        identity.c.database_id == sa.bindparam("expected_id"),
        identity.c.issued_until < sa.bindparam("until"),
    )
    .values(issued_until=sa.bindparam("until"))
    .returning(identity.c.issued_until)
)


async def raise_issued_until(database: Database, database_id: str, until: int) -> None:
    """From now on tokens may be issued until then; does nothing if this is another database."""
    await database.fetch_all(RAISE_ISSUED_UNTIL, {"expected_id": database_id, "until": until})
