"""The one test of `make check` with a real process: it starts, logs in and out, and stops."""

import signal
from pathlib import Path

import httpx

from tests.checks import assert_answer, assert_refused, bearer
from tests.serving import serve


def test_it_starts_logs_in_and_out_and_stops(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        with httpx.Client(base_url=served.url) as http:
            pair = assert_answer(http.post("/login", json={"client_key": served.demo_key}), 200)
            headers = bearer(pair["access_token"])
            assert_answer(http.get("/secure-data", headers=headers), 200)
            assert_answer(http.post("/logout", headers=headers), 200)
            assert_refused(http.get("/secure-data", headers=headers), 401, "invalid_token")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(timeout=20) == -signal.SIGTERM
        assert "Traceback" not in served.console
