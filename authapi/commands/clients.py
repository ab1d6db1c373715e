"""The operator's commands for clients."""

import click

from authapi.addresses import UNIX_PREFIX, url_of
from authapi.commands.client_keys import PublicKeyFile
from authapi.commands.running import (
    Report,
    on_database,
    operator,
)
from authapi.commands.terminal import moment, table
from authapi.credentials.assertions import PublicKey
from authapi.engines.database import Database, Row
from authapi.managing import clients
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
