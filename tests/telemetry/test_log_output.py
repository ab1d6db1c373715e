"""A log that nobody reads holds nobody up, and says afterwards how much of it is missing."""

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
import pytest

from authapi.telemetry import audit
from authapi.telemetry.log_output import Lines
from authapi.telemetry.logs import JSONFormatter, LineHandler
from tests.conftest import SECRET
from tests.serving import ROOT, clean_environ, create_client, end, free_port, is_ready

ROOM = 2**16
"""Of a pipe, on Linux."""
WAIT_SECONDS = 60


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, io.TextIOWrapper]]:
    """What reads, and what is written to."""
    if request.param == "pipe":
        reader, writer = os.pipe()
    else:
        one, other = socket.socketpair()
        reader, writer = one.detach(), other.detach()
    os.set_blocking(reader, False)
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
    os.close(reader)


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Opened(Protocol):
    def __call__(self, one: T) -> T: ...


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Closes what it is given at the end."""
    with ExitStack() as stack:

        def opened(one: T) -> T:
            stack.callback(one.close)
            return one

        yield opened


def read(reader: int) -> str:
    parts = []
    try:
        while part := os.read(reader, 2**20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts).decode()


def test_lines_wait_for_a_reader_who_is_late_and_none_is_torn(
    ends: tuple[int, io.TextIOWrapper], opened: Opened
) -> None:
    reader, stream = ends
    lines = opened(Lines(stream))
    # Longer than what a pipe or a socket takes whole or not at all.
    written = [f"{number:06}" + 300_000 * "x" for number in range(30)]
    for line in written:
        lines.put(line)
    found = ""
    while not lines.write_waiting():
        found += read(reader)
    found += read(reader)
    assert found.splitlines() == written
    assert lines.lost == 0


def test_past_a_bound_lines_are_counted(ends: tuple[int, io.TextIOWrapper], opened: Opened) -> None:
    reader, stream = ends
    lines, line = opened(Lines(stream, max_waiting=3)), 999 * "x"
    for _ in range(2000):
        lines.put(line)
    found = read(reader)
    while not lines.write_waiting():
        found += read(reader)
    found += read(reader)
    assert len(found.splitlines()) + lines.lost == 2000
    assert lines.lost > 1000


def test_what_is_missing_is_told_before_what_comes_next(
    ends: tuple[int, io.TextIOWrapper], opened: Opened
) -> None:
    reader, stream = ends
    handler = opened(LineHandler(stream, JSONFormatter(), max_waiting=1))
    for _ in range(2000):
        handler.handle(audit.Event("before", {"text": 999 * "x"}))
    handler.flush()
    found = read(reader)
    handler.flush()
    handler.handle(audit.Event("after", {}))
    *befores, lost, after = (found + read(reader)).splitlines()
    assert '"event":"audit_lines_lost"' in lost
    assert f'"count":{2000 - len(befores)}}}' in lost
    assert '"event":"after"' in after


def test_the_pipe_waits_for_others_as_before(opened: Opened) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        opened(Lines(stream)).put("x")
        assert os.get_blocking(writer)
    assert os.read(reader, 9) == b"x\n"
    os.close(reader)


def test_requests_go_on_while_nobody_reads_the_log(tmp_path: Path) -> None:
    key, port = create_client(tmp_path, SECRET_KEY=SECRET), free_port()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py")],
        cwd=tmp_path,
        env=clean_environ() | {"PORT": str(port), "SECRET_KEY": SECRET},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    url, give_up = f"http://127.0.0.1:{port}", time.monotonic() + WAIT_SECONDS
    try:
        while not is_ready(url):
            assert process.poll() is None
            assert time.monotonic() < give_up
        with httpx.Client(base_url=url, timeout=5) as api:
            lines = 2 * ROOM // 200  # a line of a login is longer
            for _ in range(lines):
                assert api.post("/login", json={"client_key": key}).status_code == 200
            assert api.get("/healthz").status_code == 200
            os.set_blocking(process.stdout.fileno(), False)
            found, give_up = "", time.monotonic() + WAIT_SECONDS
            while found.count('"event":"login"') < lines:
                assert time.monotonic() < give_up
                found += read(process.stdout.fileno())
    finally:
        end(process, seconds=20)
        process.stdout.close()
    assert "audit_lines_lost" not in found
