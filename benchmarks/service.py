"""Runs a server on a core of its own, and reads what it costs."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.serving import ROOT, clean_environ, end, free_port

START_SECONDS = 90
PYTHON = str(Path(__file__).parent / ".venvs" / "ours" / "bin" / "python")
"""What runs us and `bare`: see interpreter.py."""
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = str(CORES[0]), str(CORES[-1])


class Void(Exception):
    """A measurement that shows nothing, since not every answer was good."""


class Stalled(Void):
    """Nothing was answered for so long that the machine, or its disk, must have stood still."""


@dataclass(frozen=True)
class Service:
    """A running server with its workers, and how long it took until it was ready."""

    pid: int
    port: int
    start_seconds: float

    def memory_mb(self, which: str = "VmRSS") -> float:
        return sum(_memory_mb(process.pid, which) for process in self._processes())

    def cpu_seconds(self) -> float:
        """Of all threads of all its processes, user and system, to the nanosecond: psutil counts
        in hundredths of a second."""
        return sum(time.clock_gettime(_cpu_clock(process.pid)) for process in self._processes())

    def idle_share(self, seconds: float = 1.0) -> float:
        """How much of its core it takes while nobody asks it anything."""
        before, began = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)

    def _processes(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid(3) makes of a process: its bits inverted, and the kind of clock."""
    return (~pid << 3) | 2


def _memory_mb(pid: int, which: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{which}:"))
    return int(line.split()[1]) / 1024


def environ(database_url: str, secret_key: str) -> dict[str, str]:
    ours = {"DATABASE_URL": database_url, "SECRET_KEY": secret_key}
    return clean_environ() | ours | {"LOGINS_BY_CLIENT": "1000000/second"}  # out of the way


def manage(folder: Path, env: dict[str, str], command: str) -> None:
    """Run a command of the operator; raises if it fails."""
    program = [sys.executable, str(ROOT / "manage.py"), command]
    subprocess.run(program, cwd=folder, env=env, check=True, capture_output=True)  # noqa: S603


@contextmanager
def serve(folder: Path, env: dict[str, str], cores: str = SERVER_CORE) -> Iterator[Service]:
    """Our service, as `make run` serves it."""
    with run([PYTHON, str(ROOT / "app.py")], folder, env, "/readyz", cores) as service:
        yield service


@contextmanager
def run(
    command: list[str], folder: Path, env: dict[str, str], path: str, cores: str = SERVER_CORE
) -> Iterator[Service]:
    """Run the command, which is ready when `path` is answered, until the end.

    Its port is in the environment, and in place of `{port}` in the command.
    """
    port = free_port()
    began = time.monotonic()
    console_file = folder / "console.txt"
    with console_file.open("wb") as console:
        process = subprocess.Popen(  # noqa: S603
            ["taskset", "-c", cores, *(part.replace("{port}", str(port)) for part in command)],  # noqa: S607
            cwd=folder,
            env=env | {"PORT": str(port)},
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        try:
            while not _is_ready(port, path):
                if process.poll() is not None or time.monotonic() > began + START_SECONDS:
                    raise Void(f"no start: {console_file.read_text()[-500:]}")
                time.sleep(0.005)
            yield Service(process.pid, port, time.monotonic() - began)
        finally:
            end(process, seconds=30)


def _is_ready(port: int, path: str) -> bool:
    """Whether it answers, if only that the caller should log in."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
