"""What `manage.py doctor` looks at without the database: settings and files."""

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from math import log2
from pathlib import Path

from authapi.engines import sqlite_files
from settings import Settings

SECRET_BITS = 100
SPARE_BYTES = 100 * 2**20
CHECKED_BYTES = 2**30
"""SQLite reads about this much in a few seconds."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, `ok`, `warning` or `fault`, what was seen, and what to do about it."""

    check: str
    status: str
    detail: str
    remedy: str = ""


def judge(check: str, good: bool, detail: str, remedy: str, worst: str = "warning") -> Check:
    """With the remedy where it is needed."""
    return Check(check, "ok", detail) if good else Check(check, worst, detail, remedy)


def secret(settings: Settings) -> Check:
    secrets = [settings.secret_key, *settings.secret_key_fallbacks]
    if settings.is_development:
        remedy = "Set one before this is used for real: `openssl rand -hex 32` makes one."
        return Check("secret", "warning", "No SECRET_KEY is set: development mode.", remedy)
    weak = [text for text in secrets if _bits(text) < SECRET_BITS]
    detail = f"{len(secrets)} secrets, of which {len(weak)} look guessable."
    return judge("secret", not weak, detail, "Make another with `openssl rand -hex 32`.")


def _bits(text: str) -> float:
    """At most so many, if each character had been drawn by itself from those that occur."""
    return sum(-count * log2(count / len(text)) for count in Counter(text).values())


def fallbacks(settings: Settings) -> Check:
    count = len(settings.secret_key_fallbacks)
    remedy = "Take each from SECRET_KEY_FALLBACKS once REFRESH_TOKEN_SECONDS are over."
    return judge("fallbacks", count < 2, f"{count} previous secrets still verify.", remedy)


def address(settings: Settings) -> Check:
    try:
        local = ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    return judge(
        "address",
        local or bool(settings.trusted_proxies),
        f"Listens on {settings.host}, trusts {settings.trusted_proxies or 'no proxy'}.",
        "Serve behind a proxy with TLS, and name it in TRUSTED_PROXIES.",
    )


def permissions(files: Iterable[Path]) -> Check:
    there = [file for file in files if file.exists()]
    seen = [str(file) for file in there if file.stat().st_mode & 0o007]
    detail = f"Open to every user: {', '.join(seen) or 'none'}."
    return judge("permissions", not seen, detail, f"chmod o= {' '.join(seen)}")


def disk(database_file: str, spare_bytes: int = SPARE_BYTES) -> Check:
    free = shutil.disk_usage(os.path.dirname(database_file) or ".").free
    detail = f"{free // 2**20} MiB are free."
    return judge("disk", free >= spare_bytes, detail, "Make room: a full disk ends log-outs.")


def integrity(database_file: str, most_bytes: int = CHECKED_BYTES) -> Check:
    try:
        if os.path.getsize(database_file) > most_bytes:
            return Check("integrity", "ok", "Not checked, since the file is large.")
        sqlite_files.check(database_file)
    except (sqlite_files.Damaged, sqlite3.Error) as fault:
        return Check("integrity", "fault", str(fault), "Stop the server, and restore a back-up.")
    return Check("integrity", "ok", "SQLite finds no fault in the file.")


def look_at_settings(settings: Settings) -> list[Check]:
    return [
        Check("settings", "ok", "They can be read."),
        secret(settings),
        fallbacks(settings),
        address(settings),
    ]


def look_at_file(database_file: str) -> list[Check]:
    """Of a SQLite database; that it is not there is told where it is asked."""
    if not os.path.exists(database_file):
        return []
    return [disk(database_file), integrity(database_file)]
