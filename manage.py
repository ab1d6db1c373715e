"""The operator's commands: `python manage.py --help` lists them."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

import click
from databases.interfaces import Record

import audit
import purging
import registry
import schema
from client_keys import new_client_id, new_client_key
from database import FAULTS, Database, explain
from errors import TemporarilyUnavailable
from revocations import TIMER_SECONDS
from settings import MAX_SESSION_SECONDS, Settings, SettingsError, load_settings
from tables import SCHEMA_REVISION

T = TypeVar("T")
Action = Callable[[Database, Settings], Coroutine[None, None, T]]
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


class Failure(click.ClickException):
    """One clear line, and nothing was changed."""

    exit_code = 2


def run(action: Action[T]) -> T:
    """Run `action` on the database that the settings name, once it is connected."""

    async def on_database(database: Database, settings: Settings) -> T:
        await schema.prepare(database, create=settings.is_development)
        async with database:
            return await action(database, settings)

    return _tell_faults(on_database)


def _tell_faults(action: Action[T]) -> T:
    try:
        settings = load_settings()
        return asyncio.run(action(Database(settings.database_url), settings))
    except (SettingsError, schema.SchemaError) as error:
        raise Failure(str(error)) from None
    except (TemporarilyUnavailable, *FAULTS) as fault:
        raise Failure(explain(fault)) from None


async def _find_client(database: Database, name_or_id: str) -> Record:
    client = await registry.find_named(database, name_or_id) if name_or_id.isprintable() else None
    if client is None:
        raise Failure(f"There is no client {name_or_id!r}; see list-clients.")
    return client


@click.group()
def cli() -> None:
    """Manage the clients of the login service. What is done is told on standard error, too."""
    audit.configure_logging("warning", sys.stderr)


@cli.command()
@click.argument("name")
@as_json
def create_client(name: str, as_json: bool) -> None:
    """Register a client, and print its key: this once, since only a digest is kept."""
    if not name.isprintable() or name.strip() != name or not 1 <= len(name) <= 100:
        raise Failure("A name has 1 to 100 printable characters and no space at its ends.")
    client_id, key = new_client_id(), new_client_key()

    async def create(database: Database, settings: Settings) -> bool:
        return await registry.create_client(database, client_id, name, key, int(time.time()))

    if not run(create):
        raise Failure(f"There is a client {name!r} already; choose another name.")
    audit.record("client_created", client=client_id, key_id=key.id)
    if as_json:
        report = {"user_id": client_id, "client_key": key.text, "key_id": key.id}
        click.echo(json.dumps(report))
    else:
        click.echo(f"Registered {name!r} as {client_id}. Its key is shown this once:\n{key.text}")


@cli.command()
@as_json
def list_clients(as_json: bool) -> None:
    """List the clients, the oldest first."""

    async def list_all(database: Database, settings: Settings) -> list[Record]:
        return await registry.list_clients(database)

    clients = run(list_all)
    if as_json:
        names = ("name", "scopes", "created_at", "disabled_at")
        rows = [{"user_id": row["id"]} | {name: row[name] for name in names} for row in clients]
        click.echo(json.dumps(rows))
        return
    for row in clients:
        created = time.strftime("%Y-%m-%d", time.gmtime(row["created_at"]))
        disabled = "" if row["disabled_at"] is None else "  disabled"
        click.echo(f"{row['id']}  {created}  {row['name']}{disabled}")


@cli.command()
@click.argument("client", metavar="NAME|ID")
def disable_client(client: str) -> None:
    """Let a client in no more, and end every session that it has."""

    async def disable(database: Database, settings: Settings) -> Record:
        row = await _find_client(database, client)
        now = time.time()
        # Not the sessions' setting, which the server may have been given elsewhere.
        expires_at = int(now) + MAX_SESSION_SECONDS
        await registry.disable_client(database, row["id"], now, expires_at)
        # Every worker's copy is younger than this, so that what is said next is true.
        await asyncio.sleep(settings.revocation_max_age_seconds + TIMER_SECONDS)
        return row

    row = run(disable)
    audit.record("client_disabled", client=row["id"])
    click.echo(f"Disabled {row['name']!r}; its sessions are ended.")


@cli.command()
@click.argument("client", metavar="NAME|ID")
def enable_client(client: str) -> None:
    """Let a disabled client in again; it has to log in anew."""

    async def enable(database: Database, settings: Settings) -> Record:
        row = await _find_client(database, client)
        await registry.enable_client(database, row["id"], time.time())
        return row

    row = run(enable)
    audit.record("client_enabled", client=row["id"])
    click.echo(f"Enabled {row['name']!r}.")


@cli.command()
def migrate() -> None:
    """Bring the database to the schema of this version; safe while others do the same."""

    async def upgrade(database: Database, settings: Settings) -> None:
        await schema.upgrade(database)

    _tell_faults(upgrade)
    click.echo(f"The schema is at revision {SCHEMA_REVISION}.")


@cli.command()
def purge() -> None:
    """Delete the rows whose time is over; the server does it by itself while it runs."""

    async def delete(database: Database, settings: Settings) -> int:
        return await purging.purge(database, time.time(), settings.leeway_seconds)

    click.echo(f"Deleted {run(delete)} rows.")


if __name__ == "__main__":
    cli()
