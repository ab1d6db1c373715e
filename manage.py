"""The operator's commands: `python manage.py --help` lists them."""

import sys

import click

from authapi.commands import client_keys, clients, database, revoking, signing_keys
from authapi.telemetry.logs import configure_logging


@click.group()
def cli() -> None:
    """Manage the clients of the login service. What is done is told on standard error, too."""
    # A fault of the database is told once, in the line that the command ends with.
    configure_logging("critical", sys.stderr)


for command in (
    clients.create_client,
    clients.list_clients,
    clients.set_scopes,
    clients.disable_client,
    clients.enable_client,
    client_keys.add_key,
    client_keys.rotate_key,
    revoking.revoke_key,
    client_keys.list_keys,
    signing_keys.new_signing_key,
    signing_keys.list_signing_keys,
    signing_keys.retire_signing_key,
    database.migrate,
    database.purge,
    database.copy_database,
    database.back_up,
    database.end_all_sessions,
    database.doctor,
):
    cli.add_command(command)


if __name__ == "__main__":
    cli()
