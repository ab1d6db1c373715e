"""Development mode, without a `SECRET_KEY`: a secret is made, and a demo client registered."""

import os
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from authapi.addresses import url_of
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.file_rights import find_obstacle
from authapi.setting_fields import SECRET_BYTES
from authapi.store import clients
from settings import Settings, SettingsError

SECRET_FILE = Path(".secret_key")
DEMO_NAME = "demo"


def with_secret(settings: Settings, path: Path = SECRET_FILE) -> Settings:
    """In development, the settings with the secret in `path`, which is made the first time."""
    if not settings.is_development:
        return settings
    try:
        if not path.exists():
            _make_secret(path)
    except OSError as fault:
        raise SettingsError(f"No secret can be made: {find_obstacle(path) or fault}") from None
    return replace(settings, secret_key=read_secret(path))


def read_secret(path: Path) -> str:
    """Raises `SettingsError`."""
    try:
        secret = path.read_text().rstrip("\r\n")  # which an editor adds, and is no part of it
    except (OSError, ValueError) as fault:
        why = find_obstacle(path, writing=False) or fault
        raise SettingsError(f"The secret in {path} cannot be read: {why}") from None
    if len(secret) < SECRET_BYTES:
        raise SettingsError(f"{path} holds no secret; delete it, and a new one is made.")
    return secret


def _make_secret(path: Path) -> None:
    """The file appears with the secret in it; of two processes, the first one makes it."""
    with NamedTemporaryFile("w", dir=path.parent) as file:  # which only its owner may read
        file.write(secrets.token_hex(SECRET_BYTES))
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)


async def register_demo_client(database: Database) -> str | None:
    """On the very first start, the key of a new client; None where there are clients already."""
    if await clients.count_clients(database):
        return None
    key = new_client_key()
    now = int(time.time())
    is_first = await clients.create_client(database, new_client_id(), DEMO_NAME, key, now)
    return key.text if is_first else None


def bold(text: str) -> str:
    """Where standard output is a terminal, and NO_COLOR (no-color.org) is not set."""
    is_shown = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\033[1m{text}\033[0m" if is_shown else text


def welcome(client_key: str, host: str, port: int) -> str:
    """What the console shows once."""
    url = url_of(host, port)
    return f"""\
No SECRET_KEY is set, so this is development mode, with a secret of its own in {SECRET_FILE}.
A client named "{DEMO_NAME}" was registered. Its key is shown this once:

    {bold(client_key)}

Log in with it, and use the two tokens of the answer:

    curl -w '\\n' -d client_key={client_key} {url}/login
    curl -w '\\n' -H "Authorization: Bearer ACCESS_TOKEN" {url}/me
    curl -w '\\n' -d refresh_token=REFRESH_TOKEN {url}/refresh-token

It serves on {bold(url)}. Press Ctrl-C to stop.
"""


def welcome_back(database_file: str, count: int, host: str, port: int) -> str:
    """What it shows at each later start: the key is not known any more."""
    known = "1 client" if count == 1 else f"{count} clients"
    return f"""\
Development mode, with {os.path.abspath(database_file)}: {known}.
Another key: {sys.executable} manage.py add-key {DEMO_NAME}

It serves on {bold(url_of(host, port))}. Press Ctrl-C to stop.
"""
