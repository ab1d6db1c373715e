"""The service as it is started: a real process, a real socket."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.checks import assert_answer, assert_refused, bearer
from tests.serving import ROOT, Served, clean_environ, serve


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / command[0]), *command[1:]],
        cwd=folder,
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shell(command: str) -> str:
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_first_start_shows_a_curl_line_that_logs_in_and_a_second_does_not(
    tmp_path: Path,
) -> None:
    with serve(tmp_path) as served:
        assert f"Uvicorn running on {served.url}" in served.console
        curl = re.search(r"^ +(curl .*)$", served.console, re.MULTILINE)
        assert curl is not None
        token = json.loads(shell(f"{curl[1]} --silent"))["access_token"]
        assert_answer(httpx.get(f"{served.url}/me", headers=bearer(token)), 200)
        key = served.demo_key
    secret = (tmp_path / ".secret_key").read_text()
    with serve(tmp_path) as served:
        assert "ck_" not in served.console
        assert "curl" not in served.console
        assert_answer(httpx.get(f"{served.url}/me", headers=bearer(token)), 200)
        assert_answer(httpx.post(f"{served.url}/login", json={"client_key": key}), 200)
    assert (tmp_path / ".secret_key").read_text() == secret
    assert secret not in served.console


def test_with_a_secret_of_its_own_it_makes_neither_secret_nor_client(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={'s' * 32}\nTOKEN_ISSUER=from-the-file\n")
    key = json.loads(run(tmp_path, "manage.py", "create-client", "billing", "--json").stdout)
    with serve(tmp_path) as served:
        assert "ck_" not in served.console
        body = {"client_key": key["client_key"]}
        pair = assert_answer(httpx.post(f"{served.url}/login", json=body), 200)
    assert not (tmp_path / ".secret_key").exists()
    from tests import forge

    assert forge.claims_of(pair["access_token"])["iss"] == "from-the-file"
    assert len(run(tmp_path, "manage.py", "list-clients").stdout.splitlines()) == 1


def test_a_session_from_its_login_to_its_end_and_after_a_restart(tmp_path: Path) -> None:
    def refused(served: Served, *pairs: dict[str, str]) -> None:
        for pair in pairs:
            headers = bearer(pair["access_token"])
            body = {"refresh_token": pair["refresh_token"]}
            for path in ("/secure-data", "/me"):
                response = httpx.get(served.url + path, headers=headers)
                assert_refused(response, 401, "invalid_token")
            response = httpx.post(f"{served.url}/refresh-token", json=body)
            assert_refused(response, 401, "invalid_grant")

    with serve(tmp_path) as served:
        first = assert_answer(
            httpx.post(f"{served.url}/login", data={"client_key": served.demo_key}), 200
        )
        headers = bearer(first["access_token"])
        for path in ("/secure-data", "/me"):
            assert_answer(httpx.get(served.url + path, headers=headers), 200)
        body = {"refresh_token": first["refresh_token"]}
        second, third = (
            assert_answer(httpx.post(f"{served.url}/refresh-token", json=body), 200)
            for _ in range(2)
        )
        assert second["refresh_token"] == third["refresh_token"]
        assert_answer(httpx.post(f"{served.url}/logout", headers=headers), 200)
        refused(served, first, second, third)
    with serve(tmp_path) as served:
        refused(served, first, second, third)


def test_two_workers_answer_as_one(tmp_path: Path) -> None:
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": "2"}
    key = json.loads(
        run(tmp_path, "manage.py", "create-client", "billing", "--json", **environ).stdout
    )["client_key"]
    with serve(tmp_path, **environ) as served:
        for _ in range(20):  # each on a connection, and so perhaps a worker, of its own
            pair = assert_answer(httpx.post(f"{served.url}/login", json={"client_key": key}), 200)
            headers = bearer(pair["access_token"])
            assert_answer(httpx.get(f"{served.url}/me", headers=headers), 200)
            assert_answer(httpx.post(f"{served.url}/logout", headers=headers), 200)
            response = httpx.get(f"{served.url}/me", headers=headers)
            assert_refused(response, 401, "invalid_token")


def test_bad_settings_are_listed_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    result = run(tmp_path, "app.py", SECRET_KEY="short", PORT="eighty")
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
        pair = httpx.post(f"{served.url}/login", json={"client_key": key}).json()
        headers = bearer(pair["access_token"])
        httpx.get(f"{served.url}/me?access_token={pair['access_token']}", headers=headers)
        body = {"refresh_token": pair["refresh_token"]}
        httpx.post(f"{served.url}/refresh-token", json=body)
        httpx.post(f"{served.url}/logout", headers=headers)
    log = served.console.split("Started server process")[1]
    secret = (tmp_path / ".secret_key").read_text()
    from client_keys import digest_of

    for hidden in (key, digest_of(key), secret, pair["access_token"], pair["refresh_token"]):
        assert hidden not in log
        assert hidden[-20:] not in log
