"""Behind a real nginx, by a port and by a Unix socket, each caller is told from the others."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.conftest import SECRET
from tests.serving import create_client, end, free_port, is_ready, serve

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
START_SECONDS = 20
KEY = "ck_0123456789abcdef_" + 43 * "0" + "00000000"
CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream};
            proxy_set_header X-Forwarded-For "$http_x_told, $http_x_played";
        }}
    }}
}}
"""
"""Of what a caller says of itself the last is believed, as if nginx had seen it there."""


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    assert NGINX is not None
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(folder=folder, port=port, upstream=upstream, user=user)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    url = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + START_SECONDS
        while not is_ready(url):
            assert time.monotonic() < give_up, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        end(process, seconds=10)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("by_socket", [False, True], ids=["by a port", "by a Unix socket"])
def test_each_caller_has_a_limit_of_its_own(tmp_path: Path, by_socket: bool) -> None:
    create_client(tmp_path, SECRET_KEY=SECRET)
    with TemporaryDirectory() as short:
        host = f"unix:{short}/api.sock" if by_socket else "::"
        proxies = "unix" if by_socket else "127.0.0.1"
        environ = {"SECRET_KEY": SECRET, "LOGIN_FAILURES_BY_ADDRESS": "2/hour"}
        with serve(tmp_path, HOST=host, TRUSTED_PROXIES=proxies, **environ) as served:
            upstream = f"http://unix:{short}/api.sock" if by_socket else served.url
            with nginx(tmp_path, upstream) as url, httpx.Client(base_url=url) as api:

                def refuse(told: str, seen: str) -> int:
                    headers = {"X-Told": told, "X-Played": seen}
                    answer = api.post("/login", json={"client_key": KEY}, headers=headers)
                    return answer.status_code

                first = [refuse(f"198.51.100.{number}", "203.0.113.1") for number in range(3)]
                assert first == [401, 401, 429]  # whatever it claims to have come through
                assert refuse("198.51.100.1", "203.0.113.2") == 401
                assert '"address":"203.0.113.1"' in served.console
                assert "198.51.100" not in served.console
