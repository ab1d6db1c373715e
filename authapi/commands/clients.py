"""The operator's commands for clients."""

import time

import click

from authapi.addresses import UNIX_PREFIX, url_of
from authapi.commands.public_keys import PublicKeyFile, fails_if_known
from authapi.commands.running import (
    Failure,
    Report,
    client_named,
    confirm,
    confirmed,
    on_database,
    settled,
)
from authapi.commands.terminal import moment, table
from authapi.credentials.assertions import PublicKey
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.credentials.scopes import MAX_LENGTH, is_within, read_scopes
from authapi.engines.database import Database, Row
from authapi.store import clients, survey
from authapi.telemetry import audit
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
    scopes = _scopes(scope)
    if not clients.is_name(name):
        raise Failure("A name has 1 to 100 printable characters and no space at its ends.")
    client_id, client_key, now = new_client_id(), new_client_key(), int(time.time())
    key = public_key or client_key
    with fails_if_known():
        is_new = await clients.create_client(database, client_id, name, key, now, scopes)
    if not is_new:
        raise Failure(f"There is a client {name!r} already; choose another name.")
    audit.record("client_created", client=client_id, key_id=key.id, name=name, scopes=scopes)
    report = {"user_id": client_id, "key_id": key.id}
    if public_key:
        return Report(report, f"Registered {name!r} as {client_id}, with key {key.id}.")
    return Report(
        report | {"client_key": client_key.text},
        f"Registered {name!r} as {client_id}. Its key is shown this once:\n{client_key.text}\n\n"
        f"A token for it:\n{token_line(settings, client_id, client_key.text)}",
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


def _scopes(text: str) -> str:
    try:
        return " ".join(read_scopes(text))
    except ValueError:
        raise Failure(
            f"Scopes are words of ASCII without quotes or backslashes, a space between two, and"
            f" {MAX_LENGTH} characters at most: {text!r} is none."
        ) from None


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
    granted, now = _scopes(" ".join(scopes)), time.time()
    row = await client_named(database, client)
    was = await clients.set_scopes(database, row["id"], granted, False, now)
    if was is None:
        confirm(f"Take scopes away from {row['name']!r} and end its sessions?", yes)
        was = await clients.set_scopes(database, row["id"], granted, True, now) or ""
    elsewhere = await settled(settings)
    audit.record("scopes_set", client=row["id"], name=row["name"], scopes=granted)
    takes_away = not is_within(was.split(), granted)
    ended = f"; its sessions are ended{elsewhere and '.' + elsewhere}" if takes_away else ""
    return Report(
        {
            "user_id": row["id"],
            "name": row["name"],
            "scopes": granted,
            "was": was,
            "sessions_ended": takes_away,
        },
        f"{row['name']}: scopes {was or 'none'} → {granted or 'none'}{ended}",
    )


@click.command()
@on_database
async def list_clients(database: Database, settings: Settings) -> Report:
    """List the clients, the oldest first."""
    rows = await survey.list_clients(database, time.time())
    names = ("name", "scopes", "created_at", "disabled_at", "open_keys", "last_used_at")
    header = ("ID", "NAME", "STATE", "KEYS", "CREATED", "LAST USED", "SCOPES")
    return Report(
        [{"user_id": row["id"]} | {name: row[name] for name in names} for row in rows],
        table(header, map(_cells, rows)) if rows else "There is no client; see create-client.",
    )


def _cells(client: Row) -> tuple[str, ...]:
    return (
        client["id"],
        client["name"],
        "enabled" if client["disabled_at"] is None else "disabled",
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
    await clients.disable_client(database, row["id"], time.time())
    elsewhere = await settled(settings)
    audit.record("client_disabled", client=row["id"])
    report = {"user_id": row["id"], "name": row["name"], "disabled": True}
    return Report(report, f"Disabled {row['name']!r}; its sessions are ended.{elsewhere}")


@click.command()
@click.argument("client", metavar="CLIENT")
@on_database
async def enable_client(database: Database, settings: Settings, client: str) -> Report:
    """Let a disabled client in again; it has to log in anew."""
    row = await client_named(database, client)
    await clients.enable_client(database, row["id"], time.time())
    audit.record("client_enabled", client=row["id"])
    report = {"user_id": row["id"], "name": row["name"], "disabled": False}
    return Report(report, f"Enabled {row['name']!r}.")
