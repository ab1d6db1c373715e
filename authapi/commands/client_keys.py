"""The operator's commands for client keys."""

import json
import time
from typing import Any

import click

from authapi.commands.running import (
    Report,
    client_named,
    on_database,
    settled,
)
from authapi.commands.terminal import Duration, moment, table
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database, Row
from authapi.store import client_keys
from authapi.telemetry import audit
from settings import Settings

overlapping = click.option(
    "--overlap",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long the old keys go on: 24h, 30m or 45s, say.",
)
expiring = click.option(
    "--expires", type=Duration(), help="When it ends: 90d, 24h, 30m or 45s from now."
)


@click.command()
@click.argument("client", metavar="CLIENT")
@expiring
@on_database
async def add_key(
    database: Database, settings: Settings, client: str, expires: int | None
) -> Report:
    """Give a client one more key, and print it, this once.

    CLIENT is a name or an id.
    """
    now = int(time.time())
    expires_at = None if expires is None else now + expires
    row, key = await client_named(database, client), new_client_key()
    await client_keys.add_key(database, row["id"], key, now, expires_at)
    audit.record("key_added", client=row["id"], key_id=key.id)
    end = "" if expires_at is None else f", which ends at {moment(expires_at)},"
    return Report(
        {
            "user_id": row["id"],
            "client_key": key.text,
            "key_id": key.id,
            "expires_at": expires_at,
        },
        f"Added a key{end} to {row['name']!r}. It is shown this once:\n{key.text}",
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@overlapping
@on_database
async def rotate_key(database: Database, settings: Settings, client: str, overlap: int) -> Report:
    """Give a client a new key, and let its older ones end.

    They go on for the overlap. Prints the new key, this once, and when and how often the old ones
    were used.
    """
    now = int(time.time())
    row, key = await client_named(database, client), new_client_key()
    old_keys = await client_keys.rotate_keys(database, row["id"], key, now, now + overlap)
    await settled(settings)
    audit.record("key_rotated", client=row["id"], key_id=key.id)
    return Report(
        {
            "user_id": row["id"],
            "client_key": key.text,
            "key_id": key.id,
            "old_keys": [as_json(old) for old in old_keys],
        },
        "\n".join(
            [
                *map(describe_old, old_keys),
                f"The new key of {row['name']!r} is shown this once:",
                key.text,
            ]
        ),
    )


def describe_old(key: Row) -> str:
    """A key that a rotation lets end."""
    return (
        f"Old key {key['id']} ends at {moment(key['expires_at'])}; it was used {key['uses']} times,"
        f" last: {moment(key['last_used_at'])}."
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@on_database
async def list_keys(database: Database, settings: Settings, client: str) -> Report:
    """List a client's keys, the oldest first.

    Not the keys themselves, which nobody has.
    """
    row = await client_named(database, client)
    keys = await client_keys.list_keys(database, row["id"])
    return Report(
        [as_json(key) for key in keys],
        table(KEY_HEADER, map(cells, keys)) if keys else "It has no key; see add-key.",
    )


def state_of(key: Row, now: float) -> str:
    """`open`, `ended` or `revoked`; of a disabled client an open key opens nothing either."""
    if key["revoked_at"] is not None:
        return "revoked"
    return "ended" if key["expires_at"] is not None and key["expires_at"] <= now else "open"


def as_json(key: Row) -> dict[str, Any]:
    names = ("created_at", "expires_at", "revoked_at", "last_used_at", "uses")
    return {"key_id": key["id"], "kind": kind_of(key)} | {name: key[name] for name in names}


def kind_of(key: Row) -> str:
    """`secret`, or the algorithm that a public key is for."""
    return "secret" if key["public_key"] is None else str(json.loads(key["public_key"])["alg"])


KEY_HEADER = ("KEY ID", "KIND", "CREATED", "STATE", "ENDS", "USES", "LAST USED")


def cells(key: Row) -> tuple[str, ...]:
    """Under `KEY_HEADER`."""
    end = key["expires_at"] if key["revoked_at"] is None else key["revoked_at"]
    return (
        key["id"],
        kind_of(key),
        moment(key["created_at"]),
        state_of(key, time.time()),
        moment(end),
        str(key["uses"]),
        moment(key["last_used_at"]),
    )
