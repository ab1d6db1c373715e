"""uvicorn's parser of HTTP with what it lacks: limits on a request's head, on time, on connections.

httptools (llhttp, as in Node) refuses what smugglers use, where h11 is lenient, and it is faster.
But uvicorn sets no limit: anybody may send an endless head, or keep a connection and send nothing.
"""

import asyncio
import itertools
import math
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from authapi.addresses import UNIX_PEER, plain
from authapi.errors import InvalidRequest, Refusal
from authapi.request_errors import ContentTooLarge, HeadTooLarge, RequestTimeout
from authapi.server.limits import LIMITS, Holding, Limits
from authapi.server.one_write import OneWrite, as_whole_answer
from authapi.server.strict_heads import judge_head, size_of, without_upgrade
from authapi.web.requests import HOLDING

MAX_HEAD_BYTES = 16 * 1024
MAX_REQUEST_BYTES = 512 * 1024
"""Head, body, and what frames the body: chunks, their extensions, trailers."""
MAX_PIPELINED = 100
_numbers = itertools.count()


class GuardedProtocol(HttpToolsProtocol):
    """One connection. It waits for its client since `waits_since`, by the clock of the loop."""

    connections: "set[GuardedProtocol]"  # type: ignore[assignment]  # all are ours
    waits_since: float | None
    _in_head, _received, _shared = True, 0, 0

    def __init__(self, *arguments: Any, limits: Limits = LIMITS, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._number = next(_numbers)
        self.holding = Holding(self.loop.create_future())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._one_write = OneWrite(transport)
        address, port = self.client or (UNIX_PEER, 0)
        self.client = (plain(address), port)
        self._await_head(shared=0)
        self._checked_at = self.loop.time()
        self._check = self.loop.call_later(self._limits.check_seconds, self._check_waits)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._check.cancel()
        self.holding.gone.set_result(None)
        super().connection_lost(exc)
        self._one_write.end()

    def data_received(self, data: bytes) -> None:
        while len(data) > MAX_HEAD_BYTES and not self.transport.is_closing():
            # In pieces, so that little that belongs to others comes along with a head's begin.
            self._receive(data[:MAX_HEAD_BYTES])
            data = data[MAX_HEAD_BYTES:]
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        """As uvicorn's `data_received`, but it logs nothing: anybody can send what is no HTTP."""
        self._chunk = len(data)
        self._received += self._chunk
        try:
            self._feed(data)
        except (httptools.HttpParserError, Refusal) as error:
            refusal = error.__context__ or error  # raised by a callback of ours, or outside of one
            self._refuse(refusal if isinstance(refusal, Refusal) else InvalidRequest())
        if self._in_head and self._received - self._shared > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge())
        elif self._received > MAX_REQUEST_BYTES:
            self._refuse(ContentTooLarge())

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes the body for what comes after an upgrade, and we never upgrade.
                method, version = self.parser.get_method(), self.parser.get_http_version()
                head = without_upgrade(method, self.url, version, self.headers)
                data = head + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the first
            else:
                return

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HOLDING: cast(Any, self.holding.begin)}
        if not self._in_head:
            self._await_head(shared=self._chunk)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_feed` starts over
        # What was received may include a body, so the head is seldom measured.
        if self._received > MAX_HEAD_BYTES and size_of(self.url, self.headers) > MAX_HEAD_BYTES:
            raise HeadTooLarge
        judge_head(self.parser.get_http_version(), self.headers)
        super().on_headers_complete()
        self._in_head = False
        self.waits_since = self.loop.time()
        self.headers = []  # for trailers, which must not pass for headers (RFC 9110, 6.5.1)
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()  # so many at once would keep the others waiting

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._one_write.begin(cycle)
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        is_answered = self.cycle.response_complete
        self.waits_since = self.loop.time() if is_answered else None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's own, but without a timer for each answer: `_check_waits` sees to it."""
        self.server_state.total_requests += 1
        self.holding.end()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.waits_since is None:
            self.waits_since = self.loop.time()  # for the next request

    def _await_head(self, shared: int) -> None:
        """So many bytes came along with its first ones, and may be another request's."""
        self._in_head = True
        self._received = self._shared = shared
        self.waits_since = self.loop.time()

    def _check_waits(self) -> None:
        now, wait_seconds = self.loop.time(), self._limits.wait_seconds
        # A delay of this process is none of the client's: first read what has come meanwhile.
        is_late = now - self._checked_at > 2 * self._limits.check_seconds
        self._checked_at = now
        if self._one_write.unread_seconds(now) > wait_seconds:
            self.transport.abort()
            return
        if self.waits_since is not None and self._is_behind():
            self.waits_since = now  # it is we who keep it waiting
        is_over = self.waits_since is not None and now - self.waits_since > wait_seconds
        if is_over and not is_late:
            if self._is_idle():
                self.transport.close()  # an answer would be taken for that to the next request
            else:
                self._refuse(RequestTimeout())
        self._check = self.loop.call_later(self._limits.check_seconds, self._check_waits)

    def _is_idle(self) -> bool:
        """Every request that has come, even in part, was answered."""
        return self._received == 0 if self._in_head else self.cycle.response_complete

    def _is_behind(self) -> bool:
        """An earlier request than the one that is arriving is not answered yet."""
        is_served = bool(self.cycle) and not self.cycle.response_complete
        return is_served if self._in_head else bool(self.pipeline)

    def _make_room(self) -> None:
        for is_held, most in ((True, self._limits.held), (False, self._limits.connections)):
            counted = [
                other
                for other in self.connections
                if other.holding.is_on == is_held and not other.transport.is_closing()
            ]
            if len(counted) > most:
                min(counted, key=GuardedProtocol.kept_waiting_since).transport.abort()

    def kept_waiting_since(self) -> tuple[float, int]:
        """For a request, or for an answer to be read. The clock of the loop stands still while it
        accepts a crowd: of that, who came first has waited the longest."""
        since = min(self.waits_since or math.inf, self._one_write.unread_since or math.inf)
        return since, self._number

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, unless an answer has begun, and close."""
        if self.transport.is_closing():
            return
        cycle = self._one_write.cycle  # whose answer is due, which may be an earlier one's
        if not cycle or not cycle.response_started or (cycle.response_complete and self._in_head):
            self.transport.write(as_whole_answer(refusal))
        self.transport.close()
