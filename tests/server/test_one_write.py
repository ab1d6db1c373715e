"""A whole answer leaves in one write; to whoever reads it, all is as uvicorn itself writes it."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from weakref import ref

import pytest
import uvloop
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from authapi.server.connections import GuardedProtocol
from authapi.server.one_write import ENOUGH_BYTES
from tests.writes import WAIT_SECONDS, accept, exchange

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
EXPECTS = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"


def serve(
    app: ASGIApp, asked: bytes, protocol: type[HttpToolsProtocol] = GuardedProtocol
) -> tuple[bytes, list[bytes]]:
    return asyncio.run(exchange(app, asked, {}, protocol))


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("body", headers={"X-Of": "mine"})(scope, receive, send)


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """More than the system keeps for a reader, so that writing is paused."""
    await Response(b"x" * 1_000_000)(scope, receive, send)


async def with_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await Response()(scope, receive, send)


async def without_body(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(status_code=204)(scope, receive, send)


async def that_asks(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await whole(scope, receive, send)


async def that_closes(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("body", headers={"Connection": "close"})(scope, receive, send)


async def streamed(scope: Scope, receive: Receive, send: Send) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    await StreamingResponse(parts())(scope, receive, send)


async def streamed_in_length(scope: Scope, receive: Receive, send: Send) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    await StreamingResponse(parts(), headers={"Content-Length": "6"})(scope, receive, send)


async def too_long(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("body", headers={"Content-Length": "3"})(scope, receive, send)


async def too_short(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("body", headers={"Content-Length": "5"})(scope, receive, send)


async def unsound(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("body", headers={"X-Of": "mine\r\nX-Other: mine"})(scope, receive, send)


async def unsound_but_unheeded(scope: Scope, receive: Receive, send: Send) -> None:
    unsound = [(b"content-length", b"4"), (b"x-of", b"mine\r\nx-other: mine")]
    with suppress(RuntimeError):
        await send({"type": "http.response.start", "status": 200, "headers": unsound})
    await send({"type": "http.response.body", "body": b"body"})


async def broken_off(scope: Scope, receive: Receive, send: Send) -> None:
    length = [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    raise ValueError


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    return


APPS = [whole, large, with_nothing, without_body, that_asks, that_closes]
APPS += [streamed, streamed_in_length, too_long, too_short, unsound, broken_off, silent]
APPS += [unsound_but_unheeded]


@pytest.mark.parametrize("asked", [GET, CLOSE, HEAD, OLD, EXPECTS, GET * 3, GET + HEAD + CLOSE])
@pytest.mark.parametrize("app", APPS)
def test_what_is_read_is_what_uvicorn_itself_writes(app: ASGIApp, asked: bytes) -> None:
    assert serve(app, asked)[0] == serve(app, asked, HttpToolsProtocol)[0]


@pytest.mark.parametrize("asked", [GET, CLOSE, OLD])
@pytest.mark.parametrize("app", [whole, with_nothing, that_closes])
def test_a_whole_answer_is_one_write(app: ASGIApp, asked: bytes) -> None:
    received, writes = serve(app, asked)
    assert writes == [received]


def test_each_of_pipelined_answers_is_one_write() -> None:
    _, writes = serve(whole, GET * 3)
    assert [write[-5:] for write in writes] == [b"\nbody"] * 3


def test_a_wish_to_go_on_is_answered_at_once() -> None:
    _, (go_on, answer) = serve(that_asks, EXPECTS)
    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(("app", "asked"), [(streamed, GET), (whole, HEAD), (without_body, GET)])
def test_a_head_without_a_body_of_known_length_does_not_wait(app: ASGIApp, asked: bytes) -> None:
    """What is streamed may be long in coming, and to HEAD nothing comes."""
    _, writes = serve(app, asked)
    assert writes[0].endswith(b"\r\n\r\n")


def test_a_body_in_parts_begins_with_its_head() -> None:
    _, (first, second) = serve(streamed_in_length, GET)
    assert first.endswith(b"\r\n\r\none")
    assert second == b"two"


def test_a_head_whose_body_does_not_come_is_written_before_the_end() -> None:
    received, _ = serve(broken_off, GET)
    assert received.endswith(b"content-length: 4\r\n\r\n")


def test_a_head_whose_reader_has_gone_is_forgotten() -> None:
    """As uvloop demands, which refuses to write where a connection was."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ValueError

    async def act() -> BaseException | None:
        async with one_request(app) as (protocol, _):
            await until(lambda: bool(protocol.tasks))
        (task,) = protocol.tasks
        await asyncio.wait([task], timeout=WAIT_SECONDS)
        return task.exception()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(act()) is None


def test_a_connection_that_is_over_leaves_no_circle_to_the_garbage_collector() -> None:
    async def act() -> object:
        async with one_request(whole) as (protocol, theirs):
            assert await asyncio.get_running_loop().sock_recv(theirs, 4096)
        cycle, served = ref(protocol.cycle), protocol.connections
        del protocol
        await until(lambda: not served)
        await asyncio.sleep(0)  # in which the loop lets go of it
        return cycle()

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(act()) is None
    finally:
        gc.enable()


def test_an_unsound_header_is_refused_where_it_is_sent() -> None:
    refused: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            try:
                await send(message)
            except RuntimeError:
                refused.append(message["type"])
                raise

        await unsound(scope, receive, watched)

    assert serve(app, GET) == (b"", [])
    assert refused == ["http.response.start"]


def test_what_a_middleware_adds_is_in_the_one_write() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-added", b"1"))
            await send(message)

        await whole(scope, receive, marked)

    _, (answer,) = serve(app, GET)
    assert answer.endswith(b"\r\nx-added: 1\r\n\r\nbody")


def test_whoever_takes_enough_of_a_long_answer_is_given_time_for_more() -> None:
    """The clock is the test's, so that no machine is too busy for it."""

    async def act() -> list[float]:
        async with one_request(large) as (protocol, theirs):
            transport = protocol.transport
            await until(lambda: transport.get_write_buffer_size() > ENOUGH_BYTES)
            one_write = protocol._one_write  # noqa: SLF001  # which the connection asks
            seconds = [one_write.unread_seconds(now) for now in (100, 109)]
            few = transport.get_write_buffer_size() - ENOUGH_BYTES
            await read_until(theirs, lambda: transport.get_write_buffer_size() <= few)
            seconds += [one_write.unread_seconds(now) for now in (110, 119)]
            await read_until(theirs, lambda: transport.get_write_buffer_size() == 0)
            seconds += [one_write.unread_seconds(now) for now in (130, 140)]
            transport.abort()
        return seconds

    assert asyncio.run(act()) == [0, 9, 0, 9, 0, 0]


@asynccontextmanager
async def one_request(app: ASGIApp) -> AsyncIterator[tuple[GuardedProtocol, socket.socket]]:
    """The connection by which it has come, and its client's end, which hangs up."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        protocol = await accept(app, ours, ServerState(), {}, GuardedProtocol)
        await asyncio.get_running_loop().sock_sendall(theirs, GET)
        yield protocol, theirs


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110  # a transport tells by no event
            await asyncio.sleep(0)


async def read_until(reader: socket.socket, condition: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await loop.sock_recv(reader, 4096)
            await asyncio.sleep(0)  # in which the transport writes more
