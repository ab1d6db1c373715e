"""What the operator's commands share: a database to run on, a report, a question, a failure."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import click

from authapi.credentials.signing_key_file import KeyFileError
from authapi.engines import schema
from authapi.engines.database import FAULTS, Database, Row, explain
from authapi.errors import Refusal, TemporarilyUnavailable
from authapi.managing.manager import Manager
from authapi.revocation.revocations import TIMER_SECONDS
from authapi.store import clients
from authapi.telemetry import audit
from settings import Settings, SettingsError, load_settings

OPERATOR = "command"
"""The `actor` in the audit trail."""
FOLLOWED = " Services that follow the feed know it by now, too."
P = ParamSpec("P")


class Failure(click.ClickException):
    """One clear line, and nothing was changed."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Report:
    """What a command did: `json` for programs, `text` for people, `exit_code` for both."""

    json: Any
    text: str
    exit_code: int = 0


def reported(command: Callable[P, Report]) -> Callable[..., None]:
    """Print the report of `command`: its text, or with `--json` one line of JSON."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
    @wraps(command)
    def printing(*args: Any, as_json: bool, **options: Any) -> None:
        report = command(*args, **options)
        click.echo(json.dumps(report.json) if as_json else report.text)
        if report.exit_code:
            raise click.exceptions.Exit(report.exit_code)

    return printing


def with_settings(command: Callable[Concatenate[Settings, P], Report]) -> Callable[..., None]:
    """Run `command` with the settings, and print its report. What fails is one line."""

    @reported
    @wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> Report:
        try:
            settings = load_settings()
        except SettingsError as error:
            raise Failure(str(error)) from None
        try:
            with audit.acting(OPERATOR):
                return command(settings, *args, **options)
        except (schema.SchemaError, KeyFileError) as error:
            raise Failure(str(error)) from None
        except (TemporarilyUnavailable, *FAULTS) as fault:
            raise Failure(explain(fault, Database(settings.database_url))) from None
        except Refusal as refusal:
            raise Failure(refusal.reason or refusal.description) from None

    return run


def on_database(
    command: Callable[Concatenate[Database, Settings, P], Coroutine[Any, Any, Report]],
) -> Callable[..., None]:
    """Like `with_settings`, for what asks the database: it is connected, and has our schema."""

    async def ask(settings: Settings, /, *args: P.args, **options: P.kwargs) -> Report:
        database = Database(settings.database_url)
        await schema.prepare(database)
        if settings.is_development:
            file = os.path.abspath(database.url.database)
            click.echo(f"Development mode, with {file}.", err=True)
        async with database:
            return await command(database, settings, *args, **options)

    @with_settings
    @wraps(command)
    def run(settings: Settings, /, *args: P.args, **options: P.kwargs) -> Report:
        return asyncio.run(ask(settings, *args, **options))

    return run


def run_on_database(action: Callable[[Database], Coroutine[Any, Any, str]]) -> None:
    """For a command of your own: print what `action` returns, given the database that the settings
    name. What fails is one line, and exit code 2."""

    @on_database
    async def run(database: Database, settings: Settings) -> Report:
        return Report(None, await action(database))

    try:
        run(as_json=False)
    except Failure as failure:
        failure.show()
        sys.exit(failure.exit_code)


confirmed = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, yes: bool) -> None:
    """Ask before something is destroyed. Raises `Failure` unless the operator agrees."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Say --yes, since nobody can be asked here.")
    if not _agrees(question):
        raise Failure("Nothing was changed.")


def _agrees(question: str) -> bool:
    # By itself, asyncio would keep Ctrl-C for when the question has been answered.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, err=True)
    except click.Abort:  # by Ctrl-C or Ctrl-D, which leave the line of the question open
        click.echo(err=True)
        return False
    finally:
        signal.signal(signal.SIGINT, handler)


async def client_named(database: Database, name_or_id: str) -> Row:
    client = await clients.find_named(database, name_or_id) if name_or_id.isprintable() else None
    if client is None:
        raise Failure(f"There is no client {name_or_id!r}; see list-clients.")
    return client


def settle_seconds(settings: Settings) -> float:
    """After a commit, for how long a worker may not have seen it, or a verifier elsewhere may not
    have heard of it; there are none where no keys are published."""
    lease = settings.feed_lease_seconds if settings.signing_keys_file else 0
    return max(settings.revocation_max_age_seconds, lease) + TIMER_SECONDS


async def settled(settings: Settings) -> str:
    """Wait until that is over, so that what is said next is true. Returns what to say besides."""
    await asyncio.sleep(settle_seconds(settings))
    return elsewhere(settings)


def elsewhere(settings: Settings) -> str:
    """What to say besides of what has settled."""
    return FOLLOWED if settings.signing_keys_file else ""


def operator(database: Database, settings: Settings) -> Manager:
    """Whoever types commands may do everything."""
    return Manager(database, time.time, lambda: settled(settings))
