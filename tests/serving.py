"""The service as a user runs it: a real process on a free port of 127.0.0.1."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from http.client import HTTPConnection, HTTPException
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from authapi.credentials.claims import new_database_id
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.store import clients as registry
from authapi.store import database_identity
from settings import Settings
from tests.forking import NOTES_LINES, Forked, is_same
from tests.ordinary import GIVE_UP

ROOT = Path(__file__).parent.parent
START_SECONDS = 30
ANSWERED_SECONDS = 20
RUN_SECONDS = 60
IS_ENCRYPTED = False
"""Nothing here is, and to read all certificates takes as long as twenty requests."""
_how_to_watch: dict[str, str] = {}


def stop_watching() -> None:
    """From now on the processes that are started note nothing, unless they are `watched`: that
    takes them half as long again, and other tests reach nearly all of their lines."""
    if how := os.environ.pop(NOTES_LINES, ""):
        _how_to_watch[NOTES_LINES] = how


def watched() -> dict[str, str]:
    """For the environment of a process whose lines no other test reaches."""
    return _how_to_watch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


Process = subprocess.Popen[bytes] | Forked


@dataclass
class Served:
    """A running service. `console` is what it has printed so far."""

    process: Process
    url: str
    console_file: Path
    unix_socket: str | None = None

    @property
    def console(self) -> str:
        return self.console_file.read_text()

    @property
    def demo_key(self) -> str:
        match = re.search(r"ck_\w+", self.console)
        assert match, self.console
        return match[0]

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self.process.poll() is None:
            if is_ready(self.url, self.unix_socket):
                return
            time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.console}")

    def client(self) -> httpx.Client:
        transport = (
            httpx.HTTPTransport(IS_ENCRYPTED, uds=self.unix_socket) if self.unix_socket else None
        )
        return httpx.Client(transport=transport, base_url=self.url, verify=IS_ENCRYPTED)

    def wait_for_starts(self, count: int) -> None:
        """Until so many workers have told of their start, of whom some may be gone again."""
        give_up = time.monotonic() + START_SECONDS
        while self.console.count("Application startup complete.") < count:
            assert time.monotonic() < give_up, self.console
            time.sleep(0.02)


def is_ready(url: str, unix_socket: str | None = None) -> bool:
    """By the plainest of clients: it is asked often, and httpx reads certificates each time."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        if unix_socket:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(unix_socket)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def request(method: str, url: str, **arguments: Any) -> httpx.Response:
    """On a connection of its own. Again where the answer is 503: the disk of a busy machine may be
    too slow for one request, and it is no test of that which asks by this."""
    give_up = time.monotonic() + ANSWERED_SECONDS
    with httpx.Client(verify=IS_ENCRYPTED) as client:
        while True:
            answer = client.request(method, url, **arguments)
            if answer.status_code != 503 or time.monotonic() > give_up:
                return answer
            time.sleep(0.1)


@contextmanager
def serve(
    folder: Path, code: Path | str = ROOT, launcher: Sequence[str] = (), **environ: str
) -> Iterator[Served]:
    """Run `python app.py` of the folder `code` in `folder`, and end it at the end. Whoever has to
    know the port before says which. `launcher` is what starts it, if anything is between."""
    port = int(environ.get("PORT") or free_port())
    console_file = folder / f"console-{port}.txt"
    console_file.write_bytes(b"")
    script, all_settings = Path(code) / "app.py", {"PORT": str(port)} | environ
    process = start(script, (), folder, all_settings, console_file, console_file, launcher)
    try:
        host = environ.get("HOST", "")
        unix_socket = host.removeprefix("unix:") if host.startswith("unix:") else None
        served = Served(process, f"http://127.0.0.1:{port}", console_file, unix_socket)
        served.wait_until_ready()
        # The first worker may be ready long before the last; and uvicorn takes 5 seconds to
        # notice the end of one that was still starting.
        served.wait_for_starts(int(environ.get("WORKERS", "1")))
        yield served
    finally:
        end(process, seconds=20)


def start(
    script: Path,
    arguments: tuple[str, ...],
    folder: Path,
    environ: dict[str, str],
    out: Path,
    err: Path,
    launcher: Sequence[str] = (),
) -> Process:
    """Run the script in `folder`, with these settings alone. Forked where that is the same: of our
    own code, with nothing between, and with no variable that counts before its first line."""
    everything = clean_environ() | environ
    is_ordinary = tuple(launcher) == GIVE_UP
    if is_same(script, environ) and (is_ordinary or not launcher):
        return Forked(script, arguments, folder, everything, out, err, is_ordinary)
    with out.open("ab") as to_out, err.open("ab") as to_err:
        return subprocess.Popen(
            [*launcher, sys.executable, str(script), *arguments],
            cwd=folder,
            env=everything,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            # Who ran the tests may ignore Ctrl-C, as `nohup` does, and a child would, too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def end(process: Process, seconds: float) -> None:
    """Ask it to stop, and end it if it does not within so many seconds."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clean_environ() -> dict[str, str]:
    """The environment without any setting of ours, so that a test depends on no machine."""
    left_out = {setting.name.upper() for setting in fields(Settings)}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def code_files() -> list[Path]:
    """What the service is made of, migrations included."""
    return sorted([*ROOT.glob("*.py"), *(ROOT / "authapi").rglob("*.py")])


def copy_code(folder: Path) -> None:
    """Bring the code into `folder`, where a test may change it."""
    for path in [*code_files(), *(ROOT / "authapi" / "html" / "templates").iterdir()]:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)  # compiled code belongs to a file of this time
        compiled = Path(cache_from_source(str(path)))
        if compiled.exists():
            beside = Path(cache_from_source(str(copy)))
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(compiled, beside)


def run(
    folder: Path, *command: str, launcher: Sequence[str] = (), **environ: str
) -> subprocess.CompletedProcess[str]:
    """What it has printed, and its exit code."""
    script, arguments = ROOT / command[0], command[1:]
    with TemporaryDirectory(prefix="console-") as consoles:
        out, err = Path(consoles, "out"), Path(consoles, "err")
        process = start(script, arguments, folder, environ, out, err, launcher)
        try:
            code = process.wait(RUN_SECONDS)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())


def children(pid: int) -> list[int]:
    """The workers; not the tracker that Python starts beside them."""
    return [
        child.pid
        for child in psutil.Process(pid).children()
        if not any("resource_tracker" in part for part in child.cmdline())
    ]


def migrate(folder: Path, **environ: str) -> str:
    """As `manage.py migrate` does in this folder, but in a tenth of the time. Returns the URL."""
    url = environ.get("DATABASE_URL", f"sqlite:///{folder}/auth.db")
    register(url)
    return url


def create_client(folder: Path, **environ: str) -> str:
    """As `manage.py create-client billing` does. Returns its key."""
    (key,) = register(migrate(folder, **environ), "billing")
    return key


def register(database_url: str, *names: str) -> list[str]:
    """Clients of these names, and the tables if there are none. Returns their keys."""
    keys = [new_client_key() for _ in names]

    async def create() -> None:
        await make_tables(database_url)
        async with Database(database_url) as database:
            for name, key in zip(names, keys, strict=True):
                now = int(time.time())
                assert await registry.create_client(database, new_client_id(), name, key, now)

    asyncio.run(create())
    return [key.text for key in keys]


async def make_tables(database_url: str) -> None:
    """As `manage.py migrate` does. A SQLite file that is not there is a copy, since to make one
    takes as long as two hundred copies, with an identity of its own."""
    database = Database(database_url)
    if not database.is_sqlite or Path(database.url.database).exists():
        await schema.upgrade(database)
        return
    file = Path(database.url.database)
    file.touch(0o600)
    file.write_bytes(await asyncio.to_thread(_file_with_tables))
    async with database:
        identity, now = new_database_id(), int(time.time())
        await database_identity.change_identity(database, identity, now)


@cache
def _file_with_tables() -> bytes:
    with TemporaryDirectory(prefix="tables-") as folder:
        asyncio.run(schema.upgrade(Database(f"sqlite:///{folder}/auth.db")))
        return Path(folder, "auth.db").read_bytes()
