"""The operator's commands: `python manage.py --help` lists them."""

import gc
import sys

import click

from authapi.commands import (
    changing_clients,
    client_keys,
    clients,
    database,
    revoking,
    signing_keys,
)
from authapi.telemetry import audit
from authapi.telemetry.logs import configure_logging
from authapi.telemetry.version import VERSION

GROUPS: dict[str, list[click.Command]] = {
    "Clients": [
        clients.create_client,
        clients.list_clients,
        clients.show_client,
        changing_clients.rename_client,
        changing_clients.set_metadata,
        changing_clients.set_scopes,
        changing_clients.set_limits,
        changing_clients.disable_client,
        changing_clients.enable_client,
        revoking.end_sessions,
        revoking.delete_client,
    ],
    "Keys of clients": [
        client_keys.add_key,
        client_keys.rotate_key,
        client_keys.add_public_key,
        client_keys.rotate_public_key,
        client_keys.list_keys,
        revoking.show_key,
        revoking.revoke_key,
    ],
    "Signing keys": [
        signing_keys.new_signing_key,
        signing_keys.list_signing_keys,
        signing_keys.retire_signing_key,
    ],
    "The database": [
        database.migrate,
        database.purge,
        database.copy_database,
        database.back_up,
        database.end_all_sessions,
        database.doctor,
    ],
}


class Manage(click.Group):
    """Lists its commands by what they work on, each in a line that is not cut off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(str(one.name), one.get_short_help_str(limit=100)) for one in commands]
                )


@click.group(cls=Manage)
@click.version_option(VERSION, message="auth-api %(version)s")
@click.option("--audit", "shows_audit", is_flag=True, help="Show the audit trail at a terminal.")
def cli(shows_audit: bool) -> None:
    """Manage the login service. The audit trail goes to standard error, unless that is a terminal,
    where the answer of the command says the same."""
    # A fault of the database is reported once, in the line that the command ends with.
    configure_logging("critical", sys.stderr)
    audit.logger.disabled = sys.stderr.isatty() and not shows_audit


for commands in GROUPS.values():
    for command in commands:
        cli.add_command(command)


if __name__ == "__main__":
    gc.freeze()  # or else a command ends by looking for garbage in all that is loaded, for 0.2 s
    cli()
