"""Asks a service without a socket: what its answers cost when the kernel has no part in them.

A process loads the application and uvicorn with our protocol as it does to serve, on uvloop, and
hands the protocol the bytes of requests by a transport that keeps what is answered. It is asked
what to measure over a pipe, and answers with what wrk would report. Run by ledger.py.
"""

import asyncio
import re
import sys
import time
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

CONNECTIONS = 32
"""As wrk has."""
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Order(NamedTuple):
    """What is sent, as in wrk.py."""

    method: str
    path: str
    field: str
    lines: Path
    seconds: float
    status: int
    answers: int | None
    connections: int


class Load:
    """The requests of one measurement, and what becomes of them."""

    def __init__(self, order: Order) -> None:
        lines = order.lines.read_text().splitlines()
        self._status = b" %d " % order.status
        self._ends_at = time.monotonic() + order.seconds
        requests = [_request(order, line) for line in lines]
        self._requests = islice(cycle(requests), order.answers)
        self.sent = self.answers = self.wrong = 0
        self._under_way = 0
        self.is_over = asyncio.Event()

    def next(self) -> bytes | None:
        """Nothing once the time or the requests are over."""
        request = next(self._requests, None) if time.monotonic() < self._ends_at else None
        if request is not None:
            self.sent += 1
            self._under_way += 1
        elif not self._under_way:
            self.is_over.set()
        return request

    def answered(self, head: bytes) -> None:
        self._under_way -= 1
        self.answers += 1
        self.wrong += self._status not in head[:16]


def _request(order: Order, line: str) -> bytes:
    head = f"{order.method} {order.path} HTTP/1.1\r\nHost: x\r\n"
    if order.field == "bearer":
        return f"{head}Authorization: Bearer {line}\r\n\r\n".encode()
    body = f'{{"{order.field}": "{line}"}}'
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{about}{body}".encode()


class Transport(asyncio.Transport):
    """A connection whose client asks again as soon as it is answered."""

    def __init__(self, protocol: asyncio.Protocol, port: int) -> None:
        super().__init__({"peername": ("127.0.0.1", port), "sockname": ("127.0.0.1", 8000)})
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._answer = b""
        self._load: Load | None = None
        protocol.connection_made(self)

    def begin(self, load: Load) -> None:
        self._load = load
        self._ask()

    def _ask(self) -> None:
        if self._load and (request := self._load.next()) is not None:
            self._protocol.data_received(request)

    def write(self, data: Any) -> None:
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length and len(body) == int(length[1]):
            self._answer = b""
            if self._load:
                self._load.answered(head)
            self._loop.call_soon(self._ask)  # not within the answer: the protocol ends that first

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        raise RuntimeError("a request has no answer that keeps its connection")

    abort = close


async def measure(order: Order, connections: list[Transport]) -> dict[str, float]:
    load = Load(order)
    began, cpu = time.monotonic(), time.process_time()
    for connection in connections[: order.connections]:
        connection.begin(load)
    await load.is_over.wait()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    return {
        "answers": load.answers,
        "sent": load.sent,
        "wrong": load.wrong,
        "rate": load.answers / seconds,
        "cpu_us": cpu / max(1, load.answers) * 1e6,
    }


async def serve(config: uvicorn.Config, orders: Connection) -> None:
    """Measure what is ordered, until nothing more is."""
    config.load()
    lifespan = config.lifespan_class(config)
    await lifespan.startup()
    connections = []
    for number in range(CONNECTIONS):
        protocol: Any = config.http_protocol_class
        made = protocol(config=config, server_state=ServerState(), app_state=lifespan.state)
        connections.append(Transport(made, 50_000 + number))
    loop = asyncio.get_running_loop()
    orders.send("ready")
    while (order := await loop.run_in_executor(None, orders.recv)) is not None:
        orders.send(await measure(Order(*order), connections))
    await lifespan.shutdown()


def main() -> None:
    from authapi.server.limits import LIMITS  # of the code that is measured, by PYTHONPATH
    from authapi.server.main import STOP_SECONDS, configure_server
    from settings import load_settings

    config = configure_server(load_settings(), LIMITS, STOP_SECONDS)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve(config, Connection(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
