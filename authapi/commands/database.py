"""The operator's commands for the database."""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from authapi.commands.doctor import Check, check_file, check_settings, judge
from authapi.commands.doctor_database import check_database
from authapi.commands.running import (
    Failure,
    Report,
    confirm,
    confirmed,
    on_database,
    reported,
    settled,
    with_settings,
)
from authapi.credentials.claims import new_database_id
from authapi.engines import copying, schema, sqlite_files, urls
from authapi.engines.database import FAULTS, Database, explain
from authapi.errors import TemporarilyUnavailable
from authapi.file_rights import find_obstacle
from authapi.revocation import purging
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.server.development import SECRET_FILE
from authapi.store import database_identity, health
from authapi.telemetry import audit
from settings import Settings, SettingsError, load_settings
from tables import SCHEMA_REVISION


@click.command()
@with_settings
def migrate(settings: Settings) -> Report:
    """Bring the database to the schema of this version.

    Safe while others do the same.
    """
    asyncio.run(schema.upgrade(Database(settings.database_url)))
    return Report({"revision": SCHEMA_REVISION}, f"The schema is at revision {SCHEMA_REVISION}.")


async def demand_right_clock(database: Database, now: float) -> None:
    """Raises `Failure` if our clock is not the database's; SQLite has no other than ours."""
    theirs = await health.read_clock(database)
    if theirs is not None and abs(theirs - now) > MARGIN_SECONDS:
        raise Failure("The clock of this machine is not the database's: set it first.")


@click.command()
@on_database
async def purge(database: Database, settings: Settings) -> Report:
    """Delete the rows whose time is over.

    The server does it by itself while it runs.
    """
    now = time.time()
    await demand_right_clock(database, now)
    deleted = await purging.purge(database, now, settings.leeway_seconds)
    return Report({"deleted": deleted}, f"Deleted {deleted} rows.")


@click.command()
@click.argument("url")
@confirmed
@on_database
async def copy_database(source: Database, settings: Settings, url: str, yes: bool) -> Report:
    """Copy everything to the empty database URL.

    It is made if need be, and compared row by row.

    Stop every server of the source first. On SQLite that is checked; on PostgreSQL it cannot be
    known, so you are asked.
    """
    try:
        urls.read(url)
    except urls.BadURL as fault:
        raise Failure(f"URL: {fault}") from None
    if not source.is_sqlite:
        confirm("Are all its servers stopped? What they write meanwhile is not copied.", yes)
    try:
        counts = await copying.copy(source, Database(url))
    except copying.CopyRefused as refusal:
        raise Failure(str(refusal)) from None
    except (TemporarilyUnavailable, *FAULTS) as fault:
        raise Failure(explain(fault, source, Database(url))) from None
    audit.record("database_copied")
    copied = ", ".join(f"{count} {table}" for table, count in counts.items())
    return Report({"copied": counts}, f"Copied, and compared row by row: {copied}.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@on_database
async def back_up(database: Database, settings: Settings, file: Path) -> Report:
    """Copy the SQLite database to FILE, while servers run.

    FILE must not exist. For PostgreSQL there is pg_dump.
    """
    if not database.is_sqlite:
        raise Failure("This is for SQLite; pg_dump backs a PostgreSQL database up.")
    if not file.absolute().parent.is_dir():
        raise Failure(f"There is no folder {file.absolute().parent}: make it first.")
    try:
        sqlite_files.back_up(database.url.database, file, new_database_id())
    except FileExistsError:
        raise Failure(f"There is a file {file} already; choose another name.") from None
    except OSError as fault:
        why = find_obstacle(file.absolute().parent) or f"{fault.strerror}."
        raise Failure(f"{file} cannot be written: {why}") from None
    except sqlite_files.DamagedFile as damage:
        raise Failure(f"Nothing was kept, since the copy is damaged: {damage}") from None
    audit.record("database_backed_up")
    return Report({"file": str(file)}, f"Backed up to {file}, and checked.")


@click.command()
@confirmed
@on_database
async def end_all_sessions(database: Database, settings: Settings, yes: bool) -> Report:
    """End every session of every client.

    No token that was ever issued opens anything. For an emergency, and after a restore by other
    means than `back-up`: there, what was ended since would live again.
    """
    confirm("End every session of every client?", yes)
    await database_identity.change_identity(database, new_database_id(), int(time.time()))
    elsewhere = await settled(settings)
    audit.record("all_sessions_ended")
    return Report(
        {"ended": True},
        f"Every session is ended, and each client logs in anew.{elsewhere} If a secret has leaked,"
        " change it: who has it can sign new tokens.",
    )


@click.command()
@reported
def doctor() -> Report:
    """Check settings, files and database, and say what to mend.

    This changes nothing. Exits with 1 if there is a fault; with 0 if all is well, or worth a
    warning at most.
    """
    files = [Path(".env"), SECRET_FILE]
    try:
        settings = load_settings()
    except SettingsError as error:
        detail = " ".join(str(error).split())
        checked = [Check("settings", "fault", detail, "Mend them first.")]
    else:
        database = Database(settings.database_url)
        checked = check_settings(settings)
        if database.is_sqlite:
            files.append(Path(database.url.database))
            checked += check_file(database.url.database)
        checked += asyncio.run(check_database(database, settings))
    checked.append(check_permissions(files))
    lines = [
        f"{one.status:7}  {one.check}: {one.detail}" + (one.remedy and f" → {one.remedy}")
        for one in checked
    ]
    is_faulty = any(one.status == "fault" for one in checked)
    return Report([asdict(one) for one in checked], "\n".join(lines), exit_code=int(is_faulty))


def check_permissions(files: Iterable[Path]) -> Check:
    modes = {file: file.stat().st_mode for file in files if os.path.exists(file)}
    seen = [str(file) for file, mode in modes.items() if mode & 0o007]
    may_write = any(mode & 0o002 for mode in modes.values())
    detail = f"Open to every user: {', '.join(seen) or 'none'}."
    judged = judge(not seen, detail, "fault" if may_write else "warning")
    return judged.named("permissions", f"chmod o= {' '.join(seen)}")
