"""The operator's commands that change something of a client, as `PATCH` does over HTTP."""

import click

from authapi.commands.running import (
    Report,
    client_named,
    confirm,
    confirmed,
    elsewhere,
    on_database,
    operator,
)
from authapi.commands.terminal import NOTE, AtMost, Rate, read_notes
from authapi.engines.database import Database
from authapi.managing import clients
from authapi.managing.changes import Changed, Changes
from authapi.managing.clients import WouldEndSessions
from authapi.managing.showing import client_json, limits_of
from authapi.managing.validation import metadata_of, name_of, scopes_of
from settings import Settings


@click.command()
@click.argument("client", metavar="CLIENT")
@click.argument("name")
@on_database
async def rename_client(database: Database, settings: Settings, client: str, name: str) -> Report:
    """Call a client otherwise; its id stays."""
    changed = await _change(database, settings, client, Changes(name=name_of(name)))
    report = client_json(changed.client) | {"was": changed.was["name"]}
    return Report(report, f"Renamed {changed.was['name']!r} to {name!r}.")


@click.command()
@click.argument("client", metavar="CLIENT")
@click.argument("notes", metavar=f"{NOTE}...", nargs=-1, required=True)
@on_database
async def set_metadata(
    database: Database, settings: Settings, client: str, notes: tuple[str, ...]
) -> Report:
    """Set all that is noted of a client.

    What was noted before is gone. With '' nothing is.
    """
    metadata = metadata_of(read_notes(() if notes == ("",) else notes))
    changed = await _change(database, settings, client, Changes(metadata=metadata))
    return Report(client_json(changed.client), f"{changed.was['name']}: metadata {metadata}")


async def _change(database: Database, settings: Settings, client: str, changes: Changes) -> Changed:
    """Where nobody is asked before. Raises what `client_named` and `clients.change` do."""
    row = await client_named(database, client)
    return await clients.change(operator(database, settings), row["id"], changes)


@click.command()
@click.argument("client", metavar="CLIENT")
@click.argument("scopes", metavar="SCOPES", nargs=-1, required=True)
@confirmed
@on_database
async def set_scopes(
    database: Database, settings: Settings, client: str, scopes: tuple[str, ...], yes: bool
) -> Report:
    """Set what a client may do.

    To take a scope away ends every session that the client has.
    """
    changes = Changes(scopes=scopes_of(" ".join(scopes)))
    row, manager = await client_named(database, client), operator(database, settings)
    try:
        changed = await clients.change(manager, row["id"], changes, may_end=yes)
    except WouldEndSessions:
        confirm(f"Take scopes away from {row['name']!r} and end its sessions?", yes)
        changed = await clients.change(manager, row["id"], changes)
    was, granted, also = changed.was["scopes"], changed.client["scopes"], elsewhere(settings)
    ended = f"; its sessions are ended{also and '.' + also}" if changed.ended_sessions else ""
    return Report(
        client_json(changed.client) | {"was": was, "sessions_ended": changed.ended_sessions},
        f"{row['name']}: scopes {was or 'none'} → {granted or 'none'}{ended}",
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@click.option("--logins", type=Rate(), help="How often it may log in, like 600/hour, or none.")
@click.option("--sessions", type=AtMost(), help="How many sessions may live at once, or none.")
@on_database
async def set_limits(
    database: Database, settings: Settings, client: str, logins: str | None, sessions: int | None
) -> Report:
    """Set what a client may have at most.

    What is not named stays as it is. With none, the limit is that of all clients.
    """
    asked: dict[str, str | int | None] = {}
    asked |= {} if logins is None else {"login_limit": logins or None}
    asked |= {} if sessions is None else {"session_limit": sessions or None}
    changed = await _change(database, settings, client, Changes(limits=asked))
    says = f"{changed.was['name']}: limits {limits_of(changed.client)}"
    return Report(client_json(changed.client), says)


@click.command()
@click.argument("client", metavar="CLIENT")
@confirmed
@on_database
async def disable_client(database: Database, settings: Settings, client: str, yes: bool) -> Report:
    """Let a client in no more, and end its sessions."""
    row = await client_named(database, client)
    confirm(f"End every session of {row['name']!r} and let it in no more?", yes)
    changes = Changes(disabled=True)
    changed = await clients.change(operator(database, settings), row["id"], changes)
    report = client_json(changed.client) | {"disabled": True}
    says = f"Disabled {row['name']!r}; its sessions are ended.{elsewhere(settings)}"
    return Report(report, says)


@click.command()
@click.argument("client", metavar="CLIENT")
@on_database
async def enable_client(database: Database, settings: Settings, client: str) -> Report:
    """Let a disabled client in again; it has to log in anew."""
    changed = await _change(database, settings, client, Changes(disabled=False))
    report = client_json(changed.client) | {"disabled": False}
    return Report(report, f"Enabled {changed.was['name']!r}.")
