"""The operator's commands for keys of clients, secret or public (RFC 7523)."""

import time
from pathlib import Path
from typing import Any

import click

from authapi.commands.running import Failure, Report, client_named, on_database, operator
from authapi.commands.terminal import Duration, moment, table
from authapi.credentials.assertions import PublicKey, read_public_key
from authapi.credentials.signing_keys import KeyFault
from authapi.engines.database import Database, Row
from authapi.managing import keys
from authapi.managing.showing import key_json, kind_of, state_of
from authapi.store.client_keys import list_keys as keys_of
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
@expiring
@on_database
async def add_key(
    database: Database, settings: Settings, client: str, expires: int | None
) -> Report:
    """Give a client one more key, and print it, this once.

    CLIENT is a name or an id.
    """
    expires_at = ending_in(expires)
    row = await client_named(database, client)
    added = await keys.add(operator(database, settings), row["id"], expires_at)
    end = "" if expires_at is None else f", which ends at {moment(expires_at)},"
    says = f"Added a key{end} to {row['name']!r}. It is shown this once:\n{added['client_key']}"
    return Report(added, says)


def ending_in(seconds: int | None) -> int | None:
    """The moment, of an end that may be none."""
    return None if seconds is None else int(time.time()) + seconds


@click.command()
@click.argument("client", metavar="CLIENT")
@overlapping
@on_database
async def rotate_key(database: Database, settings: Settings, client: str, overlap: int) -> Report:
    """Give a client a new key, and let its older ones end.

    They go on for the overlap. Prints the new key, this once, and when and how often the old ones
    were used.
    """
    row = await client_named(database, client)
    rotated = await keys.rotate(operator(database, settings), row["id"], overlap)
    shown = f"The new key of {row['name']!r} is shown this once:"
    lines = [*map(describe_old, rotated["old_keys"]), shown, rotated["client_key"]]
    return Report(rotated, "\n".join(lines))


def describe_old(key: dict[str, Any]) -> str:
    """A key that a rotation lets end."""
    return (
        f"Old key {key['key_id']} ends at {moment(key['expires_at'])};"
        f" it was used {key['uses']} times, last: {moment(key['last_used_at'])}."
    )


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


@click.command()
@click.argument("client", metavar="CLIENT")
@on_database
async def list_keys(database: Database, settings: Settings, client: str) -> Report:
    """List a client's keys, the oldest first.

    Not the keys themselves, which nobody has.
    """
    row = await client_named(database, client)
    found = await keys_of(database, row["id"])
    return Report(
        [key_json(key) for key in found],
        table(KEY_HEADER, map(cells, found)) if found else "It has no key; see add-key.",
    )


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
