"""The services that are put to the test: real processes, on SQLite and on PostgreSQL."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests import serving
from tests.faults.client import Client, Node, Recorder, SharedPort
from tests.faults.proxy import Proxy, proxied
from tests.postgres import Postgres, run_postgres
from tests.serving import Served, children, run, serve, watched

SOAK = bool(os.environ.get("SOAK"))
"""The long versions: `make soak`."""
SECRET = {
    "SECRET_KEY": "s" * 32,
    # All callers come from one address, and a few clients begin all of the sessions.
    "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
    "LOGINS_BY_CLIENT": "1000000/second",
}


GRACE_SECONDS = 1.0
"""Of services that several tests share, so that a test can wait until it is over."""


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
    keys = serving.register(database_url, *names)
    return [Client(name, key) for name, key in zip(names, keys, strict=True)]


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


@dataclass
class Cluster:
    """Nodes on a PostgreSQL of their own, so that no other test is without one. The last of them
    reaches it through the proxy."""

    postgres: Postgres
    proxy: Proxy
    service: Service
    url: str


@contextmanager
def serve_cluster(
    folder: Path, postgres_files: Path, users: Sequence[str], **settings: str
) -> Iterator[Cluster]:
    """One node for each of these users of PostgreSQL, which has these settings."""
    with run_postgres(postgres_files, **settings) as postgres, proxied(postgres) as proxy:
        create_users(postgres, users)
        url = postgres.new_database()
        urls = [url_for(user, url) for user in users[:-1]] + [url_for(users[-1], url, proxy)]
        environ = {"REFRESH_GRACE_SECONDS": str(GRACE_SECONDS)} | watched()
        with serve_nodes(folder, urls, **environ) as service:
            yield Cluster(postgres, proxy, service, url)


def create_users(postgres: Postgres, users: Sequence[str]) -> None:
    for user in {*users} - {"postgres"}:
        postgres.execute(f"CREATE ROLE {user} SUPERUSER LOGIN")


def url_for(user: str, url: str, proxy: Proxy | None = None) -> str:
    if proxy is not None:
        url = f"{url.partition('?')[0]}?host={proxy.folder}"
    return url.replace("postgres@", f"{user}@")


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


@dataclass
class Administrator:
    """Who manages the service over HTTP, at whichever node. Its answers are acknowledgements."""

    token: str

    async def disable(self, recorder: Recorder, node: Node, client: Client) -> None:
        _, _, found = await node.ask("GET", f"/admin/clients?name={client.name}", self.token)
        place = f"/admin/clients/{found['clients'][0]['user_id']}"
        start = time.monotonic()
        status, _, _ = await node.ask("PATCH", place, self.token, {"disabled": True})
        recorder.note("disable", start, status=status, client=client.name)

    async def revoke_key(self, recorder: Recorder, node: Node, client: Client) -> None:
        start = time.monotonic()
        status, _, _ = await node.ask("DELETE", f"/admin/keys/{client.key_id}", self.token)
        recorder.note("revoke-key", start, status=status, client=client.name, key=client.key_id)


async def administrator(service: Service, node: Node, name: str) -> Administrator:
    """A new one, of this name."""
    (client,) = await asyncio.to_thread(service.register, name)
    await manage(service, "set-scopes", name, "admin:read admin:write")
    _, _, pair = await node.ask("POST", "/login", payload={"client_key": client.key})
    return Administrator(pair["access_token"])


async def retire_signing_key(recorder: Recorder, service: Service, kid: str) -> None:
    """By the operator's command, like `disable`. Another key has to sign by then."""
    start = time.monotonic()
    report = await manage(service, "retire-signing-key", kid, "--yes")
    recorder.note("retire", start, status=503 if report is None else 200, key=kid)


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
