"""The limits of a connection, with a server of the test's own that is quick to lose patience."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from http_protocol import GuardedProtocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = b"x" * 1_000_000


class Impatient(GuardedProtocol):
    max_connections = 3
    wait_seconds = 0.3
    check_seconds = 0.05


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(LONG)(scope, receive, send)


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(app, http=Impatient, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        wait_until(lambda: server.started)
        yield server
        server.should_exit = True
        thread.join(timeout=20)
    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def connect(server: uvicorn.Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.config.port), timeout=20)


def test_an_answer_that_nobody_reads_is_not_kept(server: uvicorn.Server) -> None:
    with connect(server) as client:
        client.sendall(GET * 10)
        wait_until(lambda: bool(server.server_state.connections))
        wait_until(lambda: not server.server_state.connections)


def test_an_answer_that_is_read_slowly_is_finished(server: uvicorn.Server) -> None:
    with connect(server) as client:
        client.sendall(GET)
        time.sleep(0.1)  # the reader's pace is what is tried here
        received = 0
        while received < len(LONG):
            received += len(client.recv(65_536))


def test_whoever_waited_longest_makes_room(server: uvicorn.Server) -> None:
    clients = [connect(server) for _ in range(4)]
    for client in clients[1:]:
        client.sendall(GET)
        assert client.recv(12) == b"HTTP/1.1 200"
    with pytest.raises(ConnectionError):
        if clients[0].recv(1) == b"":
            raise ConnectionResetError
    for client in clients:
        client.close()


def test_no_connection_asks_for_much_at_once(server: uvicorn.Server) -> None:
    with connect(server) as client:
        client.sendall(GET * 200)
        with pytest.raises(ConnectionError):
            while client.recv(65_536):
                pass
            raise ConnectionResetError


def test_silence_is_ended(server: uvicorn.Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET / HT")
        assert client.recv(12) == b"HTTP/1.1 408"
