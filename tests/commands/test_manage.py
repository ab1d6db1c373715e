"""The operator's commands, as they are typed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from authapi.credentials.client_keys import digest_of, is_well_formed
from authapi.engines.schema import NO_DATABASE
from manage import cli
from settings import Settings
from tables import SCHEMA_REVISION
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import SECRET
from tests.sqlite import opened
from tests.steps import assert_alive, assert_session_is_over

Manage = Callable[..., Result]


@pytest.fixture
def max_age() -> float:
    """The commands here come from what would be another process."""
    return 0


@pytest.fixture
def manage(database_file: Path, settings: Settings) -> Manage:
    """Types a command. `settings` has made the database."""

    def manage(*arguments: str, status: int = 0, **environ: str) -> Result:
        environ = {"SECRET_KEY": SECRET, "DATABASE_URL": f"sqlite:///{database_file}"} | environ
        result = CliRunner().invoke(cli, arguments, env=environ)
        assert result.exit_code == status, result.output
        return result

    return manage


def create(manage: Manage, name: str) -> dict[str, str]:
    report: dict[str, str] = json.loads(manage("create-client", name, "--json").stdout)
    return report


def log_in(api: TestClient, key: str) -> Any:
    return api.post("/login", json={"client_key": key})


def test_create_client_prints_the_key_and_nothing_else(
    manage: Manage, api: TestClient, database_file: Path
) -> None:
    result = manage("create-client", "billing", "--json")
    report = json.loads(result.stdout)
    assert set(report) == {
        "user_id", "name", "scopes", "metadata", "created_at", "disabled_at", "login_limit",
        "session_limit", "key_id", "client_key",
    }  # fmt: skip
    event = json.loads(result.stderr)
    assert (event["event"], event["client"]) == ("client_created", report["user_id"])
    assert event["actor"] == "command"
    assert event["key_id"] == report["key_id"]
    assert (event["name"], event["scopes"]) == ("billing", "")
    assert report["client_key"] not in result.stderr
    assert assert_answer(log_in(api, report["client_key"]), 200)["user_id"] == report["user_id"]
    with opened(database_file) as database:
        rows = database.execute("SELECT id, client_id, digest FROM client_keys").fetchall()
    assert rows == [(report["key_id"], report["user_id"], digest_of(report["client_key"]))]


def test_create_client_shows_the_key_to_people_too(manage: Manage, api: TestClient) -> None:
    said, key, *_, line = manage("create-client", "billing").stdout.splitlines()
    assert is_well_formed(key)
    client_id = said.split()[3].rstrip(".")
    assert line == (
        f"curl -w '\\n' -u {client_id}:{key} -d grant_type=client_credentials"
        " http://127.0.0.1:8000/oauth/token"
    )
    assert_answer(log_in(api, key), 200)


def test_no_clear_key_is_kept(manage: Manage, database_file: Path) -> None:
    key = create(manage, "billing")["client_key"]
    kept = b"".join(file.read_bytes() for file in database_file.parent.glob("auth.db*"))
    assert key.split("_")[1].encode() in kept
    assert key.encode() not in kept
    assert key.split("_")[2].encode() not in kept


def test_a_name_is_given_once(manage: Manage, database_file: Path) -> None:
    create(manage, "billing")
    result = manage("create-client", "billing", status=2)
    assert result.stderr == "Error: There is a client 'billing' already; choose another name.\n"
    with opened(database_file) as database:
        assert database.execute("SELECT count(*) FROM client_keys").fetchone() == (1,)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\0b", "\x1b[31m", "x" * 101])
def test_a_name_is_one_printable_line(manage: Manage, name: str) -> None:
    assert "printable" in manage("create-client", name, status=2).stderr


def test_list_clients_tells_who_there_is(manage: Manage) -> None:
    ids = {name: create(manage, name)["user_id"] for name in ("billing", "archive")}
    manage("disable-client", "archive", "--yes")
    rows = json.loads(manage("list-clients", "--json").stdout)
    assert {row["name"]: row["user_id"] for row in rows} == ids
    assert {row["name"]: row["disabled_at"] is None for row in rows} == {
        "billing": True,
        "archive": False,
    }
    assert set(rows[0]) == {
        "user_id", "name", "scopes", "metadata", "created_at", "disabled_at", "login_limit",
        "session_limit", "open_keys", "last_used_at",
    }  # fmt: skip
    manage("set-scopes", "archive", "reports:read reports:write")
    header, *lines = manage("list-clients").stdout.splitlines()
    starts = [header.index(word) for word in re.findall(r"\S+(?: \S+)*", header)]
    assert len(lines) == 2
    for line in lines:
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        client_id, name, state, keys, created, used, scopes = cells
        assert ids[name] == client_id
        assert state == ("disabled" if name == "archive" else "enabled")
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", created)
        assert (keys, used) == ("1", "never")
        assert scopes == ("reports:read reports:write" if name == "archive" else "")


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_disabled_client_gets_nothing_and_its_sessions_are_ended(
    manage: Manage, api: TestClient, by: str
) -> None:
    client = create(manage, "billing")
    bystander = assert_answer(log_in(api, create(manage, "other")["client_key"]), 200)
    pair = assert_answer(log_in(api, client["client_key"]), 200)
    given = "billing" if by == "name" else client["user_id"]

    result = manage("disable-client", given, "--yes")
    assert result.stdout == "Disabled 'billing'; its sessions are ended.\n"
    event = json.loads(result.stderr)
    assert (event["event"], event["client"]) == ("client_disabled", client["user_id"])
    headers = bearer(pair["access_token"])
    refresh = {"refresh_token": pair["refresh_token"]}
    assert_refused(log_in(api, client["client_key"]), 401, "invalid_client")
    assert_refused(api.get("/secure-data", headers=headers), 401, "invalid_token")
    assert_refused(api.post("/refresh-token", json=refresh), 401, "invalid_grant")
    assert_answer(api.get("/me", headers=bearer(bystander["access_token"])), 200)

    result = manage("enable-client", given)
    assert result.stdout == "Enabled 'billing'.\n"
    assert json.loads(result.stderr)["event"] == "client_enabled"
    assert_refused(api.get("/secure-data", headers=headers), 401, "invalid_token")
    assert_refused(api.post("/refresh-token", json=refresh), 401, "invalid_grant")
    again = assert_answer(log_in(api, client["client_key"]), 200)
    assert_answer(api.get("/me", headers=bearer(again["access_token"])), 200)


def test_to_end_sessions_lets_the_client_log_in_again(manage: Manage, api: TestClient) -> None:
    client = create(manage, "billing")
    pair = assert_answer(log_in(api, client["client_key"]), 200)
    result = manage("end-sessions", "billing", "--yes")
    assert result.stdout == "The sessions of 'billing' are ended.\n"
    assert json.loads(result.stderr)["event"] == "sessions_ended"
    assert_session_is_over(api, pair)
    assert_alive(api, assert_answer(log_in(api, client["client_key"]), 200))


def test_of_a_deleted_client_nothing_is_left(
    manage: Manage, api: TestClient, database_file: Path
) -> None:
    client = create(manage, "billing")
    pair = assert_answer(log_in(api, client["client_key"]), 200)
    result = manage("delete-client", "billing", "--yes")
    assert result.stdout == "Deleted 'billing'; its sessions are ended.\n"
    events = [json.loads(line)["event"] for line in result.stderr.splitlines()]
    assert events == ["client_disabled", "client_deleted"]
    assert_session_is_over(api, pair)
    assert_refused(log_in(api, client["client_key"]), 401, "invalid_client")
    with opened(database_file) as database:
        for table in ("clients", "client_keys"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert create(manage, "billing")["user_id"] != client["user_id"]


def test_disabling_twice_keeps_the_first_time(manage: Manage, database_file: Path) -> None:
    create(manage, "billing")
    manage("disable-client", "billing", "--yes")
    with opened(database_file) as database:
        database.execute("UPDATE clients SET disabled_at = 1")
    manage("disable-client", "billing", "--yes")
    with opened(database_file) as database:
        assert database.execute("SELECT disabled_at FROM clients").fetchone() == (1,)


@pytest.mark.parametrize("command", ["disable-client", "enable-client"])
def test_an_unknown_client_is_named(manage: Manage, command: str) -> None:
    create(manage, "billing")
    for name, shown in (("nobody", "'nobody'"), ("\udcff", "'\\udcff'")):
        result = manage(command, name, status=2)
        assert result.stderr == f"Error: There is no client {shown}; see list-clients.\n"


def test_purge_deletes_what_is_over(
    manage: Manage, settings: Settings, database_file: Path
) -> None:
    with opened(database_file) as database:
        database.execute("INSERT INTO revoked_jtis VALUES ('a', 'spent', 1, 2, NULL, NULL, NULL)")
        database.execute(
            "INSERT INTO revoked_jtis VALUES ('b', 'spent', 1, 99999999999, NULL, NULL, NULL)"
        )
    assert manage("purge").stdout == "Deleted 1 rows.\n"
    assert manage("purge").stdout == "Deleted 0 rows.\n"


@pytest.mark.parametrize(
    "command",
    [
        ["create-client", "x"],
        ["list-clients"],
        ["disable-client", "x", "--yes"],
        ["enable-client", "x"],
        ["purge"],
    ],
    ids=lambda command: str(command[0]),
)
def test_a_database_is_never_made_unasked(
    manage: Manage, database_file: Path, command: list[str]
) -> None:
    database_file.unlink()
    result = manage(*command, status=2)
    assert result.stderr == (f"Error: There is no database {database_file}. {NO_DATABASE}\n")
    assert not database_file.exists()


def test_migrate_makes_the_database_and_may_be_repeated(
    manage: Manage, database_file: Path
) -> None:
    database_file.unlink()
    for _ in range(2):
        assert manage("migrate").stdout == f"The schema is at revision {SCHEMA_REVISION}.\n"
        assert json.loads(manage("list-clients", "--json").stdout) == []


def test_bad_settings_are_told_and_nothing_is_done(manage: Manage, database_file: Path) -> None:
    database_file.unlink()
    result = manage("list-clients", status=2, SECRET_KEY="short")
    assert "SECRET_KEY" in result.stderr
    assert "short" not in result.stderr
    assert not database_file.exists()


def test_a_database_that_cannot_be_asked_is_told_in_a_line(
    manage: Manage, database_file: Path
) -> None:
    database_file.write_text("This is not a database. " * 100)
    result = manage("list-clients", status=2)
    assert result.stderr.startswith("Error: The database cannot be asked: ")
    assert result.stderr.count("\n") == 1


def test_what_destroys_is_asked_about_unless_it_was_said(
    manage: Manage, database_file: Path
) -> None:
    create(manage, "billing")
    result = manage("disable-client", "billing", status=2)
    assert result.stderr == (
        "Error: End every session of 'billing' and let it in no more?"
        " Say --yes, since nobody can be asked here.\n"
    )
    assert not json.loads(manage("list-clients", "--json").stdout)[0]["disabled_at"]
