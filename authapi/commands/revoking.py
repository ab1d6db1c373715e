"""The operator's command that revokes keys: one by its id, or all that stand in what is pasted."""

import re
import sys
import time
from dataclasses import asdict, dataclass
from io import BufferedReader
from typing import cast

import click

from authapi.commands.client_keys import KEY_HEADER, as_json, cells, state_of
from authapi.commands.running import Failure, Report, confirm, confirmed, on_database, settled
from authapi.commands.terminal import table
from authapi.credentials.client_keys import find_keys
from authapi.engines.database import Database, Row
from authapi.store import client_keys, clients
from authapi.telemetry import audit
from settings import Settings

CHUNK_BYTES = 1024 * 1024


def _read_pasted(context: click.Context, option: click.Option, is_asked: bool) -> dict[str, str]:
    """The keys on standard input, if `--stdin` is given, each by its digest.

    Read before the database is opened: in asyncio, Ctrl-C would wait for the end of what is pasted.
    """
    if is_asked == (context.params["key_id"] is not None):
        raise Failure("Give the id of a key, or --stdin; see list-keys.")
    if not is_asked:
        return {}
    stdin = cast(BufferedReader, sys.stdin.buffer)
    # What is there, however little, since at a terminal `read` would wait for a second end.
    found = find_keys(iter(lambda: stdin.read1(CHUNK_BYTES), b""))
    if not found:
        raise Failure("No key is in what was read; a key is 71 characters, unbroken, from ck_ on.")
    return found


@click.command()
@click.argument("key_id", required=False, is_eager=True)
@click.option(
    "--stdin",
    "pasted",
    is_flag=True,
    callback=_read_pasted,
    help="Revoke each key of ours in what is read.",
)
@confirmed
@on_database
async def revoke_key(
    database: Database, settings: Settings, key_id: str | None, pasted: dict[str, str], yes: bool
) -> Report:
    """Let a key open nothing more, and end its sessions.

    With --stdin: each key of ours that stands in a log, a diff or any other bytes.
    """
    if key_id is None:
        keys, unknown = await _keys_pasted(database, pasted)
    else:
        keys, unknown = [await _key_with_id(database, key_id)], []
    if live := [key["id"] for key in keys if key["revoked_at"] is None]:
        confirm(f"Revoke {', '.join(live)}, and end every session begun with it?", yes)
    ids = [key["id"] for key in keys]
    revoked = await client_keys.revoke_keys(database, ids, time.time())
    elsewhere = await settled(settings)
    for key in keys:
        if key["id"] in revoked:
            audit.record("key_revoked", client=key["client_id"], key_id=key["id"])
    clients_of = {key["client_id"] for key in keys}
    owner_of = {client_id: await _owner(database, client_id) for client_id in clients_of}
    owners = {key["id"]: owner_of[key["client_id"]] for key in keys}
    return _report_revoked(ids, revoked, unknown, owners, elsewhere)


@dataclass(frozen=True, slots=True)
class Owner:
    """Of a key that is revoked, with how many others it has that open something."""

    user_id: str
    name: str
    open_keys: int


async def _owner(database: Database, client_id: str) -> Owner:
    """A key may outlive its client only where rows were deleted by hand."""
    client = await clients.find_client(database, client_id)
    keys, now = await client_keys.list_keys(database, client_id), time.time()
    return Owner(
        client_id,
        client["name"] if client else "",
        sum(state_of(key, now) == "open" for key in keys),
    )


@click.command()
@click.argument("key_id")
@on_database
async def show_key(database: Database, settings: Settings, key_id: str) -> Report:
    """Show a key by its id, and whose it is."""
    key = await _key_with_id(database, key_id)
    owner = await _owner(database, key["client_id"])
    shown = {"user_id": owner.user_id, "name": owner.name} | as_json(key)
    return Report(
        shown, table(("CLIENT", "NAME", *KEY_HEADER), [(owner.user_id, owner.name, *cells(key))])
    )


async def _key_with_id(database: Database, key_id: str) -> Row:
    # What has another shape is not repeated: it may be a whole key.
    if not re.fullmatch("[0-9a-f]{16}", key_id):
        raise Failure("The id of a key has 16 hexadecimal digits; a whole key is for --stdin.")
    key = await client_keys.find_key(database, key_id)
    if key is None:
        raise Failure(f"There is no key {key_id}; see list-keys.")
    return key


async def _keys_pasted(database: Database, found: dict[str, str]) -> tuple[list[Row], list[str]]:
    """The keys that are ours, and the ids of the others."""
    # By the digest: whoever made up a key with the public id of another must not end that one.
    keys, unknown = [], []
    for digest, key_id in found.items():
        key = await client_keys.find_digest(database, digest)
        if key is None:
            unknown.append(key_id)
        else:
            keys.append(key)
    if not keys:
        raise Failure(f"No key here is known; is DATABASE_URL the right one? {', '.join(unknown)}")
    return keys, unknown


def _report_revoked(
    ids: list[str], revoked: set[str], unknown: list[str], owners: dict[str, Owner], elsewhere: str
) -> Report:
    kinds = {
        "revoked": [key_id for key_id in ids if key_id in revoked],
        "already_revoked": [key_id for key_id in ids if key_id not in revoked],
        "unknown": unknown,
    }
    says = {
        "revoked": "Revoked {}{}; the sessions begun with it are ended." + elsewhere,
        "already_revoked": "{} was revoked already.",
        "unknown": "{} is no key of ours.",
    }
    whose = {key_id: _whose(owner) for key_id, owner in owners.items()}
    return Report(
        kinds | {"owners": {key_id: asdict(owner) for key_id, owner in owners.items()}},
        "\n".join(
            says[kind].format(key_id, whose.get(key_id, ""))
            for kind in kinds
            for key_id in kinds[kind]
        ),
    )


def _whose(owner: Owner) -> str:
    left = f"{owner.open_keys} open {'key' if owner.open_keys == 1 else 'keys'}"
    return f" of {owner.name!r} ({owner.user_id}), which has {left} left"
