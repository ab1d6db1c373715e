"""Runs the service and puts load on it: as fast as it can with wrk, or at a steady pace."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.serving import ROOT, clean_environ, free_port

CONNECTIONS = 32
START_SECONDS = 90
IDLE_SECONDS = 3
"""uvicorn closes a connection that was idle for 5 seconds."""
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = str(CORES[0]), str(CORES[-1])

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Void(Exception):
    """A measurement that shows nothing, since not every answer was good."""


@dataclass(frozen=True)
class Service:
    """A running `python app.py`, and how long it took until it was ready."""

    pid: int
    port: int
    start_seconds: float

    def memory_mb(self, which: str = "VmRSS") -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{which}:"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def idle_share(self, seconds: float = 1.0) -> float:
        """How much of its core it takes while nobody asks it anything."""
        before, began = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)


def environ(database_url: str, secret_key: str) -> dict[str, str]:
    return clean_environ() | {"DATABASE_URL": database_url, "SECRET_KEY": secret_key}


def manage(folder: Path, env: dict[str, str], command: str) -> None:
    """Run a command of the operator; raises if it fails."""
    program = [sys.executable, str(ROOT / "manage.py"), command]
    subprocess.run(program, cwd=folder, env=env, check=True, capture_output=True)  # noqa: S603


@contextmanager
def serve(folder: Path, env: dict[str, str]) -> Iterator[Service]:
    """One worker on a core of its own."""
    port = free_port()
    began = time.monotonic()
    with (folder / "console.txt").open("wb") as console:
        process = subprocess.Popen(  # noqa: S603
            ["taskset", "-c", SERVER_CORE, sys.executable, str(ROOT / "app.py")],  # noqa: S607
            cwd=folder,
            env=env | {"PORT": str(port)},
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() > began + START_SECONDS:
                    raise Void(f"no start: {(folder / 'console.txt').read_text()[-500:]}")
                time.sleep(0.005)
            yield Service(process.pid, port, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def wrk(
    service: Service, path: str, field: str, lines: Path, seconds: int, answers: int | None = None
) -> dict[str, float]:
    """Send the `lines` in turn, as fast as they are answered. Raises `Void` for any error."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    script = ["-s", str(Path(__file__).with_name("scale.lua"))]
    url = f"http://127.0.0.1:{service.port}{path}"
    arguments = ["--", field, str(lines), *([str(answers)] if answers else [])]
    result = subprocess.run(  # noqa: S603
        [*command, *script, url, *arguments], capture_output=True, text=True, check=True
    )
    report: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    if report["errors"] or not report["answers"]:
        raise Void(f"{path}: {report['errors']:.0f} errors in {report['answers']:.0f} answers")
    return report | {"rate": report["answers"] / report["seconds"]}


@dataclass
class Pace:
    """Requests at a fixed rate, whatever becomes of the earlier ones: none waits unseen.

    `kinds` makes the next request of each kind. A latency counts from when the request was due.
    """

    port: int
    kinds: dict[str, Callable[[], bytes]]
    per_second: int

    def run(self, until: Callable[[], bool], at_least: float) -> dict[str, list[float]]:
        """The latencies in ms of each kind, in order of time. Raises `Void` for any error."""
        return asyncio.run(self._run(until, at_least))

    async def _run(self, until: Callable[[], bool], at_least: float) -> dict[str, list[float]]:
        self._idle: list[tuple[float, Stream]] = []
        self._faults: list[str] = []
        latencies: dict[str, list[float]] = {kind: [] for kind in self.kinds}
        began = time.monotonic()
        watch = asyncio.create_task(_watch(until, began + at_least))
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(cycle(self.kinds)):
                due = began + number / self.per_second
                await asyncio.sleep(max(0, due - time.monotonic()))
                group.create_task(self._ask(self.kinds[kind](), due, latencies[kind]))
                if watch.done():
                    break
        for _, (_, writer) in self._idle:
            writer.close()
        if self._faults:
            raise Void(f"{len(self._faults)} errors at a steady pace: {self._faults[0]}")
        return latencies

    async def _ask(self, request: bytes, due: float, latencies: list[float]) -> None:
        try:
            stream = await self._connect()
            reader, writer = stream
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError) as fault:
            self._faults.append(repr(fault))
            return
        latencies.append((time.monotonic() - due) * 1e3)
        if not head.startswith(b"HTTP/1.1 200"):
            self._faults.append(head.partition(b"\r\n")[0].decode())
        self._idle.append((time.monotonic(), stream))

    async def _connect(self) -> Stream:
        """The connection used last, or a new one where the server may be closing that."""
        while self._idle:
            since, stream = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return stream
            stream[1].close()
        return await asyncio.open_connection("127.0.0.1", self.port)


async def _watch(until: Callable[[], bool], not_before: float) -> None:
    while time.monotonic() < not_before or not until():  # noqa: ASYNC110, it is not ours to tell
        await asyncio.sleep(0.2)


def get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def post(path: str, field: str, text: str) -> bytes:
    body = f"{field}={text}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    ).encode()


def summarize(latencies: list[float]) -> dict[str, Any]:
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "requests": len(ordered),
        "p50_ms": ordered[last // 2],
        "p99_ms": ordered[last * 99 // 100],
        "max_ms": ordered[-1],
    }
