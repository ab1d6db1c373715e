"""The limits of a connection, with a server of the test's own that is quick to lose patience."""

import asyncio
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from authapi.server.connections import GuardedProtocol
from authapi.server.limits import LIMITS, Limits
from authapi.web.requests import hold

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HOLD = b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n"
POLL = b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n"
"""The same, but there is news already."""
STREAM = b"GET /streamed HTTP/1.1\r\nHost: x\r\n\r\n"
HELD_SECONDS = 1.0
"""Where nobody hangs up."""
LONG = b"x" * 1_000_000


IMPATIENT = Limits(wait_seconds=0.3, check_seconds=0.05)
PATIENT = Limits(connections=3, held=4, check_seconds=0.05)
"""Waits longer than a test is held up on a busy machine."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/poll":
        hold(scope)
    elif scope["path"] == "/held":
        await asyncio.wait([hold(scope)], timeout=HELD_SECONDS)
    elif scope["path"] == "/streamed":
        await StreamingResponse(parts())(scope, receive, send)
        return
    await Response(LONG)(scope, receive, send)


async def parts() -> AsyncIterator[bytes]:
    """A second part when the connection would long have been closed for silence."""
    yield b"one"
    await asyncio.sleep(HELD_SECONDS)
    yield b"two"


@contextmanager
def running(limits: Limits) -> Iterator[uvicorn.Server]:
    protocol: Any = partial(GuardedProtocol, limits=limits)
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield server
        finally:
            server.should_exit = True
            thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture
def impatient() -> Iterator[uvicorn.Server]:
    with running(IMPATIENT) as server:
        yield server


@pytest.fixture
def patient() -> Iterator[uvicorn.Server]:
    with running(PATIENT) as server:
        yield server


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def connect(server: uvicorn.Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.config.port), timeout=20)


def test_an_answer_that_nobody_reads_is_not_kept(impatient: uvicorn.Server) -> None:
    with connect(impatient) as client:
        client.sendall(GET * 10)
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: not impatient.server_state.connections)


def test_an_answer_that_is_read_slowly_is_finished(patient: uvicorn.Server) -> None:
    with connect(patient) as client:
        client.sendall(GET * 10)
        time.sleep(0.1)  # the reader's pace is what is tried here
        received = 0
        while received < len(LONG) * 10:  # more than the system itself holds for a reader
            chunk = client.recv(65_536)
            assert chunk
            received += len(chunk)


def test_whoever_waited_longest_makes_room(patient: uvicorn.Server) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(connect(patient))
        wait_until(lambda: bool(patient.server_state.connections))
        others = [stack.enter_context(connect(patient)) for _ in range(3)]
        for client in others:
            client.sendall(GET)
            assert client.recv(12) == b"HTTP/1.1 200"
        with pytest.raises(ConnectionError):
            if first.recv(1) == b"":
                raise ConnectionResetError


def test_whoever_does_not_read_makes_room(patient: uvicorn.Server) -> None:
    """Else a few who read slowly would keep out all others."""
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(connect(patient))
            client.sendall(GET * 10)  # more than the system itself holds for a reader
        wait_until(
            lambda: (
                len(connections(patient)) == 3
                and all(each.kept_waiting_since()[0] < math.inf for each in connections(patient))
                and all(each.waits_since is None for each in connections(patient))
            )
        )
        other = stack.enter_context(connect(patient))
        other.sendall(GET)
        receive(other)


def connections(server: uvicorn.Server) -> "set[GuardedProtocol]":
    return cast("set[GuardedProtocol]", server.server_state.connections)


def held(server: uvicorn.Server) -> int:
    return sum(connection.holding.is_on for connection in connections(server))


def test_those_who_are_held_count_apart_and_make_no_room(patient: uvicorn.Server) -> None:
    with ExitStack() as stack:
        polls = [stack.enter_context(connect(patient)) for _ in range(3)]
        for poll in polls:
            poll.sendall(HOLD)
        wait_until(lambda: held(patient) == 3)
        others = [stack.enter_context(connect(patient)) for _ in range(3)]
        for other in others:
            other.sendall(GET)
            assert other.recv(12) == b"HTTP/1.1 200"
        stack.enter_context(connect(patient))  # which one of the others makes room for
        for poll in polls:
            receive(poll)
        assert held(patient) == 3


def receive(client: socket.socket) -> None:
    """A whole answer. Raises `ConnectionError` where the server has closed."""
    received = client.recv(65_536)
    if not received:
        raise ConnectionResetError
    assert received.startswith(b"HTTP/1.1 200")
    head, _, body = received.partition(b"\r\n\r\n")
    missing = int(head.lower().partition(b"content-length: ")[2].split()[0]) - len(body)
    while missing:
        missing -= len(client.recv(missing))


def test_who_is_held_again_and_again_counts_apart_between_two_times(
    patient: uvicorn.Server,
) -> None:
    """Else news, which lets go of all at once, would close them, or others."""
    with ExitStack() as stack:
        polls = [stack.enter_context(connect(patient)) for _ in range(3)]
        for poll in polls:
            poll.sendall(POLL)
            receive(poll)
        others = [stack.enter_context(connect(patient)) for _ in range(3)]
        for each in others + polls:
            each.sendall(GET)
            receive(each)
        assert held(patient) == 0  # since each has asked for something else
        stack.enter_context(connect(patient))
        wait_until(lambda: len(connections(patient)) == 6)


def test_of_more_than_may_be_held_one_makes_room(patient: uvicorn.Server) -> None:
    with ExitStack() as stack:
        polls = []
        for _ in range(PATIENT.held + 1):
            polls.append(stack.enter_context(connect(patient)))
            polls[-1].sendall(POLL)
            receive(polls[-1])
        other = stack.enter_context(connect(patient))
        wait_until(lambda: held(patient) == PATIENT.held)
        other.sendall(GET)
        receive(other)
        with pytest.raises(ConnectionError):
            receive(polls[0])


@pytest.mark.parametrize("asked", [HOLD, STREAM, STREAM + GET])
def test_who_hangs_up_while_it_is_served_is_missed_at_once(
    patient: uvicorn.Server, asked: bytes
) -> None:
    """Also if more was sent ahead, by whoever closes without reading the rest."""
    with connect(patient) as client:
        client.sendall(asked)
        wait_until(lambda: bool(patient.server_state.tasks))
    began = time.monotonic()
    wait_until(lambda: not patient.server_state.tasks)
    assert time.monotonic() - began < HELD_SECONDS / 2


def test_no_connection_asks_for_much_at_once(patient: uvicorn.Server) -> None:
    with connect(patient) as client:
        client.sendall(GET * 200)
        received = 0
        with suppress(ConnectionError):
            while chunk := client.recv(65_536):
                received += len(chunk)
        assert received < len(LONG) * 200


def test_silence_is_ended(impatient: uvicorn.Server) -> None:
    with connect(impatient) as client:
        client.sendall(b"GET / HT")
        assert client.recv(12) == b"HTTP/1.1 408"


@pytest.mark.parametrize(
    ("begun", "status"),
    [(GET[:9], b"408"), (GET[:-2] + b"Content-Length: 1\r\n\r\n", b"200")],
)
def test_who_waits_for_an_earlier_answer_has_time_for_the_rest_of_a_request(
    impatient: uvicorn.Server, begun: bytes, status: bytes
) -> None:
    """While it is served, nothing more is read of its client, and a 408 would answer it."""
    with connect(impatient) as client:
        client.sendall(HOLD + begun)
        receive(client)
        assert client.recv(12) == b"HTTP/1.1 " + status


@pytest.mark.parametrize(
    "fault",
    [b"EVIL\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n"],
)
def test_no_refusal_is_written_into_an_earlier_answer(
    patient: uvicorn.Server, fault: bytes
) -> None:
    with connect(patient) as client:
        client.sendall(STREAM)
        received = b""
        while b"one" not in received:
            received += client.recv(65_536)
        client.sendall(fault)
        while chunk := client.recv(65_536):
            received += chunk
    assert received.endswith(b"\r\n\r\n3\r\none\r\n")


@pytest.mark.parametrize("requests", [0, 1, 2])
def test_an_idle_connection_is_closed_without_a_word(
    impatient: uvicorn.Server, requests: int
) -> None:
    """A 408 could be taken for the answer to a request that is just being sent."""
    with connect(impatient) as client:
        client.sendall(GET * requests)
        received = b""
        while chunk := client.recv(65_536):
            received += chunk
        assert received.count(b"HTTP/1.1 200 OK") == requests
        assert received.count(b"HTTP/1.1") == requests


def protocols(loop: asyncio.AbstractEventLoop, limits: Limits) -> Callable[[], GuardedProtocol]:
    """Makes those of one server, on this loop."""
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    config.load()
    return partial(GuardedProtocol, config, ServerState(), {}, loop, limits=limits)


class StandingLoop(asyncio.SelectorEventLoop):
    """Its clock stands still, as that of any loop does while it accepts a crowd."""

    def time(self) -> float:
        return 1.0


def test_of_a_crowd_that_comes_at_one_moment_the_first_make_room() -> None:
    """And not whoever has just come, and is about to send a request."""
    loop = StandingLoop()
    make = protocols(loop, Limits(connections=3))

    async def act() -> list[bool]:
        transports = []
        with ExitStack() as stack:
            for _ in range(20):
                ours, theirs = socket.socketpair()
                stack.enter_context(theirs)
                transport, _ = await loop.connect_accepted_socket(make, ours)
                transports.append(transport)
            closed = [transport.is_closing() for transport in transports]
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)
        return closed

    try:
        assert loop.run_until_complete(act()) == [True] * 17 + [False] * 3
    finally:
        loop.close()


class HeldUpLoop(asyncio.SelectorEventLoop):
    """Its clock goes on while it does not run, as for a process that was stopped."""

    lost = 0.0

    def time(self) -> float:
        return super().time() + self.lost


def test_what_came_while_the_process_was_held_up_is_read_before_its_connection_is_closed() -> None:
    """Else a caller that did all in time gets no answer."""
    loop = HeldUpLoop()

    async def act() -> tuple[bool, bool]:
        ours, theirs = socket.socketpair()
        with theirs:
            make = protocols(loop, LIMITS)
            transport, protocol = await loop.connect_accepted_socket(make, ours)
            loop.lost = 11.0
            protocol._check_waits()  # noqa: SLF001  # as the timer that is late does
            closed_at_once = transport.is_closing()
            loop.lost += LIMITS.check_seconds
            protocol._check_waits()  # noqa: SLF001
            closed_later = transport.is_closing()
            transport.abort()
            await asyncio.sleep(0)
            protocol._check.cancel()  # noqa: SLF001
        return closed_at_once, closed_later

    try:
        assert loop.run_until_complete(act()) == (False, True)
    finally:
        loop.close()
