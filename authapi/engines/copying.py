"""Copies every row into an empty database, on either engine, and compares what has arrived.

The source is read in one snapshot, which on SQLite keeps writers out. The target is written in
one transaction, and committed when both have been compared: else it is left without rows.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from authapi.engines import schema
from authapi.engines.database import Database, Row
from authapi.engines.sqlite_files import AlreadyServed, server_lock
from authapi.engines.statements import NextCommit
from tables import identity, metadata

COPIED_AT_ONCE = 500
"""Rows held in memory at a time; SQLite takes no more than 32,766 values in a statement."""
NUMBER = sa.select(sa.select(NextCommit().label("number")).subquery().c.number)
Values = dict[str, Any]


class CopyRefused(Exception):
    """The target has no new rows; the message says why."""


async def copy(source: Database, target: Database) -> dict[str, int]:
    """Copy from the connected `source`; return how many rows each table has.

    The target gets the identity of the source, so that sessions go on.

    Raises `CopyRefused`, and what the databases raise.
    """
    if source.url == target.url:
        raise CopyRefused("The target is the source itself.")
    with ExitStack() as stack:
        for database in (source, target):
            if database.is_sqlite:
                stack.enter_context(_without_server(database.url.database))
        await schema.upgrade(target)
        async with (
            target,
            source.transaction(isolation="repeatable_read", readonly=True),
            target.transaction(),
        ):
            await _demand_empty(target)
            await target.fetch_all(sa.delete(identity))  # it becomes the same database
            counts = {table.name: await _fill(source, target, table) for table in _tables()}
            for table in _tables():
                await _compare(source, target, table, counts[table.name])
    del counts[identity.name]
    return counts


@contextmanager
def _without_server(file: str) -> Iterator[None]:
    """No server has the file, and none gets it meanwhile."""
    try:
        with server_lock(file, alone=True):
            yield
    except AlreadyServed:
        raise CopyRefused(
            f"A server serves {file}. Stop it first: what it writes meanwhile would be lost."
        ) from None


def _tables() -> list[sa.Table]:
    """Each after those that its rows refer to."""
    return metadata.sorted_tables


async def _demand_empty(target: Database) -> None:
    for table in set(_tables()) - {identity}:
        if await target.fetch_all(sa.select(_key(table)).limit(1)):
            raise CopyRefused(f"The target has rows in {table.name}; it must be empty.")


async def _fill(source: Database, target: Database, table: sa.Table) -> int:
    """Insert every row, and return how many there were.

    What orders commits on one engine means nothing on the other. So the target gets a number of
    its own, of this very transaction: a server that starts later loads all of these rows, and
    whatever is committed later comes after them.
    """
    number, total = await target.fetch_val(NUMBER), 0
    async for rows in _batches(source, table):
        values: Values = {}
        for place, row in enumerate(rows):
            if row.get("commit_order") is not None:
                row["commit_order"] = number
            values |= {f"{name}_{place}": value for name, value in row.items()}
        await target.fetch_all(_insert(table, len(rows)), values)
        total += len(rows)
    return total


async def _compare(source: Database, target: Database, table: sa.Table, total: int) -> None:
    """Raises `CopyRefused` unless both have the same rows, and `total` of them.

    They are looked up by their keys, since each engine has an order of its own for texts.
    """
    key = _key(table).name
    counts = [await database.fetch_val(_count(table)) for database in (source, target)]
    same = counts == [total, total]
    async for rows in _batches(source, table):
        # The last batch is filled up with a key of its own, so that one statement serves for all.
        keys = [row[key] for row in rows] + [rows[-1][key]] * (COPIED_AT_ONCE - len(rows))
        values = {f"key_{place}": value for place, value in enumerate(keys)}
        arrived = await target.fetch_all(_look_up(table), values)
        found = {row[key]: _comparable(row) for row in arrived}
        same &= all(found.get(row[key]) == _comparable(row) for row in rows)
    if not same:
        raise CopyRefused(
            f"What arrived in {table.name} differs from the source; the target was left empty."
        )


def _comparable(row: Row) -> Values:
    """All columns; of the number of a commit only whether there is one (see `_fill`)."""
    plain = dict(row)
    if "commit_order" in plain:
        plain["commit_order"] = plain["commit_order"] is None
    return plain


async def _batches(database: Database, table: sa.Table) -> AsyncIterator[list[Values]]:
    rows = await database.fetch_all(_first(table))
    while rows:
        last = rows[-1][_key(table).name]
        yield [dict(row) for row in rows]
        rows = await database.fetch_all(_following(table), {"last": last})


def _key(table: sa.Table) -> sa.Column[Any]:
    (key,) = table.primary_key
    return key


@cache
def _first(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).order_by(_key(table)).limit(COPIED_AT_ONCE)


@cache
def _following(table: sa.Table) -> sa.Select[Any]:
    return _first(table).where(_key(table) > sa.bindparam("last"))


@cache
def _insert(table: sa.Table, rows: int) -> sa.Insert:
    return sa.insert(table).values(
        [
            {
                column.name: sa.bindparam(f"{column.name}_{place}", type_=column.type)
                for column in table.columns
            }
            for place in range(rows)
        ]
    )


@cache
def _count(table: sa.Table) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table)


@cache
def _look_up(table: sa.Table) -> sa.Select[Any]:
    key = _key(table)
    keys = [sa.bindparam(f"key_{place}", type_=key.type) for place in range(COPIED_AT_ONCE)]
    return sa.select(table).where(key.in_(keys))
