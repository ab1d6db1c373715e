"""Fills a database with as many clients, keys and revocations as asked, past the service."""

# ruff: noqa: S311, the rows need no secrecy

import asyncio
import random
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from authapi.credentials.claims import Claims, new_id
from authapi.credentials.client_keys import digest_of, is_well_formed
from authapi.credentials.tokens import ACCESS, Tokens

SECRET_KEY = secrets.token_hex(32)
SESSION_SECONDS = 604_800
ACCESS_SECONDS = 900
SPENT_SHARE = 0.8
"""Of the rows of an ordinary week, those that are spent refresh tokens."""
BURST_SECONDS = 600
SAMPLE = 100_000
"""How many of the clients take part in the load, spread over all of them."""

Row = tuple[Any, ...]
COLUMNS = {
    "clients": ("id", "name", "scopes", "created_at"),
    "client_keys": ("id", "client_id", "digest", "created_at"),
    "revoked_jtis": (
        "jti",
        "reason",
        "revoked_at",
        "expires_at",
        "access_expires_at",
        "commit_order",
    ),
}


DATABASE_ID = "0123456789abcdef"
SET_IDENTITY = f"UPDATE identity SET database_id = '{DATABASE_ID}' RETURNING 1"  # noqa: S608
"""So that tokens can be made for it here."""


@dataclass(frozen=True)
class Caller:
    """A registered client that takes part in the load."""

    id: str
    key_id: str
    key: str


def new_key() -> tuple[str, str]:
    """The id and the text of a key like those of client_keys.py, made twenty times as fast."""
    key_id = secrets.token_hex(8)
    body = f"ck_{key_id}_{secrets.token_hex(22)[:43]}"
    return key_id, f"{body}{zlib.crc32(body.encode()):08x}"


def make_clients(size: int, now: int) -> tuple[list[Row], list[Row], list[Caller]]:
    """Rows of `clients`, rows of `client_keys`, and the callers among them."""
    ids = sorted(secrets.token_hex(10) for _ in range(size))
    keys = [new_key() for _ in range(size)]
    assert is_well_formed(keys[0][1])  # noqa: S101
    chosen = random.sample(range(size), min(SAMPLE, size))
    return (
        [(client_id, f"client-{number}", "", now) for number, client_id in enumerate(ids)],
        [
            (key_id, client_id, digest_of(text), now)
            for client_id, (key_id, text) in zip(ids, keys, strict=True)
        ],
        [Caller(ids[i], *keys[i]) for i in chosen],
    )


def make_week(size: int, now: float) -> Iterator[Row]:
    """Rows of an ordinary week: most are spent refresh tokens, the rest are ended sessions."""
    for number in range(size):
        revoked_at = now - SESSION_SECONDS * (1 - number / size)
        if random.random() < SPENT_SHARE:
            expires_at = int(now + random.random() * (revoked_at + SESSION_SECONDS - now))
            yield new_id(), "spent", revoked_at, expires_at + 3600, None, None
        else:
            yield _ended(revoked_at)


def make_burst(size: int, now: float) -> Iterator[Row]:
    """The worst case: each row is a session that was ended in the last ten minutes."""
    for number in range(size):
        yield _ended(now - BURST_SECONDS * (1 - number / size))


def _ended(at: float) -> Row:
    ends = int(at) + SESSION_SECONDS + 3600, int(at) + ACCESS_SECONDS
    return new_id(), "logged_out", at, *ends, int(at * 1e6)


VARIANTS = {"week": make_week, "burst": make_burst}


def set_identity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(SET_IDENTITY)


def fill_sqlite(path: Path, table: str, rows: Iterator[Row] | list[Row]) -> None:
    """Insert without a sync for each step; the file is closed whole."""
    columns = COLUMNS[table]
    marks = ", ".join("?" * len(columns))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -400000")
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
        database.executemany(statement, rows)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_postgres(host: str, name: str, table: str, rows: Iterator[Row] | list[Row]) -> None:
    async def copy() -> None:
        database = await asyncpg.connect(user="postgres", database=name, host=host)
        try:
            await database.copy_records_to_table(table, records=rows, columns=COLUMNS[table])
            await database.execute(f"VACUUM ANALYZE {table}")
        finally:
            await database.close()

    asyncio.run(copy())


def number_by_transaction(rows: Iterator[Row]) -> Iterator[Row]:
    """PostgreSQL's `commit_order` is the number of a transaction: here of the first ones."""
    for number, (*others, commit_order) in enumerate(rows):
        yield *others, None if commit_order is None else number % 500 + 1


def make_tokens() -> Tokens:
    """Signs like the service that is measured."""
    tokens = Tokens(
        [SECRET_KEY],
        issuer="auth-api",
        audience="auth-api",
        access_seconds=ACCESS_SECONDS,
        refresh_seconds=SESSION_SECONDS,
        leeway_seconds=10,
    )
    tokens.serve(DATABASE_ID)
    return tokens


def issue(tokens: Tokens, typ: str, caller: Caller, age: int = 0) -> str:
    """A token of a session that began `age` seconds ago; a login would write nothing either."""
    iat = int(time.time()) - age
    seconds = ACCESS_SECONDS if typ == ACCESS else SESSION_SECONDS
    ids = caller.id, new_id(), new_id(), caller.key_id
    claims = Claims(*ids, "", 0, iat, iat + seconds, DATABASE_ID)
    return tokens.issue(typ, claims)
