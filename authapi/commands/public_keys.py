"""The operator's commands for the public keys of clients that sign (RFC 7523)."""

from pathlib import Path
from typing import Any

import click

from authapi.commands.client_keys import describe_old, ending_in, expiring, overlapping
from authapi.commands.running import Failure, Report, client_named, on_database, operator
from authapi.commands.terminal import moment
from authapi.credentials.assertions import PublicKey, read_public_key
from authapi.credentials.signing_keys import KeyFault
from authapi.engines.database import Database
from authapi.managing import keys
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
    expires_at = ending_in(expires)
    row = await client_named(database, client)
    added = await keys.add(operator(database, settings), row["id"], expires_at, key)
    end = "" if expires_at is None else f", which ends at {moment(expires_at)}"
    return Report(added, f"Added public key {key.id} to {row['name']!r}{end}.")


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
    row = await client_named(database, client)
    rotated = await keys.rotate(operator(database, settings), row["id"], overlap, key)
    lines = [
        *map(describe_old, rotated["old_keys"]),
        f"The new key of {row['name']!r} is {key.id}.",
    ]
    return Report(rotated, "\n".join(lines))
