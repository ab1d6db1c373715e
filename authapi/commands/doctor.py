"""What `manage.py doctor` looks at without the database: settings and files."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

from authapi.credentials.signing_key_file import KeyFileError, read_live
from authapi.engines import sqlite_files
from authapi.engines.database import Database, is_full, is_of_standby, is_unwritable
from authapi.engines.schema import NO_DATABASE
from authapi.engines.sqlite import is_damaged
from authapi.server.development import SECRET_FILE, read_secret
from authapi.setting_fields import bits_of
from settings import Settings, SettingsError, misspelt

F = TypeVar("F", bound=Callable[..., Any])
SECRET_BITS = 100
SPARE_BYTES = 100 * 2**20
FULL = "Make room: a full disk ends log-outs."
RIGHTS = "Let this user read and write the file, and its folder."
DAMAGED = "Stop the server, and restore a back-up."
CHECKED_BYTES = 2**30  # which SQLite reads in a few seconds


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, `ok`, `warning` or `fault`, what was seen, and what to do about it."""

    check: str
    status: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check saw, and a remedy where the usual one would not help."""

    status: str
    detail: str
    remedy: str = ""

    def named(self, check: str, usual_remedy: str) -> Check:
        remedy = "" if self.status == "ok" else self.remedy or usual_remedy
        return Check(check, self.status, self.detail, remedy)


def ok(detail: str) -> Seen:
    return Seen("ok", detail)


def fault(detail: str, remedy: str = "") -> Seen:
    return Seen("fault", detail, remedy)


def judge(good: bool, detail: str, worst: str = "warning") -> Seen:
    return ok(detail) if good else Seen(worst, detail)


def remedy_for(database: Database, cause: BaseException) -> str:
    """Where the database cannot be asked."""
    if is_of_standby(cause):
        return "Give the URL of the primary."
    if not database.is_sqlite:
        return "See that it runs, and that DATABASE_URL names it, its role and the password."
    if obstacle := database.find_obstacle(cause):
        return f"Let this user work with the file: {obstacle.remedy}."
    if not os.path.exists(database.url.database):
        return NO_DATABASE
    if is_damaged(cause):
        return DAMAGED
    return FULL if sqlite_files.has_no_room(database.url.database) else RIGHTS


def remedy_for_writing(cause: BaseException) -> str:
    """Where it can be asked, and not written; empty where another has locked it."""
    remedy = FULL if is_full(cause) else RIGHTS
    return remedy if is_unwritable(cause) else ""


class Checks(list[tuple[str, str, Callable[..., Any]]]):
    """Checks in the order in which they are written, each with its name and the usual remedy."""

    def __call__(self, name: str, usual_remedy: str = "") -> Callable[[F], F]:
        def add(look: F) -> F:
            self.append((name, usual_remedy, look))
            return look

        return add


of_settings = Checks()
of_file = Checks()


def check_settings(settings: Settings) -> list[Check]:
    return [look(settings).named(name, remedy) for name, remedy, look in of_settings]


def check_file(database_file: str) -> list[Check]:
    """Of a SQLite database. Whether it is there is seen where it is asked."""
    if not os.path.exists(database_file):
        rights = check_rights(database_file)
        return [] if rights.status == "ok" else [rights.named("rights", "")]
    return [look(database_file).named(name, remedy) for name, remedy, look in of_file]


@of_settings("settings")
def check_readable(settings: Settings) -> Seen:
    return ok("They can be read.")


@of_settings("spelling", "Mend the name, or take it out.")
def check_spelling(settings: Settings) -> Seen:
    slips = [f"{name} is nearly {nearest}" for name, nearest in misspelt().items()]
    return judge(not slips, f"{', '.join(slips) or 'Every setting is known'}.")


@of_settings("secret", "Make another with `openssl rand -hex 32`.")
def check_secret(settings: Settings) -> Seen:
    if settings.is_development:
        if os.path.exists(SECRET_FILE):
            try:
                read_secret(SECRET_FILE)
            except SettingsError as error:
                return fault(str(error), "Or set a SECRET_KEY: `openssl rand -hex 32` makes one.")
        remedy = "Set one before this is used for real: `openssl rand -hex 32` makes one."
        return Seen("warning", "No SECRET_KEY is set: development mode.", remedy)
    secrets = [settings.secret_key, *settings.secret_key_fallbacks]
    weak = [text for text in secrets if bits_of(text) < SECRET_BITS]
    return judge(not weak, f"{len(secrets)} secrets, of which {len(weak)} look guessable.")


@of_settings(
    "fallbacks", "Take each from SECRET_KEY_FALLBACKS once REFRESH_TOKEN_SECONDS are over."
)
def check_fallbacks(settings: Settings) -> Seen:
    count = len(settings.secret_key_fallbacks)
    return judge(count < 2, f"{count} previous secrets still verify.")


@of_settings("address", "Serve behind a proxy with TLS, and name it in TRUSTED_PROXIES.")
def check_address(settings: Settings) -> Seen:
    try:
        local = ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    return judge(
        local or bool(settings.trusted_proxies),
        f"Listens on {settings.host}, trusts {settings.trusted_proxies or 'no proxy'}.",
    )


@of_settings("signing_keys", "Mend the file: without it no server starts.")
def check_signing_keys(settings: Settings) -> Seen:
    if not settings.signing_keys_file:
        return ok("None, since SIGNING_KEYS_FILE is not set.")
    try:
        keys = read_live(settings.signing_keys_file, time.time())
    except KeyFileError as error:
        return fault(str(error))
    return ok(f"{len(keys)} can be read.")


@of_file("rights")
def check_rights(database_file: str) -> Seen:
    obstacle = sqlite_files.find_obstacle_to(database_file)
    if obstacle is None:
        return ok("All are given.")
    return fault(f"{obstacle.what}.", f"Do this: {obstacle.remedy}.")


@of_file("disk", FULL)
def check_disk(database_file: str, spare_bytes: int = SPARE_BYTES) -> Seen:
    free = shutil.disk_usage(os.path.dirname(database_file) or ".").free
    return judge(free >= spare_bytes, f"{free // 2**20} MiB are free.")


@of_file("integrity", DAMAGED)
def check_integrity(database_file: str, most_bytes: int = CHECKED_BYTES) -> Seen:
    try:
        if os.path.getsize(database_file) > most_bytes:
            return ok("Not checked, since the file is large.")
        sqlite_files.check(database_file)
    except sqlite_files.DamagedFile as found:
        return fault(str(found))
    except sqlite3.Error as found:
        remedy = FULL if sqlite_files.has_no_room(database_file) else RIGHTS
        return fault(str(found), "" if is_damaged(found) else remedy)
    return ok("SQLite finds no fault in the file.")
