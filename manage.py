"""The operator's commands: `python manage.py --help` lists them."""

import sys

import click

from authapi.commands import client_keys as key_commands
from authapi.commands import clients as client_commands
from authapi.commands import database as database_commands
from authapi.commands import revoking as key_revoking
from authapi.commands import signing_keys as signing_key_commands
from authapi.telemetry.logs import configure_logging


@click.group()
def cli() -> None:
    """Manage the clients of the login service. What is done is told on standard error, too."""
    # A fault of the database is told once, in the line that the command ends with.
    configure_logging("critical", sys.stderr)


for command in (
    client_commands.create_client,
    client_commands.list_clients,
    client_commands.set_scopes,
    client_commands.disable_client,
    client_commands.enable_client,
    key_commands.add_key,
    key_commands.rotate_key,
    key_revoking.revoke_key,
    key_commands.list_keys,
    signing_key_commands.new_signing_key,
    signing_key_commands.list_signing_keys,
    signing_key_commands.retire_signing_key,
    database_commands.migrate,
    database_commands.purge,
    database_commands.copy_database,
    database_commands.back_up,
    database_commands.end_all_sessions,
    database_commands.doctor,
):
    cli.add_command(command)


if __name__ == "__main__":
    cli()
