"""What holds for every command: JSON, one line for a failure, and a question before harm."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from authapi.commands.database import demand_right_clock
from authapi.commands.running import FOLLOWED, Failure, settle_seconds
from authapi.credentials import signing_key_file
from authapi.credentials.signing_keys import SigningKey, from_jwk, new_jwk
from authapi.credentials.signing_schedule import Schedule
from authapi.engines.database import Database
from authapi.revocation.revocations import TIMER_SECONDS
from authapi.telemetry.version import VERSION
from manage import cli
from settings import Settings
from tables import SCHEMA_REVISION
from tests.conftest import ENGINES, SECRET, Registered, url_for_settings
from tests.serving import ROOT, clean_environ, watched
from tests.signing import ES256

WORKS = {
    "create-client": ["billing"],
    "list-clients": [],
    "show-client": ["reporting"],
    "rename-client": ["reporting", "reports"],
    "set-metadata": ["reporting", "team=payments"],
    "set-scopes": ["reporting", "reports:read"],
    "set-limits": ["reporting", "--logins", "600/hour", "--sessions", "20"],
    "disable-client": ["reporting", "--yes"],
    "enable-client": ["reporting"],
    "end-sessions": ["reporting", "--yes"],
    "delete-client": ["reporting", "--yes"],
    "add-key": ["reporting", "--expires", "90d"],
    "rotate-key": ["reporting"],
    "add-public-key": ["reporting", "{public_key}", "--expires", "90d"],
    "rotate-public-key": ["reporting", "{public_key}"],
    "list-keys": ["reporting"],
    "show-key": ["{key_id}"],
    "revoke-key": ["{key_id}", "--yes"],
    "new-signing-key": [],
    "list-signing-keys": [],
    "retire-signing-key": ["{kid}", "--yes"],
    "migrate": [],
    "purge": [],
    "copy-database": ["sqlite:///{folder}/copy.db", "--yes"],
    "back-up": ["{folder}/back-up.db"],
    "end-all-sessions": ["--yes"],
    "doctor": [],
}
"""How each command is typed where a client `reporting` is registered."""
NOT_ON_POSTGRESQL = {"back-up"}
WITHOUT_DATABASE = {"new-signing-key", "list-signing-keys", "retire-signing-key"}
USES_SIGNING_KEYS = WITHOUT_DATABASE | {"doctor"}
TELLS_FAULTS = {"doctor"}
"""Reports that a database cannot be reached, and does not fail for it."""
UNREACHABLE = "sqlite:////dev/null/auth.db"

Manage = Callable[..., Result]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture
def max_age() -> float:
    return 0


def run(url: str, *arguments: str, **environ: str) -> Result:
    environ |= {"SECRET_KEY": SECRET, "DATABASE_URL": url, "REVOCATION_MAX_AGE_SECONDS": "0"}
    return CliRunner().invoke(cli, arguments, env=environ)


def typed(command: str, folder: Path, key_id: str = "0" * 16, kid: str = "x") -> list[str]:
    public_key = folder / "public.json"
    public_key.write_text(json.dumps(ES256().public))
    names = {"folder": folder, "key_id": key_id, "kid": kid, "public_key": public_key}
    return [command, *(part.format(**names) for part in WORKS[command])]


@pytest.fixture
def kid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with a key that signs, and this one, which does not yet."""
    monkeypatch.setenv("SIGNING_KEYS_FILE", str(tmp_path / "keys.json"))
    keys: list[SigningKey] = []
    for _ in range(2):
        new = from_jwk(new_jwk("ES256"))
        keys = Schedule(60, 600, 10).add(keys, new, int(time.time()), at_once=False)
    signing_key_file.write(str(tmp_path / "keys.json"), keys)
    return keys[-1].kid


@pytest.fixture
def kid_in_use(command: str, kid: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """By what is done to keys. Others would wait until verifiers elsewhere know, and that has a
    test of its own."""
    if command not in USES_SIGNING_KEYS:
        monkeypatch.delenv("SIGNING_KEYS_FILE")
    return kid


TRIED = [
    (command, engine)
    for command in cli.commands
    for engine in ENGINES
    if engine == "sqlite" or command not in WITHOUT_DATABASE
]
on_each_engine = pytest.mark.parametrize(
    ("command", "database_url"), TRIED, indirect=["database_url"]
)


def test_every_command_is_tried_here() -> None:
    assert set(WORKS) == set(cli.commands), "say in WORKS how the new command is typed"


@on_each_engine
def test_each_prints_one_json_value_and_nothing_else(
    command: str, settings: Settings, registered: Registered, tmp_path: Path, kid_in_use: str
) -> None:
    result = run(
        settings.database_url, *typed(command, tmp_path, registered.key_id, kid_in_use), "--json"
    )
    if command in NOT_ON_POSTGRESQL and settings.database_url.startswith("postgresql"):
        assert result.exit_code == 2
        return
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout) is not None
    for line in result.stderr.splitlines():
        assert json.loads(line)["event"]  # the audit trail


@on_each_engine
def test_each_says_to_people_what_it_did(
    command: str, settings: Settings, registered: Registered, tmp_path: Path, kid_in_use: str
) -> None:
    result = run(settings.database_url, *typed(command, tmp_path, registered.key_id, kid_in_use))
    if command in NOT_ON_POSTGRESQL and settings.database_url.startswith("postgresql"):
        return
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert not result.stdout.startswith(("[", "{"))


@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["plain", "json"])
@pytest.mark.parametrize("command", cli.commands)
def test_each_fails_with_one_line(command: str, tmp_path: Path, json_option: list[str]) -> None:
    result = run(UNREACHABLE, *typed(command, tmp_path), *json_option)
    if command in TELLS_FAULTS:
        assert (result.exit_code, result.stderr) == (1, "")
        return
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert ("SIGNING_KEYS_FILE" in result.stderr) == (command in WITHOUT_DATABASE)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_a_fault_in_the_middle_is_one_line_too(settings: Settings, tmp_path: Path) -> None:
    run(settings.database_url, "list-clients")
    for table in ("client_keys", "counted_sessions", "clients"):
        drop(settings.database_url, table)
    for command in ("list-clients", "create-client", "disable-client"):
        result = run(settings.database_url, *typed(command, tmp_path))
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: The database cannot be asked: ")
        assert result.stderr.count("\n") == 1


def test_a_schema_of_another_version_is_one_line(settings: Settings, tmp_path: Path) -> None:
    tell(settings.database_url, "UPDATE alembic_version SET version_num = 'another'")
    result = run(settings.database_url, "migrate")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: The schema of the database is not revision {SCHEMA_REVISION}."
        " Another version made it: run that one.\n"
    )


def drop(url: str, table: str) -> None:
    tell(url, f"DROP TABLE {table}")


def tell(url: str, statement: str) -> None:

    async def tell() -> None:
        async with Database(url) as database:
            await database.fetch_all(statement)

    asyncio.run(tell())


def test_the_help_lists_each_command_in_a_line_that_is_whole() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    for name, command in cli.commands.items():
        (line,) = re.findall(rf"^  {name}  .+$", shown, re.MULTILINE)
        assert (command.help or "").startswith(line.split(maxsplit=1)[1])
        assert line.endswith(".")
        assert not line.endswith("...")
    titles = re.findall(r"^\S.*:$", shown, re.MULTILINE)
    assert titles == ["Options:", "Clients:", "Keys of clients:", "Signing keys:", "The database:"]


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"auth-api {VERSION}\n"


def test_each_command_says_what_it_is_for() -> None:
    for name, command in cli.commands.items():
        assert command.help, name
        options = [one.opts for one in command.params if isinstance(one, click.Option)]
        assert ["--json"] in options, name


DISABLE = ("disable-client", "reporting")
AGAIN_SECONDS = 3


@dataclass
class Answered:
    """What came of a command whose question was answered at a terminal."""

    exit_code: int
    stdout: str
    screen: str


@pytest.fixture
def at_a_terminal(database_file: Path, tmp_path: Path) -> Callable[..., Answered]:
    def answer(keys: bytes, *options: str, typed: tuple[str, ...] = DISABLE) -> Answered:
        ours, theirs = pty.openpty()
        environ = {"SECRET_KEY": SECRET, "DATABASE_URL": f"sqlite:///{database_file}"}
        process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", *options, *typed, "--json"],
            cwd=tmp_path,
            env=clean_environ() | environ | watched(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # Ctrl-C is for us
        )
        os.close(theirs)
        give_up = threading.Timer(60, process.kill)
        give_up.start()
        screen = b""
        while b"[y/N]" not in screen:
            screen += os.read(ours, 1000)
        while process.returncode is None:
            # Again if need be: a signal that comes just before the reading does not wake it.
            os.write(ours, keys)
            with suppress(subprocess.TimeoutExpired):
                process.wait(AGAIN_SECONDS)
        try:
            while chunk := os.read(ours, 1000):
                screen += chunk
        except OSError:  # the other end is closed
            pass
        stdout, _ = process.communicate()
        give_up.cancel()
        os.close(ours)
        return Answered(process.returncode, stdout.decode(), screen.decode())

    return answer


def is_disabled(url: str) -> bool:
    (client,) = json.loads(run(url, "list-clients", "--json").stdout)
    return client["disabled_at"] is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("options", [[], ["--audit"]], ids=["", "with its audit line"])
def test_whoever_says_yes_gets_it_done(
    settings: Settings,
    registered: Registered,
    at_a_terminal: Callable[..., Answered],
    options: list[str],
) -> None:
    answered = at_a_terminal(b"y\n", *options)
    assert ("client_disabled" in answered.screen) == bool(options)
    assert answered.exit_code == 0, answered.screen
    assert "End every session of 'reporting' and let it in no more? [y/N]" in answered.screen
    assert answered.stdout.count("\n") == 1
    assert json.loads(answered.stdout)["disabled"]
    assert is_disabled(settings.database_url)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whoever_takes_scopes_away_is_asked_as_well(
    settings: Settings, registered: Registered, at_a_terminal: Callable[..., Answered]
) -> None:
    run(settings.database_url, "set-scopes", "reporting", "reports:read")
    answered = at_a_terminal(b"y\n", typed=("set-scopes", "reporting", ""))
    assert "Take scopes away from 'reporting' and end its sessions? [y/N]" in answered.screen
    assert json.loads(answered.stdout)["sessions_ended"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("keys", [b"n\n", b"\n", b"\x04", b"\x03"], ids=["no", "", "^D", "^C"])
def test_whoever_does_not_has_changed_nothing(
    settings: Settings,
    registered: Registered,
    at_a_terminal: Callable[..., Answered],
    keys: bytes,
) -> None:
    answered = at_a_terminal(keys)
    assert answered.exit_code == 2, answered.screen
    assert answered.stdout == ""
    assert answered.screen.splitlines()[-1] == "Error: Nothing was changed."
    assert not is_disabled(settings.database_url)


@pytest.mark.parametrize("apart", [-3600, 0, 3600])
def test_a_purge_by_another_clock_than_the_databases_is_refused(
    settings: Settings, apart: int
) -> None:
    async def act() -> None:
        async with Database(settings.database_url) as database:
            await demand_right_clock(database, time.time() + apart)

    if apart and not settings.database_url.startswith("sqlite"):
        with pytest.raises(Failure, match="is not the database's"):
            asyncio.run(act())
    else:
        asyncio.run(act())


SETTLES = {
    "disable-client": ["reporting"],
    "end-sessions": ["reporting"],
    "delete-client": ["reporting"],
    "set-scopes": ["reporting", "reports:read"],
    "revoke-key": ["{key_id}"],
    "end-all-sessions": [],
}


@pytest.mark.parametrize("command", SETTLES)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_where_verifiers_elsewhere_may_be_it_is_done_when_they_know(
    command: str, settings: Settings, registered: Registered, tmp_path: Path, kid: str
) -> None:
    """The keys that are published make them possible."""
    scopes = "reports:read reports:write"
    run(settings.database_url, "set-scopes", "reporting", scopes, SIGNING_KEYS_FILE="")
    arguments = [part.format(key_id=registered.key_id) for part in SETTLES[command]]
    began = time.monotonic()
    result = run(settings.database_url, command, *arguments, "--yes", FEED_LEASE_SECONDS="1")
    assert result.exit_code == 0, result.output
    assert time.monotonic() - began >= 1
    assert FOLLOWED in result.stdout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_where_none_may_be_nobody_waits_for_them(
    settings: Settings, registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGNING_KEYS_FILE", raising=False)
    result = run(settings.database_url, "disable-client", "reporting", "--yes")
    assert result.stdout == "Disabled 'reporting'; its sessions are ended.\n"
    chosen = replace(settings, revocation_max_age_seconds=0.5, feed_lease_seconds=1.5)
    assert settle_seconds(chosen) == 0.5 + TIMER_SECONDS
    assert settle_seconds(replace(chosen, signing_keys_file="keys.json")) == 1.5 + TIMER_SECONDS
