"""The operator's commands for client keys."""

import re
import time
from typing import Any

import click

from authapi.commands.running import Failure, Report, find_client, reported, run, settled
from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database, Row
from authapi.store import client_keys as key_registry
from authapi.telemetry import audit
from settings import Settings

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_DAYS = 3650


@click.command()
@click.argument("client", metavar="CLIENT")
@click.option("--expires", metavar="TIME", help="When it ends: 90d, 24h, 30m or 45s from now.")
@reported
def add_key(client: str, expires: str | None) -> Report:
    """Give a client one more key, and print it: this once. CLIENT is a name or an id."""
    now = int(time.time())
    expires_at = None if expires is None else now + _seconds("--expires", expires)
    key = new_client_key()

    async def add(database: Database, settings: Settings) -> Row:
        row = await find_client(database, client)
        await key_registry.add_key(database, row["id"], key, now, expires_at)
        return row

    row = run(add)
    audit.record("key_added", client=row["id"], key_id=key.id)
    end = "" if expires_at is None else f", which ends at {_moment(expires_at)},"
    return Report(
        {
            "user_id": row["id"],
            "client_key": key.text,
            "key_id": key.id,
            "expires_at": expires_at,
        },
        f"Added a key{end} to {row['name']!r}. It is shown this once:\n{key.text}",
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@click.option(
    "--overlap",
    metavar="TIME",
    default="24h",
    show_default=True,
    help="How long the old keys go on: 24h, 30m or 45s, say.",
)
@reported
def rotate_key(client: str, overlap: str) -> Report:
    """Give a client a new key, and let its older ones end after an overlap.

    Prints the new key, this once, and when and how often the old ones were used.
    """
    now = int(time.time())
    until = now + _seconds("--overlap", overlap)
    key = new_client_key()

    async def rotate(database: Database, settings: Settings) -> tuple[Row, list[Row]]:
        row = await find_client(database, client)
        old_keys = await key_registry.rotate_keys(database, row["id"], key, now, until)
        await settled(settings)
        return row, old_keys

    row, old_keys = run(rotate)
    audit.record("key_rotated", client=row["id"], key_id=key.id)
    lines = [f"Old key {_line(old)}" for old in old_keys]
    return Report(
        {
            "user_id": row["id"],
            "client_key": key.text,
            "key_id": key.id,
            "old_keys": [_as_json(old) for old in old_keys],
        },
        "\n".join([*lines, f"The new key of {row['name']!r} is shown this once:", key.text]),
    )


@click.command()
@click.argument("client", metavar="CLIENT")
@reported
def list_keys(client: str) -> Report:
    """List a client's keys, the oldest first; not the keys themselves, which nobody has."""

    async def list_all(database: Database, settings: Settings) -> list[Row]:
        row = await find_client(database, client)
        return await key_registry.list_keys(database, row["id"])

    keys = run(list_all)
    return Report(
        [_as_json(key) for key in keys],
        "\n".join(map(_line, keys)) or "It has no key; see add-key.",
    )


def _seconds(option: str, text: str) -> int:
    match = re.fullmatch("([0-9]{1,9})([smhd])", text)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_DAYS * SECONDS["d"]:
        raise Failure(
            f"{option} takes a time from 1s to {MAX_DAYS}d: a number and s, m, h or d, like 90d."
        )
    return seconds


def _moment(epoch_seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch_seconds))


def _as_json(key: Row) -> dict[str, Any]:
    names = ("created_at", "expires_at", "revoked_at", "last_used_at", "uses")
    return {"key_id": key["id"]} | {name: key[name] for name in names}


def _line(key: Row) -> str:
    end = "no end"
    if key["revoked_at"] is not None:
        end = f"revoked at {_moment(key['revoked_at'])}"
    elif key["expires_at"] is not None:
        verb = "ends" if key["expires_at"] > time.time() else "ended"
        end = f"{verb} at {_moment(key['expires_at'])}"
    used = "never used"
    if key["last_used_at"] is not None:
        used = f"used {key['uses']} times, last at {_moment(key['last_used_at'])}"
    return f"{key['id']}  since {_moment(key['created_at'])}, {end}, {used}"
