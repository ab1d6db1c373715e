"""Behind a real nginx, by a port and by a Unix socket, each caller is told from the others."""

from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.conftest import SECRET
from tests.proxies import NGINX, nginx
from tests.serving import create_client, serve

KEY = "ck_0123456789abcdef_" + 43 * "0" + "00000000"
LOCATION = """
    location / {
        proxy_pass %s;
        proxy_set_header X-Forwarded-For "$http_x_told, $http_x_played";
    }
"""
"""Of what a caller says of itself the last is believed, as if nginx had seen it there."""


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
            with nginx(tmp_path, LOCATION % upstream) as url, httpx.Client(base_url=url) as api:

                def refuse(told: str, seen: str) -> int:
                    headers = {"X-Told": told, "X-Played": seen}
                    answer = api.post("/login", json={"client_key": KEY}, headers=headers)
                    return answer.status_code

                first = [refuse(f"198.51.100.{number}", "203.0.113.1") for number in range(3)]
                assert first == [401, 401, 429]  # whatever it claims to have come through
                assert refuse("198.51.100.1", "203.0.113.2") == 401
                assert '"address":"203.0.113.1"' in served.console
                assert "198.51.100" not in served.console
