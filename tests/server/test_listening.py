"""Where it listens, whom it takes for the caller there, and what it says where it cannot."""

import errno
import socket
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from authapi.server.listening import CannotListen, explain_fault, listen
from tests.conftest import SECRET
from tests.serving import Served, create_client, run, serve, watched

KEY = "ck_0123456789abcdef_" + 43 * "0" + "00000000"


def refuse(url: str, **headers: str) -> int:
    return httpx.post(
        f"{url}/login", json={"client_key": KEY}, headers=headers, verify=False
    ).status_code


def on_port(served: Served, host: str) -> str:
    return f"http://{host}:{served.url.rpartition(':')[2]}"


LIMIT = {"LOGIN_FAILURES_BY_ADDRESS": "3/hour", "SECRET_KEY": SECRET}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_client(tmp_path, SECRET_KEY=SECRET)
    return tmp_path


def test_on_a_socket_for_both_kinds_each_address_has_its_own_limit(folder: Path) -> None:
    with serve(folder, HOST="::", TRUSTED_PROXIES="127.0.0.1", **LIMIT, **watched()) as served:
        url = on_port(served, "127.0.0.1")
        assert [refuse(url) for _ in range(4)] == [401, 401, 401, 429]
        assert refuse(on_port(served, "[::1]")) == 401
        # From 127.0.0.1, which is a proxy, though the socket calls it ::ffff:127.0.0.1.
        for address in ("203.0.113.1", "::ffff:203.0.113.2", "203.0.113.3"):
            assert refuse(url, **{"X-Forwarded-For": address}) == 401
        for _ in range(3):
            refuse(url, **{"X-Forwarded-For": "::ffff:203.0.113.1"})
        assert refuse(url, **{"X-Forwarded-For": "203.0.113.1"}) == 429
        assert '"address":"203.0.113.2"' in served.console
        assert "ffff" not in served.console


def test_it_serves_on_a_unix_socket_whose_callers_may_be_trusted(folder: Path) -> None:
    with TemporaryDirectory() as short:  # a socket's path has 107 bytes at the most
        path = Path(short) / "api.sock"
        for _ in range(2):  # a socket that is left over is taken away
            with (
                serve(
                    folder, HOST=f"unix:{path}", TRUSTED_PROXIES="unix", **LIMIT, **watched()
                ) as served,
                served.client() as api,
            ):
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
                body, headers = {"client_key": KEY}, {"X-Forwarded-For": "203.0.113.9"}
                api.post("/login", json=body, headers=headers)
                assert '"address":"203.0.113.9"' in served.console
                api.post("/login", json=body)
                assert '"address":"unix"' in served.console


def started(folder: Path, **environ: str) -> str:
    """The line with which a start ends that cannot listen."""
    ended = run(folder, "app.py", SECRET_KEY=SECRET, **environ, **watched())
    assert ended.returncode == 2, ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def test_a_port_that_is_taken_is_named_with_what_to_do(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert started(folder, PORT=port) == (
            f"PORT={port} is taken on HOST=127.0.0.1: stop what has it, or set another PORT.\n"
        )


def test_an_address_that_is_not_ours_is_named(folder: Path) -> None:
    assert "HOST=192.0.2.1 is no address of this machine" in started(folder, HOST="192.0.2.1")
    assert "HOST=x.invalid has no address here" in started(folder, HOST="x.invalid")
    assert "HOST=unix:/nowhere/api.sock: No such file" in started(
        folder, HOST="unix:/nowhere/api.sock"
    )


def test_a_socket_on_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    with TemporaryDirectory() as short:
        path = f"{short}/api.sock"
        with listen(f"unix:{path}", 0) as first:
            first.listen()
            with pytest.raises(CannotListen, match="is taken"):
                listen(f"unix:{path}", 0)
        other = Path(short) / "file"
        other.write_text("kept")
        with pytest.raises(CannotListen, match="is taken"):
            listen(f"unix:{other}", 0)
        assert other.read_text() == "kept"


def test_a_port_for_root_alone_and_whatever_else_is_amiss_are_said() -> None:
    faults = {errno.EACCES: "is for root alone", errno.EMFILE: "cannot be had: Too many"}
    for fault, said in faults.items():
        assert said in explain_fault(OSError(fault, "x"), "127.0.0.1", 80)


def test_a_name_that_is_nearly_a_settings_is_told_at_the_start(folder: Path) -> None:
    (folder / ".env").write_text("WORKRES=4\nEDITOR=vi\n")
    with serve(folder, SECRET_KEY=SECRET, **watched()) as served:
        assert '"event":"setting_unknown","name":"WORKRES","nearest":"WORKERS"' in served.console
        assert served.console.count("setting_unknown") == 1
