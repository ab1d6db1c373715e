"""A file of another user, or one that may only be read, is a line that says whose it is, and what
lets us."""

import json
import os
import pwd
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.checks import bearer
from tests.conftest import SECRET
from tests.ordinary import OTHER, give_away, launcher
from tests.revisions import UNDO
from tests.serving import children, create_client, run, serve, watched

ENVIRON = {"SECRET_KEY": SECRET}
US = pwd.getpwuid(os.geteuid()).pw_name
THEM = pwd.getpwuid(OTHER).pw_name
WAIT_SECONDS = 20

NEW_CLIENT = ("manage.py", "create-client", "new")
MIGRATE = ("manage.py", "migrate")
LIST = ("manage.py", "list-clients")
PURGE = ("manage.py", "purge")
BACK_UP = ("manage.py", "back-up", "copy.db")
NEW_SIGNING_KEY = ("manage.py", "new-signing-key")
LIST_SIGNING_KEYS = ("manage.py", "list-signing-keys")
APP = ("app.py",)
WRITES = (APP, MIGRATE, NEW_CLIENT, PURGE)
ALL = (*WRITES, LIST, BACK_UP)

Prepare = Callable[[Path], dict[str, str]]
"""Makes files in a folder. Returns the settings that are needed there."""


def refused(folder: Path, command: Sequence[str], environ: dict[str, str]) -> str:
    """The one line with which a command ends that may not do what it is told."""
    as_json = () if command == APP else ("--json",)
    ended = run(folder, *command, *as_json, launcher=launcher(), PORT="0", **environ)
    assert ended.returncode == 2, ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stdout == "" or command == APP  # whose log is there
    return ended.stderr.removeprefix("Error: ")


def faults(folder: Path, environ: dict[str, str]) -> dict[str, str]:
    """What the doctor finds amiss, each check with what is said and advised."""
    ended = run(folder, "manage.py", "doctor", "--json", launcher=launcher(), **environ)
    assert ended.stderr == ""
    checks = json.loads(ended.stdout)
    found = {
        one["check"]: f"{one['detail']} → {one['remedy']}"
        for one in checks
        if one["status"] == "fault"
    }
    assert ended.returncode == int(bool(found))
    return found


def file_of_another(folder: Path) -> dict[str, str]:
    create_client(folder, **ENVIRON)
    (folder / "auth.db").chmod(0o600)
    give_away(folder / "auth.db")
    return ENVIRON


def folder_of_another(folder: Path) -> dict[str, str]:
    create_client(folder, **ENVIRON)
    folder.chmod(0o755)
    give_away(folder)
    return ENVIRON


def closed_folder_of_another(folder: Path) -> dict[str, str]:
    data = folder / "data"
    data.mkdir(0o700)
    create_client(data, **ENVIRON)
    give_away(data)
    return ENVIRON | {"DATABASE_URL": f"sqlite:///{data}/auth.db"}


def read_only_folder(folder: Path) -> dict[str, str]:
    create_client(folder, **ENVIRON)
    folder.chmod(0o555)
    return ENVIRON


def log_of_another(folder: Path) -> dict[str, str]:
    """As root leaves it, who has run a command on a file that belongs to the service."""
    create_client(folder, **ENVIRON)
    for end in ("-wal", "-shm"):
        beside = folder / f"auth.db{end}"
        beside.touch(0o600)
        give_away(beside)
    return ENVIRON


@pytest.mark.parametrize("command", ALL, ids=lambda command: str(command[-1]))
@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (
            file_of_another,
            "user {us} may not read {folder}/auth.db, which belongs to {them}: run this",
        ),
        (
            folder_of_another,
            "user {us} may not write {folder}, which belongs to {them}: run this as",
        ),
        (
            closed_folder_of_another,
            "user {us} may not enter {folder}/data, which belongs to {them}",
        ),
        (read_only_folder, "user {us} may not write {folder}: `chmod u+rwx {folder}`."),
        (log_of_another, "user {us} may not read {folder}/auth.db-wal, which belongs to {them}"),
    ],
)
def test_who_may_not_work_in_the_files_of_the_database_is_told_whose_they_are(
    tmp_path: Path, prepare: Prepare, said: str, command: Sequence[str]
) -> None:
    launcher()
    environ = prepare(tmp_path)
    expected = said.format(us=US, them=THEM, folder=tmp_path)
    line = refused(tmp_path, command, environ)
    assert line.startswith(f"The database cannot be asked: {expected}")
    assert "`chown " in line or "`chmod " in line


@pytest.mark.parametrize(
    "prepare",
    [
        file_of_another,
        folder_of_another,
        closed_folder_of_another,
        read_only_folder,
        log_of_another,
    ],
)
def test_the_doctor_names_the_right_that_is_missing_and_advises_no_restore(
    tmp_path: Path, prepare: Prepare
) -> None:
    launcher()
    found = faults(tmp_path, prepare(tmp_path) | watched())
    assert re.match(rf"user {US} may not (read|write|enter) {tmp_path}", found["rights"])
    assert found["rights"].split(" → ")[1].startswith(("Do this: run this as", "Do this: `chmod "))
    assert "database" in found
    assert "restore" not in str(found)
    assert "migrate" not in str(found)


@pytest.mark.parametrize("command", WRITES, ids=lambda command: str(command[-1]))
def test_a_file_that_may_only_be_read_is_named_by_what_has_to_write(
    tmp_path: Path, command: Sequence[str]
) -> None:
    create_client(tmp_path, **ENVIRON)
    file = tmp_path / "auth.db"
    file.chmod(0o444)
    said = f"user {US} may not write {file}: `chmod u+rw {file}`.\n"
    assert refused(tmp_path, command, ENVIRON) == f"The database cannot be asked: {said}"
    listed = run(tmp_path, *LIST, launcher=launcher(), **ENVIRON)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert faults(tmp_path, ENVIRON | watched()).keys() == {"rights", "writing"}


@pytest.mark.parametrize("command", ALL, ids=lambda command: str(command[-1]))
def test_a_file_that_has_to_be_upgraded_and_may_only_be_read_is_named(
    tmp_path: Path, command: Sequence[str]
) -> None:
    create_client(tmp_path, **ENVIRON)
    with closing(sqlite3.connect(tmp_path / "auth.db")) as database:
        for statement in (*UNDO, "UPDATE alembic_version SET version_num = '0001'"):
            database.execute(statement)
        database.commit()
    (tmp_path / "auth.db").chmod(0o444)
    assert "may not write" in refused(tmp_path, command, ENVIRON)


@pytest.mark.parametrize("environ", [{}, ENVIRON], ids=["development", "with a secret"])
def test_a_first_start_in_a_folder_that_may_only_be_read_is_a_line(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    tmp_path.chmod(0o555)
    said = f"user {US} may not write {tmp_path}: `chmod u+rwx {tmp_path}`.\n"
    assert refused(tmp_path, APP, environ | watched()).endswith(f": {said}")
    assert refused(tmp_path, MIGRATE, environ) == f"The database cannot be asked: {said}"
    assert "`chmod u+rwx" in faults(tmp_path, environ)["rights"]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_user_is_named(tmp_path: Path) -> None:
    """As it is there after the service was started as another."""
    create_client(tmp_path, **ENVIRON)
    lock = tmp_path / "auth.db-server"
    lock.touch(0o600)
    give_away(lock)
    said = f"user {US} may not read {lock}, which belongs to {THEM}"
    assert said in refused(tmp_path, APP, ENVIRON | watched())
    assert said in faults(tmp_path, ENVIRON)["rights"]


@pytest.mark.parametrize("command", [*ALL, NEW_SIGNING_KEY], ids=lambda command: str(command[-1]))
def test_an_env_of_another_user_is_named(tmp_path: Path, command: Sequence[str]) -> None:
    create_client(tmp_path, **ENVIRON)
    file = tmp_path / ".env"
    file.write_text("PORT=0\n")
    file.chmod(0o600)
    give_away(file)
    said = (
        f".env cannot be read: user {US} may not read {file}, which belongs to {THEM}: run this as"
    )
    assert refused(tmp_path, command, ENVIRON).startswith(said)
    assert faults(tmp_path, ENVIRON)["settings"].startswith(said)


def test_a_secret_of_another_user_is_named(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    file = tmp_path / ".secret_key"
    file.write_text("s" * 40)
    file.chmod(0o600)
    give_away(file)
    said = f"user {US} may not read {file}, which belongs to {THEM}: run this as {THEM}, or `chown"
    assert said in refused(tmp_path, APP, {})
    assert said in faults(tmp_path, {})["secret"]


def signing_keys(folder: Path) -> tuple[Path, dict[str, str]]:
    keys = folder / "keys"
    keys.mkdir()
    file = keys / "keys.json"
    environ = ENVIRON | {"SIGNING_KEYS_FILE": str(file)}
    assert run(folder, *NEW_SIGNING_KEY, **environ).returncode == 0
    create_client(folder, **ENVIRON)
    return file, environ


@pytest.mark.parametrize("command", [APP, NEW_SIGNING_KEY, LIST_SIGNING_KEYS])
@pytest.mark.parametrize("is_folder", [False, True], ids=["file", "folder"])
def test_signing_keys_of_another_user_are_named(
    tmp_path: Path, command: Sequence[str], is_folder: bool
) -> None:
    file, environ = signing_keys(tmp_path)
    theirs = file.parent if is_folder else file
    theirs.chmod(0o700)
    give_away(theirs)
    said = f"user {US} may not {'enter' if is_folder else 'read'} {theirs}, which belongs to {THEM}"
    line = refused(tmp_path, command, environ)
    assert said in line
    assert "new-signing-key" not in line
    assert said in faults(tmp_path, environ | watched())["signing_keys"]


def test_signing_keys_that_others_may_read_are_found_by_the_doctor_too(tmp_path: Path) -> None:
    file, environ = signing_keys(tmp_path)
    assert "signing_keys" not in faults(tmp_path, environ)
    file.chmod(0o646)
    assert f"chmod 600 {file}" in refused(tmp_path, APP, environ | watched())
    assert f"chmod 600 {file}" in faults(tmp_path, environ)["signing_keys"]


def test_a_new_signing_key_needs_a_folder_that_can_be_written(tmp_path: Path) -> None:
    file, environ = signing_keys(tmp_path)
    file.parent.chmod(0o555)
    assert refused(tmp_path, NEW_SIGNING_KEY, environ) == (
        f"The file of signing keys cannot be written: user {US} may not write {file.parent}: "
        f"`chmod u+rwx {file.parent}`.\n"
    )
    assert run(tmp_path, *LIST_SIGNING_KEYS, launcher=launcher(), **environ).returncode == 0


def test_a_back_up_names_the_folder_that_cannot_be_written(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    folder = tmp_path / "copies"
    folder.mkdir(0o555)
    line = refused(tmp_path, ("manage.py", "back-up", "copies/a.db"), ENVIRON | watched())
    assert line == (
        f"copies/a.db cannot be written: user {US} may not write {folder}: "
        f"`chmod u+rwx {folder}`.\n"
    )


def test_a_copy_names_the_one_of_the_two_files_that_is_closed(tmp_path: Path) -> None:
    create_client(tmp_path, **ENVIRON)
    target = tmp_path / "target"
    target.mkdir(0o555)
    copy = ("manage.py", "copy-database", f"sqlite:///{target}/auth.db")
    assert f"user {US} may not write {target}: `chmod" in refused(tmp_path, copy, ENVIRON)


@pytest.mark.parametrize("name", ["auth.db", ".env", ".secret_key"])
def test_a_file_that_anybody_may_write_is_a_fault_to_the_doctor(tmp_path: Path, name: str) -> None:
    run(tmp_path, "manage.py", "migrate")
    file = tmp_path / name
    if name != "auth.db":
        file.write_text("s" * 40 if name == ".secret_key" else "")
    file.chmod(0o602)
    assert faults(tmp_path, {}) == {
        "permissions": f"Open to every user: {name}. → chmod o= {name}",
    }


def test_workers_whose_file_may_only_be_read_refuse_what_must_write_until_it_may_be_written(
    tmp_path: Path,
) -> None:
    """The file is opened by each worker, so that it counts for those that are started anew."""
    key = create_client(tmp_path, **ENVIRON)
    file = tmp_path / "auth.db"
    environ = ENVIRON | {"WORKERS": "2"}
    with serve(tmp_path, launcher=launcher(), **environ, **watched()) as served:
        with served.client() as api:
            pair = api.post("/login", json={"client_key": key}).json()
        file.chmod(0o444)
        for pid in children(served.process.pid):
            os.kill(pid, signal.SIGKILL)
        served.wait_for_starts(4)
        headers = bearer(pair["access_token"])
        for _ in range(8):  # each on a connection of its own, so that both workers are met
            assert ask(served.url, "POST", "/logout", headers) == 503
            assert ask(served.url, "GET", "/secure-data", headers) == 200
            assert ask(served.url, "GET", "/readyz", headers) in (200, 503)  # before it has tried
            assert ask(served.url, "GET", "/healthz", headers) == 200
        assert '"reason":"attempt to write a readonly database"' in served.console
        file.chmod(0o600)
        give_up = time.monotonic() + WAIT_SECONDS
        while ask(served.url, "POST", "/logout", headers) != 200:
            assert time.monotonic() < give_up, served.console
            time.sleep(0.05)
        while ask(served.url, "GET", "/secure-data", headers) != 401:
            assert time.monotonic() < give_up, served.console
            time.sleep(0.05)


def ask(url: str, method: str, path: str, headers: dict[str, str]) -> int:
    with httpx.Client(verify=False) as client:
        return client.request(method, f"{url}{path}", headers=headers).status_code
