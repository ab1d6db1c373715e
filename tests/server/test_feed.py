"""The feed of a served process: beside other connections, on any worker, and to its end."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from authapi.server.limits import Limits
from authapi.server.main import STOP_SECONDS
from tests import forge
from tests.checks import assert_answer, assert_refused, bearer
from tests.limiting import limited
from tests.serving import Served, create_client, request, run, serve

FEW = Limits(connections=5, wait_seconds=60)
HELD = 30
SOON_SECONDS = 4.0
"""Well before a poll of 5 seconds would be answered by itself, on a busy machine too."""
ENVIRON = {"SECRET_KEY": "s" * 32}


class Verifier:
    """A service that follows the feed. Each poll is on a connection of its own."""

    def __init__(self, served: Served, folder: Path, key: str, **environ: str) -> None:
        scopes = run(folder, "manage.py", "set-scopes", "billing", "revocations:read", **environ)
        assert scopes.returncode == 0, scopes.stderr
        self.url, self.key = served.url, key
        self.headers = bearer(self.log_in())

    def log_in(self) -> str:
        answer = request("POST", f"{self.url}/login", json={"client_key": self.key})
        token: str = assert_answer(answer, 200)["access_token"]
        return token

    def log_out(self, token: str) -> None:
        assert_answer(request("POST", f"{self.url}/logout", headers=bearer(token)), 200)

    def poll(self, **query: Any) -> dict[str, Any]:
        answer = request(
            "GET", f"{self.url}/revocations", params=query, headers=self.headers, timeout=20
        )
        told: dict[str, Any] = assert_answer(answer, 200)
        return told


def wait_for_held(pool: list[Any]) -> None:
    """Until all have come, by when none of them can have been answered yet."""
    time.sleep(0.5)
    assert not any(each.done() for each in pool)


def test_held_polls_leave_room_for_everybody_else(tmp_path: Path) -> None:
    """They are six times as many as there may be other connections."""
    key = create_client(tmp_path, **ENVIRON)
    with limited(tmp_path, FEW, SECRET_KEY=ENVIRON["SECRET_KEY"]) as served:
        verifier = Verifier(served, tmp_path, key, **ENVIRON)
        cursor, token = verifier.poll()["cursor"], verifier.log_in()
        with ThreadPoolExecutor(HELD) as pool:
            polls = [pool.submit(verifier.poll, after=cursor, wait=5) for _ in range(HELD)]
            wait_for_held(polls)
            began = time.monotonic()
            with httpx.Client() as client:
                for _ in range(20):
                    assert client.get(f"{served.url}/healthz").status_code == 200
            for _ in range(10):
                assert request("GET", f"{served.url}/healthz").status_code == 200
            verifier.log_out(token)
            told = [poll.result(timeout=20) for poll in polls]
            assert time.monotonic() - began < SOON_SECONDS
        assert {len(each["revoked"]) for each in told} == {1}
        assert "Traceback" not in served.console


def test_who_hangs_up_leaves_its_place_to_another_at_once(tmp_path: Path) -> None:
    environ = ENVIRON | {"FEED_MAX_HELD": "1"}
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ) as served:
        verifier = Verifier(served, tmp_path, key, **environ)
        query = {"after": verifier.poll()["cursor"], "wait": 5}
        with httpx.Client(base_url=served.url, headers=verifier.headers) as client:
            with pytest.raises(httpx.ReadTimeout):  # by which its connection is closed
                client.get("/revocations", params=query, timeout=0.5)
            began = time.monotonic()
            while True:
                answer = client.get("/revocations", params=query | {"wait": "0.01"})
                if answer.status_code == 200:
                    break
                assert_refused(answer, 503, "temporarily_unavailable")
                assert time.monotonic() - began < SOON_SECONDS
        assert time.monotonic() - began < SOON_SECONDS
        assert "Traceback" not in served.console


def test_a_stop_answers_the_polls_that_are_held(tmp_path: Path) -> None:
    key = create_client(tmp_path, **ENVIRON)
    with serve(tmp_path, **ENVIRON) as served:
        verifier = Verifier(served, tmp_path, key, **ENVIRON)
        cursor = verifier.poll()["cursor"]
        with ThreadPoolExecutor(1) as pool:
            poll = pool.submit(verifier.poll, after=cursor, wait=1)
            wait_for_held([poll])
            began = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            assert poll.result(timeout=20)["revoked"] == {}
        served.process.wait(timeout=20)
        assert time.monotonic() - began < STOP_SECONDS
        assert "Traceback" not in served.console


def test_any_worker_answers_what_another_has_said(tmp_path: Path) -> None:
    environ = ENVIRON | {"WORKERS": "2"}
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ) as served:
        verifier = Verifier(served, tmp_path, key, **environ)
        cursor = verifier.poll()["cursor"]
        ended: set[str] = set()
        heard: set[str] = set()
        give_up = time.monotonic() + 30
        while cursor.count(".") < 2 or len(ended) < 5:  # by then both workers have answered
            assert time.monotonic() < give_up
            token = verifier.log_in()
            verifier.log_out(token)
            ended.add(forge.claims_of(token)["sid"])
            told = verifier.poll(after=cursor)
            cursor = told["cursor"]
            heard |= set(told["revoked"])
            assert heard == ended
