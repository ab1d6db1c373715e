"""The services that are put to the test: real processes, on SQLite and on PostgreSQL."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread
from typing import Any

import psutil

from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.engines.sqlite import create_file
from authapi.store import clients as registry
from tests.faults.client import Client, Node, Recorder, SharedPort
from tests.postgres import Postgres
from tests.serving import Served, children, run, serve

SOAK = bool(os.environ.get("SOAK"))
"""The long versions: `make soak`."""
SECRET = {
    "SECRET_KEY": "s" * 32,
    # All callers come from one address, and a few clients begin all of the sessions.
    "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
    "LOGINS_BY_CLIENT": "1000000/second",
}


def scaled(short: int, soak: int) -> int:
    return soak if SOAK else short


@dataclass
class Service:
    """What serves one database. `environ` is what an operator's command needs too."""

    folder: Path
    environ: dict[str, str]
    servers: list[Served]
    is_shared_port: bool
    _read: dict[str, int] = field(default_factory=dict)

    def nodes(self) -> list[Node]:
        """Of the event loop that runs: each test has its own, and so its own connections."""
        if self.is_shared_port:
            (served,) = self.servers
            return list(SharedPort(served.url, children(served.process.pid)).nodes)
        return [
            Node(f"node at {served.url.rpartition(':')[2]}", served.url) for served in self.servers
        ]

    def register(self, *names: str) -> list[Client]:
        return register(self.environ["DATABASE_URL"], *names)

    def assert_silent(self, recorder: Recorder) -> None:
        """Since it was last asked, no server told a secret, nor met what it did not expect."""
        secrets = {session.client.key for session in recorder.sessions}
        for session in recorder.sessions[-200:]:
            secrets |= {session.access, *session.refresh}
        for served in self.servers:
            console = served.console[self._read.get(served.url, 0) :]
            self._read[served.url] = len(served.console)
            assert "Exception in ASGI" not in console, console[-4000:]
            assert not any(secret in console for secret in secrets)


def register(database_url: str, *names: str) -> list[Client]:
    """With the schema, if it is not there yet."""
    keys = [new_client_key() for _ in names]

    async def create() -> None:
        await schema.upgrade(Database(database_url))
        async with Database(database_url) as database:
            for name, key in zip(names, keys, strict=True):
                now = int(time.time())
                assert await registry.create_client(database, new_client_id(), name, key, now)

    if database_url.startswith("sqlite"):
        create_file(str(Database(database_url).url.database))
    asyncio.run(create())
    return [Client(name, key.text) for name, key in zip(names, keys, strict=True)]


@contextmanager
def serve_file(file: Path, folder: Path | None = None, **environ: str) -> Iterator[Service]:
    """Workers of one server on one SQLite file; two unless `WORKERS` says otherwise.

    It runs in `folder`, which is the file's own by default.
    """
    folder, url = folder or file.parent, f"sqlite:///{file}"
    environ = SECRET | {"DATABASE_URL": url, "WORKERS": "2"} | environ
    register(url)
    with serve(folder, **environ) as served:
        yield Service(folder, environ, [served], is_shared_port=environ["WORKERS"] != "1")


@contextmanager
def serve_nodes(folder: Path, urls: Sequence[str], **environ: str) -> Iterator[Service]:
    """Servers of their own, one for each URL, that share a PostgreSQL database."""
    register(urls[0])
    environ = SECRET | {"DATABASE_URL": urls[0]} | environ
    with ExitStack() as stack, ThreadPoolExecutor(len(urls)) as pool:
        starts = [serve(folder, **environ | {"DATABASE_URL": url}) for url in urls]
        # A server may be up though another did not start: each must be ended.
        entered = [pool.submit(stack.enter_context, start) for start in starts]
        servers = [start.result() for start in entered]
        yield Service(folder, environ, servers, is_shared_port=False)


async def disable(recorder: Recorder, service: Service, client: Client) -> None:
    """By the operator's command, whose exit code is its acknowledgement."""
    start = time.monotonic()
    command = ("manage.py", "disable-client", client.name, "--yes")
    result = await asyncio.to_thread(run, service.folder, *command, **service.environ)
    status = 200 if result.returncode == 0 else 503
    recorder.note("disable", start, status=status, client=client.name)


async def manage(service: Service, *arguments: str) -> Any:
    """What an operator's command reports; None if it failed."""
    result = await asyncio.to_thread(
        run, service.folder, "manage.py", *arguments, "--json", **service.environ
    )
    return json.loads(result.stdout) if result.returncode == 0 else None


async def revoke_key(recorder: Recorder, service: Service, client: Client) -> None:
    """By the operator's command, like `disable`."""
    start = time.monotonic()
    report = await manage(service, "revoke-key", client.key_id, "--yes")
    status = 503 if report is None else 200
    recorder.note("revoke-key", start, status=status, client=client.name, key=client.key_id)


async def end_all_sessions(recorder: Recorder, service: Service, *clients: Client) -> None:
    """By the operator's command. For the judge, it ends each client's sessions everywhere."""
    start = time.monotonic()
    report = await manage(service, "end-all-sessions", "--yes")
    status = 503 if report is None else 200
    for client in clients:
        recorder.note("everywhere", start, status=status, client=client.name)


def kill(processes: Sequence[int]) -> None:
    """All at once, as when the machine goes down; returns once they are gone."""
    victims = [psutil.Process(pid) for pid in processes]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    give_up = time.monotonic() + 20
    while any(is_alive(victim) for victim in victims):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Proxy:
    """Between a node and PostgreSQL; `cut` makes it as silent as a network that is parted."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self._target = _socket_of(postgres)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        folder.chmod(0o755)  # a standby, which may run as another user, comes this way too
        (folder / ".s.PGSQL.5432").chmod(0o666)
        self._listener.listen(100)
        self._sockets: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._may_pass = Condition()
        self._is_open = True
        self._is_over = False
        self._start(self._accept)

    def cut(self) -> None:
        """When it returns, nothing passes any more in either direction."""
        with self._may_pass:
            self._is_open = False

    def mend(self) -> None:
        with self._may_pass:
            self._is_open = True
            self._may_pass.notify_all()

    def lead_to(self, postgres: Postgres) -> None:
        """From now on, to this one; what led to the other is at an end, as when a name moves."""
        self._target = _socket_of(postgres)
        for each in self._sockets:
            _shut(each)

    def close(self) -> None:
        with self._may_pass:
            self._is_over = True
            self._may_pass.notify_all()
        for each in [self._listener, *self._sockets]:
            _shut(each)
        for thread in self._threads:
            thread.join(timeout=10)
        for each in [self._listener, *self._sockets]:
            each.close()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._sockets += [near, far]
            try:
                far.connect(self._target)
            except OSError:
                _shut(near)
                continue
            self._start(self._pump, near, far)
            self._start(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                with self._may_pass:
                    self._may_pass.wait_for(lambda: self._is_open or self._is_over)
                    sink.sendall(data)
        except OSError:
            pass
        _shut(sink)


def _socket_of(postgres: Postgres) -> str:
    return str(Path(str(postgres.socket_folder)) / ".s.PGSQL.5432")


def _shut(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was first


@contextmanager
def proxied(postgres: Postgres) -> Iterator[Proxy]:
    # A path of a socket is at most some hundred characters long.
    with TemporaryDirectory(prefix="proxy-") as folder:
        proxy = Proxy(Path(folder), postgres)
        try:
            yield proxy
        finally:
            proxy.close()
