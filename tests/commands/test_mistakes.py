"""What operators mistype, or run in the wrong place, is a line that says what to do, and changes
nothing."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import SECRET
from tests.disks import fill
from tests.postgres import Postgres, database_of
from tests.serving import create_client, run, watched

ENVIRON = {"SECRET_KEY": SECRET}


def line(folder: Path, *command: str, **environ: str) -> str:
    """With which a command ends that cannot do what it is told."""
    ended = run(folder, *command, **environ)
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("Error: ") or command[0] == "app.py"
    return ended.stderr.removeprefix("Error: ")


@pytest.mark.parametrize(
    "command", [["create-client", "billing"], ["list-clients"], ["disable-client", "x", "--yes"]]
)
@pytest.mark.parametrize("environ", [{}, ENVIRON], ids=["development", "with a secret"])
def test_in_the_wrong_folder_no_command_makes_a_database(
    tmp_path: Path, command: list[str], environ: dict[str, str]
) -> None:
    said = line(tmp_path, "manage.py", *command, **environ)
    assert said.startswith(f"There is no database {tmp_path / 'auth.db'}. ")
    assert "manage.py migrate" in said
    assert list(tmp_path.iterdir()) == []


def test_in_development_each_command_says_which_file_it_works_on(tmp_path: Path) -> None:
    run(tmp_path, "manage.py", "migrate")
    ended = run(tmp_path, "manage.py", "list-clients", "--json", **watched())
    assert ended.stderr == f"Development mode, with {tmp_path / 'auth.db'}.\n"
    assert ended.stdout == "[]\n"


def no_database(folder: Path) -> str:
    (folder / "auth.db").write_bytes(b"no database" * 1000)
    return "file is not a database"


def foreign(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "auth.db")) as database:
        database.execute("CREATE TABLE clients (name)")
    return "table clients already exists"


@pytest.mark.parametrize("spoil", [no_database, foreign])
@pytest.mark.parametrize("command", ["migrate", "copy-database"])
def test_a_sqlite_file_that_is_not_ours_is_a_line(
    tmp_path: Path, spoil: object, command: str
) -> None:
    assert callable(spoil)
    said = spoil(tmp_path)
    if command == "migrate":
        assert said in line(tmp_path, "manage.py", "migrate", **ENVIRON)
        assert said in line(tmp_path, "manage.py", "migrate", "--json", **ENVIRON)
        return
    source = tmp_path / "source"
    source.mkdir()
    create_client(source, **ENVIRON)
    target = f"sqlite:///{tmp_path / 'auth.db'}"
    assert said in line(source, "manage.py", "copy-database", target, **ENVIRON, **watched())


def test_a_sqlite_file_that_somebody_has_locked_is_a_line(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    with closing(sqlite3.connect(tmp_path / "auth.db", isolation_level=None)) as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
        database.execute("BEGIN IMMEDIATE")
        assert "database is locked" in line(tmp_path, "manage.py", "migrate", **ENVIRON)
        started = run(tmp_path, "app.py", PORT="0", **ENVIRON)
        assert started.returncode == 2
        assert started.stderr == "The database cannot be asked: database is locked\n"


@pytest.mark.parametrize("command", ["migrate", "copy-database"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("@/test_", "@/nowhere_"), "does not exist"),
        (("postgres@", "nobody_here@"), 'role "nobody_here" does not exist'),
        (("?host=", "?host=/nowhere"), "No such file or directory"),
    ],
    ids=["no database", "no role", "no server"],
)
def test_a_postgresql_that_is_not_there_is_a_line(
    tmp_path: Path, postgres: Postgres, command: str, change: tuple[str, str], says: str
) -> None:
    url = postgres.new_database().replace(*change)
    if command == "migrate":
        assert says in line(tmp_path, "manage.py", "migrate", DATABASE_URL=url, **ENVIRON)
        return
    create_client(tmp_path, **ENVIRON)
    assert says in line(tmp_path, "manage.py", "copy-database", url, **ENVIRON, **watched())


def test_a_role_without_rights_and_a_foreign_table_are_a_line(
    tmp_path: Path, postgres: Postgres
) -> None:
    url = postgres.new_database()
    name = database_of(url)
    postgres.execute(f"CREATE ROLE {name} LOGIN")
    as_role = url.replace("postgres@", f"{name}@")
    said = line(tmp_path, "manage.py", "migrate", DATABASE_URL=as_role, **ENVIRON)
    assert "permission denied" in said
    postgres.execute("CREATE TABLE clients (name text)", name)
    said = line(tmp_path, "manage.py", "migrate", DATABASE_URL=url, **ENVIRON)
    assert 'relation "clients" already exists' in said


def test_a_revoked_key_is_said_to_be_whose_and_what_is_left(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    more = json.loads(run(tmp_path, "manage.py", "add-key", "billing", "--json", **ENVIRON).stdout)
    key_id = more["key_id"]
    shown = json.loads(run(tmp_path, "manage.py", "show-key", key_id, "--json", **ENVIRON).stdout)
    assert (shown["name"], shown["key_id"], shown["revoked_at"]) == ("billing", key_id, None)
    assert "billing" in run(tmp_path, "manage.py", "show-key", key_id, **ENVIRON).stdout
    revoked = run(tmp_path, "manage.py", "revoke-key", key_id, "--yes", **ENVIRON).stdout
    owner = f"of 'billing' ({shown['user_id']}), which has 1 open key left"
    assert revoked == f"Revoked {key_id} {owner}; the sessions begun with it are ended.\n"
    said = line(tmp_path, "manage.py", "show-key", "0" * 16, **ENVIRON)
    assert said == f"There is no key {'0' * 16}; see list-keys.\n"


def test_a_back_up_names_the_folder_that_is_not_there(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    said = line(tmp_path, "manage.py", "back-up", "nowhere/a.db", **ENVIRON)
    assert said == f"There is no folder {tmp_path / 'nowhere'}: make it first.\n"
    said = line(tmp_path, "manage.py", "back-up", "/proc/a.db", **ENVIRON)
    assert said.startswith("/proc/a.db cannot be written: ")


def test_scopes_need_no_quotes(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    set_scopes = ("manage.py", "set-scopes", "billing", "a", "b")
    assert run(tmp_path, *set_scopes, **ENVIRON).stdout == "billing: scopes none → a b\n"


def test_the_server_takes_no_arguments_but_says_what_it_is(tmp_path: Path) -> None:
    assert run(tmp_path, "app.py", "--version").stdout.startswith("auth-api ")
    assert "docs/configuration.md" in run(tmp_path, "app.py", "--help").stdout
    assert run(tmp_path, "app.py", "--port", "80").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_names_a_slip(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    environ = ENVIRON | {"WORKRES": "4"}
    checks = json.loads(run(tmp_path, "manage.py", "doctor", "--json", **environ).stdout)
    (spelling,) = [one for one in checks if one["check"] == "spelling"]
    assert (spelling["status"], spelling["detail"]) == ("warning", "WORKRES is nearly WORKERS.")


@pytest.mark.parametrize("is_open", [True, False])
def test_the_doctor_on_a_full_disk_says_so_and_advises_no_restore(
    small_disk: Path, is_open: bool
) -> None:
    """Where a server has the database open, reading goes on."""
    create_client(small_disk, **ENVIRON)
    with closing(sqlite3.connect(small_disk / "auth.db")) as database:
        if is_open:
            database.execute("SELECT * FROM clients").fetchall()
        fill(small_disk)
        ended = run(small_disk, "manage.py", "doctor", "--json", **ENVIRON)
    assert ended.returncode == 1
    checks = {one["check"]: one for one in json.loads(ended.stdout)}
    found = checks["writing" if is_open else "database"]
    assert found["status"] == "fault"
    assert found["remedy"].startswith("Make room")
    assert "restore" not in json.dumps([one for one in checks.values() if one["status"] != "ok"])


def test_the_doctor_advises_a_restore_where_the_content_is_damaged_alone(tmp_path: Path) -> None:
    (tmp_path / "auth.db").write_bytes(b"no database" * 1000)
    damaged = run(tmp_path, "manage.py", "doctor", **ENVIRON, **watched())
    assert damaged.returncode == 1
    assert "restore a back-up" in damaged.stdout
    (tmp_path / "auth.db").unlink()
    (tmp_path / "auth.db").mkdir()  # which no user can read as a file, root among them
    unreadable = run(tmp_path, "manage.py", "doctor", **ENVIRON)
    assert unreadable.returncode == 1
    assert "restore" not in unreadable.stdout
