"""What a server writes to a connection, and by how many calls: over a real socket."""

import asyncio
import socket
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from authapi.server.connections import GuardedProtocol

WAIT_SECONDS = 20
Protocol = TypeVar("Protocol", bound=HttpToolsProtocol)


class CountedSocket(socket.socket):
    """Remembers what was written with each call."""

    def __init__(self, one: socket.socket) -> None:
        super().__init__(fileno=one.detach())
        self.writes: list[bytes] = []

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        sent = super().send(data, flags)
        self.writes.append(bytes(data[:sent]))
        return sent


async def accept(
    app: ASGIApp,
    ours: socket.socket,
    served: ServerState,
    state: dict[str, Any],
    protocol: type[Protocol],
) -> Protocol:
    """A server's end of a connection to whoever has the other end of this socket."""
    loop = asyncio.get_running_loop()
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    config.load()
    _, accepted = await loop.connect_accepted_socket(
        lambda: protocol(config, served, state, loop), ours
    )
    return accepted


async def exchange(
    app: ASGIApp,
    asked: bytes,
    state: dict[str, Any],
    protocol: type[HttpToolsProtocol] = GuardedProtocol,
) -> tuple[bytes, list[bytes]]:
    """What is read, and the writes by which it came, when each request is answered or refused."""
    requests, served = asked.count(b" HTTP/1."), ServerState()
    ours, theirs = (CountedSocket(one) for one in socket.socketpair())
    transport = (await accept(app, ours, served, state, protocol)).transport
    reader, writer = await asyncio.open_connection(sock=theirs)
    writer.write(asked)
    reading = asyncio.create_task(reader.read())
    async with asyncio.timeout(WAIT_SECONDS):
        while served.total_requests < requests and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0)  # uvicorn tells by no event
        transport.close()
        received = await reading
    writer.close()
    return received, ours.writes
