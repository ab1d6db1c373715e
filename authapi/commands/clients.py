"""The operator's commands for clients."""

import click

from authapi.addresses import UNIX_PREFIX, url_of
from authapi.commands.client_keys import PublicKeyFile
from authapi.commands.running import (
    Report,
    client_named,
    confirm,
    confirmed,
    elsewhere,
    on_database,
    operator,
)
from authapi.commands.terminal import AtMost, Rate, moment, table
from authapi.credentials.assertions import PublicKey
from authapi.engines.database import Database, Row
from authapi.managing import clients
from authapi.managing.changes import Changes
from authapi.managing.clients import WouldEndSessions
from authapi.managing.paging import every_client
from authapi.managing.reading import name_of, scopes_of
from authapi.managing.showing import limits_of, listed_json
from authapi.web.metadata import TOKEN_PATH, endpoint, is_url
from settings import Settings


@click.command()
@click.argument("name")
@click.option("--scope", default="", help="What it may do: scopes with spaces between.")
@click.option(
    "--public-key",
    type=PublicKeyFile(),
    help="No secret: the client signs with the private half of this key.",
)
@on_database
async def create_client(
    database: Database, settings: Settings, name: str, scope: str, public_key: PublicKey | None
) -> Report:
    """Register a client, and print its key, this once.

    Only a digest of the key is kept.
    """
    scopes = scopes_of(scope)
    made = await clients.create(
        operator(database, settings), name_of(name), scopes, public_key=public_key
    )
    client_id = made["user_id"]
    if public_key:
        return Report(made, f"Registered {name!r} as {client_id}, with key {made['key_id']}.")
    return Report(
        made,
        f"Registered {name!r} as {client_id}. Its key is shown this once:\n{made['client_key']}\n\n"
        f"A token for it:\n{token_line(settings, client_id, made['client_key'])}",
    )


def token_line(settings: Settings, client_id: str, client_key: str) -> str:
    """What is typed to get an access token at the token endpoint."""
    issuer, host = settings.token_issuer, settings.host
    base, socket = (issuer if is_url(issuer) else url_of(host, settings.port)), ""
    if base == host:  # a Unix socket
        base, socket = "http://localhost", f" --unix-socket {host.removeprefix(UNIX_PREFIX)}"
    return (
        f"curl -w '\\n'{socket} -u {client_id}:{client_key} -d grant_type=client_credentials"
        f" {endpoint(base, TOKEN_PATH)}"
    )


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
        {
            "user_id": row["id"],
            "name": row["name"],
            "scopes": granted,
            "was": was,
            "sessions_ended": changed.ended_sessions,
        },
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
    row = await client_named(database, client)
    asked: dict[str, str | int | None] = {}
    asked |= {} if logins is None else {"login_limit": logins or None}
    asked |= {} if sessions is None else {"session_limit": sessions or None}
    changed = await clients.change(operator(database, settings), row["id"], Changes(limits=asked))
    names = ("name", "login_limit", "session_limit")
    report = {"user_id": row["id"]} | {name: changed.client[name] for name in names}
    return Report(report, f"{row['name']}: limits {limits_of(changed.client)}")


@click.command()
@on_database
async def list_clients(database: Database, settings: Settings) -> Report:
    """List the clients, the oldest first."""
    rows = await every_client(operator(database, settings))
    header = ("ID", "NAME", "STATE", "KEYS", "CREATED", "LAST USED", "SCOPES")
    return Report(
        [listed_json(row) for row in rows],
        table(header, map(_cells, rows)) if rows else "There is no client; see create-client.",
    )


def _cells(client: Row) -> tuple[str, ...]:
    state = "enabled" if client["disabled_at"] is None else "disabled"
    limits = limits_of(client)
    return (
        client["id"],
        client["name"],
        f"{state}, {limits}" if limits != "none" else state,
        str(client["open_keys"]),
        moment(client["created_at"]),
        moment(client["last_used_at"]),
        client["scopes"],
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@confirmed
@on_database
async def disable_client(database: Database, settings: Settings, client: str, yes: bool) -> Report:
    """Let a client in no more, and end its sessions."""
    row = await client_named(database, client)
    confirm(f"End every session of {row['name']!r} and let it in no more?", yes)
    await clients.change(operator(database, settings), row["id"], Changes(disabled=True))
    report = {"user_id": row["id"], "name": row["name"], "disabled": True}
    says = f"Disabled {row['name']!r}; its sessions are ended.{elsewhere(settings)}"
    return Report(report, says)


@click.command()
@click.argument("client", metavar="CLIENT")
@on_database
async def enable_client(database: Database, settings: Settings, client: str) -> Report:
    """Let a disabled client in again; it has to log in anew."""
    row = await client_named(database, client)
    await clients.change(operator(database, settings), row["id"], Changes(disabled=False))
    report = {"user_id": row["id"], "name": row["name"], "disabled": False}
    return Report(report, f"Enabled {row['name']!r}.")
