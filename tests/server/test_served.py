"""The service as it is started: a real process, a real socket."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from authapi.engines.schema import NO_DATABASE
from tests.checks import assert_answer, assert_refused, bearer
from tests.postgres import Postgres
from tests.serving import (
    Served,
    children,
    create_client,
    free_port,
    migrate,
    request,
    run,
    serve,
    watched,
)


def wait_for_row(database_file: Path, reason: str) -> None:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        with closing(sqlite3.connect(database_file)) as database:
            query = "SELECT count(*) FROM revoked_jtis WHERE reason = ?"
            if database.execute(query, (reason,)).fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError(f"no row {reason}")


def shell(command: str) -> str:
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_first_start_shows_a_curl_line_that_logs_in_and_a_second_does_not(
    tmp_path: Path,
) -> None:
    with serve(tmp_path, **watched()) as served:
        assert f"Uvicorn running on {served.url}" in served.console
        curl = re.search(r"^ +(curl .*)$", served.console, re.MULTILINE)
        assert curl is not None
        token = json.loads(shell(f"{curl[1]} --silent"))["access_token"]
        assert_answer(request("GET", f"{served.url}/me", headers=bearer(token)), 200)
        key = served.demo_key
        log, welcome = served.console.split("No SECRET_KEY is set")
        assert "Application startup complete." in log
        assert f"{served.url}. Press Ctrl-C to stop.\n" in welcome
    secret = (tmp_path / ".secret_key").read_text()
    with serve(tmp_path, **watched()) as served:
        assert "ck_" not in served.console
        assert f"Development mode, with {tmp_path / 'auth.db'}: 1 client.\n" in served.console
        assert "manage.py add-key demo" in served.console
        assert f"It serves on {served.url}. Press Ctrl-C to stop.\n" in served.console
        assert "curl" not in served.console
        assert_answer(request("GET", f"{served.url}/me", headers=bearer(token)), 200)
        assert_answer(request("POST", f"{served.url}/login", json={"client_key": key}), 200)
    assert (tmp_path / ".secret_key").read_text() == secret
    assert secret not in served.console


def test_with_a_secret_of_its_own_it_makes_neither_secret_nor_client(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={'s' * 32}\nTOKEN_ISSUER=from-the-file\n")
    key = create_client(tmp_path)
    with serve(tmp_path) as served:
        assert "ck_" not in served.console
        body = {"client_key": key}
        pair = assert_answer(request("POST", f"{served.url}/login", json=body), 200)
    assert not (tmp_path / ".secret_key").exists()
    from tests import forge

    assert forge.claims_of(pair["access_token"])["iss"] == "from-the-file"
    assert len(json.loads(run(tmp_path, "manage.py", "list-clients", "--json").stdout)) == 1


def test_the_service_runs_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    environ = {"SECRET_KEY": "s" * 32, "DATABASE_URL": postgres.new_database()}
    assert "manage.py migrate" in run(tmp_path, "app.py", PORT="0", **environ).stderr
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ) as served:
        pair = assert_answer(request("POST", f"{served.url}/login", json={"client_key": key}), 200)
        headers = bearer(pair["access_token"])
        assert_answer(request("GET", f"{served.url}/me", headers=headers), 200)
        assert_answer(request("POST", f"{served.url}/logout", headers=headers), 200)
        assert_refused(request("GET", f"{served.url}/me", headers=headers), 401, "invalid_token")


def test_a_session_from_its_login_to_its_end_and_after_a_restart(tmp_path: Path) -> None:
    def refused(served: Served, *pairs: dict[str, str]) -> None:
        for pair in pairs:
            headers = bearer(pair["access_token"])
            body = {"refresh_token": pair["refresh_token"]}
            for path in ("/secure-data", "/me"):
                response = request("GET", served.url + path, headers=headers)
                assert_refused(response, 401, "invalid_token")
            response = request("POST", f"{served.url}/refresh-token", json=body)
            assert_refused(response, 401, "invalid_grant")

    with serve(tmp_path) as served:
        first = assert_answer(
            request("POST", f"{served.url}/login", data={"client_key": served.demo_key}), 200
        )
        headers = bearer(first["access_token"])
        for path in ("/secure-data", "/me"):
            assert_answer(request("GET", served.url + path, headers=headers), 200)
        body = {"refresh_token": first["refresh_token"]}
        second, third = (
            assert_answer(request("POST", f"{served.url}/refresh-token", json=body), 200)
            for _ in range(2)
        )
        assert second["refresh_token"] == third["refresh_token"]
        assert_answer(request("POST", f"{served.url}/logout", headers=headers), 200)
        refused(served, first, second, third)
    with serve(tmp_path) as served:
        refused(served, first, second, third)


def test_a_lost_database_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    """The revoked tokens would be good again."""
    result = run(tmp_path, "app.py", PORT="0", SECRET_KEY="s" * 32)
    assert result.returncode == 2
    assert result.stderr == (f"There is no database {tmp_path / 'auth.db'}. {NO_DATABASE}\n")
    assert not (tmp_path / "auth.db").exists()


def test_a_second_server_that_does_not_reckon_with_the_first_is_refused(tmp_path: Path) -> None:
    environ = {"SECRET_KEY": "s" * 32}
    migrate(tmp_path, **environ)
    with serve(tmp_path, **environ):
        for workers in ("1", "2"):
            port = str(free_port())
            result = run(tmp_path, "app.py", PORT=port, WORKERS=workers, **environ)
            assert result.returncode == 2
            assert result.stderr.startswith("Another server serves auth.db.")
    with serve(tmp_path, WORKERS="2", **environ), serve(tmp_path, WORKERS="2", **environ):
        result = run(tmp_path, "app.py", PORT=str(free_port()), **environ)
        assert result.returncode == 2


def test_the_schema_is_not_changed_under_a_server(tmp_path: Path) -> None:
    environ = {"SECRET_KEY": "s" * 32}
    migrate(tmp_path, **environ)
    with serve(tmp_path, **environ), closing(sqlite3.connect(tmp_path / "auth.db")) as database:
        database.execute("ALTER TABLE client_keys DROP COLUMN uses")
        database.execute("UPDATE alembic_version SET version_num = '0001'")
        database.commit()
        result = run(tmp_path, "app.py", PORT=str(free_port()), **environ)
        assert result.stderr.startswith("Another server serves auth.db.")
        (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        assert revision == "0001"


def test_a_database_out_of_reach_is_told_in_a_line(tmp_path: Path, postgres: Postgres) -> None:
    environ = {"SECRET_KEY": "s" * 32, "DATABASE_URL": postgres.url("nothing")}
    result = run(tmp_path, "app.py", PORT="0", **environ)
    assert result.returncode == 2
    assert result.stderr == ('The database cannot be asked: database "nothing" does not exist\n')


def test_a_start_that_fails_in_a_worker_is_an_exit_code(tmp_path: Path) -> None:
    """The lock is free when the start looks, and taken when the workers do."""
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": "2"} | watched()
    migrate(tmp_path, **environ)
    with serve(tmp_path, **environ) as served:
        os.rename(tmp_path / "auth.db", tmp_path / "aside.db")
        (worker, *_) = children(served.process.pid)
        os.kill(worker, signal.SIGKILL)
        assert served.process.wait(timeout=30) == 3
        os.rename(tmp_path / "aside.db", tmp_path / "auth.db")


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": "2"}
    migrate(tmp_path, **environ)
    with serve(tmp_path, **environ) as served:
        before = children(served.process.pid)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        served.wait_for_starts(len(before) * 2)
        assert not set(before) & set(children(served.process.pid))
        served.wait_until_ready()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_finishes_what_is_under_way_and_closes_the_database(
    tmp_path: Path, workers: str
) -> None:
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": workers, "REVOCATION_MAX_AGE_SECONDS": "2"}
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ) as served, ThreadPoolExecutor(1) as pool:
        pair = request("POST", f"{served.url}/login", json={"client_key": key}).json()
        headers = bearer(pair["access_token"])
        logout = pool.submit(request, "POST", f"{served.url}/logout", headers=headers)
        wait_for_row(tmp_path / "auth.db", "logged_out")
        served.process.send_signal(signal.SIGTERM)
        assert_answer(logout.result(timeout=20), 200)
        assert served.process.wait(timeout=20) in (0, -signal.SIGTERM)
    assert not (tmp_path / "auth.db-wal").exists()  # the last connection was closed


@pytest.mark.parametrize(("workers", "status"), [("1", 130), ("2", 0)])
def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, workers: str, status: int) -> None:
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": workers} | watched()
    migrate(tmp_path, **environ)
    with serve(tmp_path, **environ) as served:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(timeout=20) == status
        assert "Traceback" not in served.console


def test_two_workers_answer_as_one(tmp_path: Path) -> None:
    """With something between, none is a fork: each is a Python of its own, as for a user."""
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": "2"}
    key = create_client(tmp_path, **environ)

    def live() -> None:
        pair = assert_answer(http.post("/login", json={"client_key": key}), 200)
        headers = bearer(pair["access_token"])
        assert_answer(http.get("/me", headers=headers), 200)
        assert_answer(http.post("/logout", headers=headers), 200)
        assert_refused(http.get("/me", headers=headers), 401, "invalid_token")

    # Each request is on a connection, and so perhaps at a worker, of its own.
    kept = httpx.Limits(max_keepalive_connections=0)
    with (
        serve(tmp_path, launcher=("env",), **environ) as served,
        httpx.Client(base_url=served.url, limits=kept) as http,
        ThreadPoolExecutor(20) as pool,
    ):
        for life in [pool.submit(live) for _ in range(20)]:
            life.result()


def test_bad_settings_are_listed_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    result = run(tmp_path, "app.py", SECRET_KEY="short", PORT="eighty", **watched())
    assert result.returncode == 2
    assert result.stdout == ""
    assert "PORT" in result.stderr
    assert "SECRET_KEY" in result.stderr
    assert "short" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_an_exit_code(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run(tmp_path, "app.py", PORT=str(other.getsockname()[1]))
    assert result.returncode != 0


@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_secret_key_or_token_is_logged(tmp_path: Path, level: str) -> None:
    with serve(tmp_path, LOG_LEVEL=level) as served:
        key = served.demo_key
        pair = request("POST", f"{served.url}/login", json={"client_key": key}).json()
        headers = bearer(pair["access_token"])
        request("GET", f"{served.url}/me?access_token={pair['access_token']}", headers=headers)
        body = {"refresh_token": pair["refresh_token"]}
        request("POST", f"{served.url}/refresh-token", json=body)
        request("POST", f"{served.url}/logout", headers=headers)
    log = re.sub(r"No SECRET_KEY is set.*? to stop\.", "", served.console, flags=re.DOTALL)
    secret = (tmp_path / ".secret_key").read_text()
    from authapi.credentials.client_keys import digest_of

    for hidden in (key, digest_of(key), secret, pair["access_token"], pair["refresh_token"]):
        assert hidden not in log
        assert hidden[-20:] not in log


def test_a_second_ctrl_c_is_as_quiet_as_the_first(tmp_path: Path) -> None:
    with serve(tmp_path, **watched()) as served:
        host, _, port = served.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            served.process.send_signal(signal.SIGINT)
            give_up = time.monotonic() + 20
            while "Waiting for" not in served.console:
                assert time.monotonic() < give_up
                time.sleep(0.02)
            served.process.send_signal(signal.SIGINT)
            assert served.process.wait(timeout=20) == 130
    assert "Traceback" not in served.console
