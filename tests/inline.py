"""A client of the service in this process, by which tests cost half as much."""

import asyncio
import math
from contextlib import ExitStack
from typing import Any, Self, cast

import anyio
import httpx2
from anyio.streams.stapled import StapledObjectStream
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Client(TestClient):
    """Starlette's TestClient, which in a `with` runs the service in the test's own thread.

    Starlette's own runs it in another thread, which each request calls eight times and waits for.
    Without that, 346 tests of logins, refreshes and attacks take 7 s of CPU and not 15.

    It cannot ask from several threads. The event loop stands still between two requests, so that
    nothing is polled or repeated then. An answer is whole before the test sees the first of it.
    Tests of such things take Starlette's own, as which this one behaves where it is not entered.
    """

    def __init__(self, app: ASGIApp, *, raise_server_exceptions: bool = True) -> None:
        address = ("testclient", 50000)
        super().__init__(app, raise_server_exceptions=raise_server_exceptions, client=address)
        self._asgi = httpx2.ASGITransport(self._with_state, raise_server_exceptions, client=address)

    async def _with_state(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "state": self.app_state.copy()}, receive, send)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            runner = stack.enter_context(asyncio.Runner())
            streams = [anyio.create_memory_object_stream[Any](math.inf) for _ in range(2)]
            for stream in (*streams[0], *streams[1]):
                stack.callback(stream.close)
            self.stream_send = StapledObjectStream[Message | None](*streams[0])
            self.stream_receive = StapledObjectStream[Message](*streams[1])
            # Asked only for its result, and only once it is done.
            self.task = cast(Any, runner.get_loop().create_task(self.lifespan()))
            runner.run(self.wait_startup())
            stack.callback(lambda: runner.run(self.wait_shutdown()))
            stack.callback(setattr, self, "_transport", self._transport)
            self._transport = _Inline(self._asgi, runner)
            self.exit_stack = stack.pop_all()
        return self


class _Inline(httpx2.BaseTransport):
    """Asks within one run of the event loop."""

    def __init__(self, asgi: httpx2.ASGITransport, runner: asyncio.Runner) -> None:
        self._asgi = asgi
        self._runner = runner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()  # a body that is made bit by bit is sent as one, as Starlette's own does
        return self._runner.run(self._ask(request))

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._asgi.handle_async_request(request)
        body = httpx2.ByteStream(await answer.aread())
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=body)
