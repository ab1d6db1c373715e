"""The one test of `make check` with a real process: it starts, logs in and out, and stops."""

import signal
from pathlib import Path

from tests.checks import assert_answer, bearer
from tests.serving import request, serve


def test_it_starts_logs_in_and_out_and_stops(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        login = request("POST", f"{served.url}/login", json={"client_key": served.demo_key})
        headers = bearer(assert_answer(login, 200)["access_token"])
        for method, path, status in (
            ("GET", "/secure-data", 200),
            ("POST", "/logout", 200),
            ("GET", "/secure-data", 401),
        ):
            assert_answer(request(method, served.url + path, headers=headers), status)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(timeout=20) == -signal.SIGTERM
        assert "Traceback" not in served.console
