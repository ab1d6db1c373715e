"""The operator's commands for clients."""

import click

from authapi.addresses import UNIX_PREFIX, url_of
from authapi.commands.client_keys import PublicKeyFile
from authapi.commands.running import Report, client_named, on_database, operator
from authapi.commands.terminal import NOTE, moment, read_notes, table
from authapi.credentials.assertions import PublicKey
from authapi.engines.database import Database, Row
from authapi.managing import clients
from authapi.managing.paging import ANY, every_client
from authapi.managing.showing import client_json, limits_of, listed_json
from authapi.managing.validation import filters_of, metadata_of, name_of, scopes_of
from authapi.web.metadata import TOKEN_PATH, endpoint, is_url
from settings import Settings


@click.command()
@click.argument("name")
@click.option("--scope", default="", help="What it may do: scopes with spaces between.")
@click.option(
    "--metadata", "notes", multiple=True, metavar=NOTE, help="What you note of it; may be repeated."
)
@click.option(
    "--public-key",
    type=PublicKeyFile(),
    help="No secret: the client signs with the private half of this key.",
)
@on_database
async def create_client(
    database: Database,
    settings: Settings,
    name: str,
    scope: str,
    notes: tuple[str, ...],
    public_key: PublicKey | None,
) -> Report:
    """Register a client, and print its key, this once.

    Only a digest of the key is kept.
    """
    scopes, metadata = scopes_of(scope), metadata_of(read_notes(notes))
    manager = operator(database, settings)
    made = await clients.create(manager, name_of(name), scopes, metadata, public_key)
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
@click.option("--name", help="Only who is called so.")
@click.option("--scope", help="Only those with this scope.")
@click.option("--disabled/--enabled", default=None, help="Only those that are, or are not.")
@on_database
async def list_clients(
    database: Database,
    settings: Settings,
    name: str | None,
    scope: str | None,
    disabled: bool | None,
) -> Report:
    """List the clients, the oldest first."""
    filters = filters_of(name, scope, disabled)
    rows = await every_client(operator(database, settings), filters)
    header = ("ID", "NAME", "STATE", "KEYS", "CREATED", "LAST USED", "SCOPES")
    none = (
        "There is no client; see create-client." if filters == ANY else "There is no such client."
    )
    return Report(
        [listed_json(row) for row in rows], table(header, map(_cells, rows)) if rows else none
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@on_database
async def show_client(database: Database, settings: Settings, client: str) -> Report:
    """Show a client, with what is noted of it."""
    row = await client_named(database, client)
    shown = client_json(row)
    lines = {
        "id": row["id"],
        "name": row["name"],
        "state": _state(row),
        "scopes": row["scopes"] or "none",
        "limits": limits_of(row),
        "created": moment(row["created_at"]),
        "disabled": moment(row["disabled_at"]),
    }
    noted = {f"metadata {name}": text for name, text in shown["metadata"].items()}
    return Report(shown, "\n".join(f"{name}: {text}" for name, text in (lines | noted).items()))


def _state(client: Row) -> str:
    return "enabled" if client["disabled_at"] is None else "disabled"


def _cells(client: Row) -> tuple[str, ...]:
    state, limits = _state(client), limits_of(client)
    return (
        client["id"],
        client["name"],
        f"{state}, {limits}" if limits != "none" else state,
        str(client["open_keys"]),
        moment(client["created_at"]),
        moment(client["last_used_at"]),
        client["scopes"],
    )
