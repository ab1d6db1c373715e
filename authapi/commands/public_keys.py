"""The operator's commands for the public keys of clients that sign (RFC 7523)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from authapi.commands.client_keys import as_json, describe_old, expiring, overlapping
from authapi.commands.running import Failure, Report, client_named, on_database, settled
from authapi.commands.terminal import moment
from authapi.credentials.assertions import PublicKey, read_public_key
from authapi.credentials.signing_keys import KeyFault
from authapi.engines.database import Database
from authapi.store import client_keys
from authapi.telemetry import audit
from settings import Settings


class PublicKeyFile(click.ParamType[PublicKey]):
    """A file with a PEM, a JWK, or a JWKS of one key."""

    name = "file"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> PublicKey:
        try:
            return read_public_key(Path(value).read_bytes())
        except OSError as fault:
            raise Failure(f"{value} cannot be read: {fault.strerror}.") from None
        except KeyFault as fault:
            raise Failure(f"{value}: {fault}") from None


@contextmanager
def fails_if_known() -> Iterator[None]:
    """One key is of one client, and once it was revoked it does not come back."""
    try:
        yield
    except client_keys.KnownKey:
        raise Failure("This key is registered already, or was once; make a new one.") from None


@click.command()
@click.argument("client", metavar="CLIENT")
@click.argument("key", metavar="FILE", type=PublicKeyFile())
@expiring
@on_database
async def add_public_key(
    database: Database, settings: Settings, client: str, key: PublicKey, expires: int | None
) -> Report:
    """Let a client sign with the private half of a key.

    FILE is a PEM, a JWK, or a JWKS of one key: ES256, Ed25519, or RS256 of 2048 to 4096 bits.
    """
    now = int(time.time())
    expires_at = None if expires is None else now + expires
    row = await client_named(database, client)
    with fails_if_known():
        await client_keys.add_key(database, row["id"], key, now, expires_at)
    audit.record("key_added", client=row["id"], key_id=key.id)
    end = "" if expires_at is None else f", which ends at {moment(expires_at)}"
    return Report(
        {"user_id": row["id"], "key_id": key.id, "expires_at": expires_at},
        f"Added public key {key.id} to {row['name']!r}{end}.",
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@click.argument("key", metavar="FILE", type=PublicKeyFile())
@overlapping
@on_database
async def rotate_public_key(
    database: Database, settings: Settings, client: str, key: PublicKey, overlap: int
) -> Report:
    """Let a client sign with another key.

    The older ones go on for the overlap, its secrets among them. FILE as for add-public-key.
    """
    now = int(time.time())
    row = await client_named(database, client)
    with fails_if_known():
        old_keys = await client_keys.rotate_keys(database, row["id"], key, now, now + overlap)
    await settled(settings)
    audit.record("key_rotated", client=row["id"], key_id=key.id)
    return Report(
        {
            "user_id": row["id"],
            "key_id": key.id,
            "old_keys": [as_json(old) for old in old_keys],
        },
        "\n".join([*map(describe_old, old_keys), f"The new key of {row['name']!r} is {key.id}."]),
    )
