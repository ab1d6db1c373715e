"""Two copies of the service that differ in a trick, each behind sockets and without them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import honesty
import scale_rows as rows
import service
import wrk
from peer import Clients, Peer, Running, all_peers
from scenarios import Measured, Send
from service import SERVER_CORE, Service, Stalled, Void
from wrk import Call

from tests.serving import end

INSIDE = Path(__file__).parent / "inside.py"
LIMITS = {
    "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
    "LOGIN_FAILURES_TOGETHER": "1000000/second",
}
"""Out of the way of a load of refused keys."""


@dataclass(frozen=True)
class Variant:
    """A copy that runs, and how a load is sent to it."""

    server: Running
    send: Send
    seconds: float
    """How long a measurement takes."""
    repeats: int
    """How often it is done in a round: without sockets, many short ones are better than a long
    one, since what disturbs them is soon over."""


def ours(code: Path) -> Peer:
    """The service as the code in this folder has it."""
    (peer,) = (each for each in all_peers() if each.name == "ours")
    return replace(peer, command=[service.PYTHON, str(code / "app.py")])


@contextmanager
def behind_sockets(code: Path, folder: Path, clients: Clients) -> Iterator[Variant]:
    """As it is served, once it has shown that it answers as it must."""
    peer = ours(code)
    with peer.start(folder.with_name(f"{folder.name}, checked"), clients, SERVER_CORE) as server:
        honesty.check(server)
    with replace(peer, env=LIMITS).start(folder, clients, SERVER_CORE) as server:
        yield Variant(server, wrk.send, seconds=1, repeats=1)


@contextmanager
def without_sockets(code: Path, folder: Path, clients: Clients) -> Iterator[Variant]:
    """In a process that is told what to measure: see inside.py."""
    folder.mkdir()
    settings = service.environ(f"sqlite:///{folder / 'auth.db'}", rows.SECRET_KEY) | LIMITS
    clients.fill_ours(folder, settings)
    orders, theirs = Pipe()
    command = ["taskset", "-c", SERVER_CORE, service.PYTHON, str(INSIDE), str(theirs.fileno())]
    with orders, (folder / "console.txt").open("wb") as console:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            env=settings | {"PYTHONPATH": str(code)},
            stdout=console,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            orders.recv()  # that it is ready
            server = Running(ours(code), Service(process.pid, 0, 0), folder, clients.callers)
            yield Variant(server, partial(_order, orders), seconds=0.1, repeats=3)
            orders.send(None)
            process.wait(timeout=30)
        finally:
            end(process, seconds=30)


def _order(
    orders: Connection,
    _: Service,
    call: Call,
    lines: Path,
    seconds: float,
    *,
    status: int = 200,
    answers: int | None = None,
    connections: int = wrk.CONNECTIONS,
) -> Measured:
    what = call.method, call.path, call.field, lines
    orders.send((*what, seconds, status, answers, connections))
    found: Measured = orders.recv()
    if found["wrong"]:
        raise Void(f"{call.path}: {found['wrong']} wrong answers without sockets")
    if not found["answers"]:
        raise Stalled(f"{call.path}: no answer without sockets")
    return found
