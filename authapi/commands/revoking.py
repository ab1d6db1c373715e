"""The operator's commands that end something: keys, by an id or as pasted; sessions; a client."""

import re
import sys
from io import BufferedReader
from typing import cast

import click

from authapi.commands.client_keys import KEY_HEADER, cells
from authapi.commands.running import (
    Failure,
    Report,
    client_named,
    confirm,
    confirmed,
    elsewhere,
    on_database,
    operator,
)
from authapi.commands.terminal import table
from authapi.credentials.client_keys import find_keys
from authapi.engines.database import Database, Row
from authapi.managing import clients, keys
from authapi.managing.keys import Owner, Revoked
from authapi.managing.manager import Manager
from authapi.managing.showing import key_json
from authapi.request_errors import NotFound
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
    manager = operator(database, settings)
    if key_id is None:
        found, unknown = await _keys_pasted(manager, pasted)
    else:
        found, unknown = [await _key_with_id(manager, key_id)], []
    if live := [key["id"] for key in found if key["revoked_at"] is None]:
        confirm(f"Revoke {', '.join(live)}, and end every session begun with it?", yes)
    revoked = await keys.revoke(manager, found, unknown)
    return _report_revoked(revoked, elsewhere(settings))


@click.command()
@click.argument("key_id")
@on_database
async def show_key(database: Database, settings: Settings, key_id: str) -> Report:
    """Show a key by its id, and whose it is."""
    manager = operator(database, settings)
    key = await _key_with_id(manager, key_id)
    owner = await keys.owner_of(manager, key["client_id"])
    shown = {"user_id": owner.user_id, "name": owner.name} | key_json(key)
    return Report(
        shown, table(("CLIENT", "NAME", *KEY_HEADER), [(owner.user_id, owner.name, *cells(key))])
    )


async def _key_with_id(manager: Manager, key_id: str) -> Row:
    # What has another shape is not repeated: it may be a whole key.
    if not re.fullmatch("[0-9a-f]{16}", key_id):
        raise Failure("The id of a key has 16 hexadecimal digits; a whole key is for --stdin.")
    try:
        return await keys.find(manager, key_id)
    except NotFound:
        raise Failure(f"There is no key {key_id}; see list-keys.") from None


async def _keys_pasted(manager: Manager, pasted: dict[str, str]) -> tuple[list[Row], list[str]]:
    """The keys that are ours, and the ids of the others."""
    found, unknown = await keys.find_pasted(manager, pasted)
    if not found:
        raise Failure(f"No key here is known; is DATABASE_URL the right one? {', '.join(unknown)}")
    return found, unknown


def _report_revoked(revoked: Revoked, also: str) -> Report:
    says = {
        "revoked": "Revoked {}{}; the sessions begun with it are ended." + also,
        "already_revoked": "{} was revoked already.",
        "unknown": "{} is no key of ours.",
    }
    whose = {key_id: _whose(owner) for key_id, owner in revoked.owners.items()}
    lines = [
        says[kind].format(key_id, whose.get(key_id, ""))
        for kind in says
        for key_id in getattr(revoked, kind)
    ]
    return Report(revoked.json(), "\n".join(lines))


def _whose(owner: Owner) -> str:
    left = f"{owner.open_keys} open {'key' if owner.open_keys == 1 else 'keys'}"
    return f" of {owner.name!r} ({owner.user_id}), which has {left} left"


@click.command()
@click.argument("client", metavar="CLIENT")
@confirmed
@on_database
async def end_sessions(database: Database, settings: Settings, client: str, yes: bool) -> Report:
    """End every session of a client, which may log in again."""
    row = await client_named(database, client)
    confirm(f"End every session of {row['name']!r}?", yes)
    await clients.end_sessions(operator(database, settings), row["id"])
    report = {"user_id": row["id"], "name": row["name"], "sessions_ended": True}
    return Report(report, f"The sessions of {row['name']!r} are ended.{elsewhere(settings)}")


@click.command()
@click.argument("client", metavar="CLIENT")
@confirmed
@on_database
async def delete_client(database: Database, settings: Settings, client: str, yes: bool) -> Report:
    """Remove a client and its keys for good.

    Its sessions are ended, and nothing of it lives when its rows go.
    """
    row = await client_named(database, client)
    confirm(f"End every session of {row['name']!r}, and delete it with its keys?", yes)
    await clients.delete(operator(database, settings), row["id"])
    report = {"user_id": row["id"], "name": row["name"], "deleted": True}
    return Report(report, f"Deleted {row['name']!r}; its sessions are ended.{elsewhere(settings)}")
