"""uvicorn's parser of HTTP with what it lacks: limits on a request's head, on time, on connections.

httptools (llhttp, as in Node) refuses what smugglers use, where h11 is lenient, and it is faster.
But uvicorn lets a stranger send an endless head, or nothing at all, for as long as they like.
"""

import asyncio
import math
import re
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from authapi.errors import (
    ContentTooLarge,
    HeadTooLarge,
    InvalidRequest,
    Refusal,
    RequestTimeout,
    error_body,
)
from authapi.server.limits import LIMITS, Limits
from authapi.web.payloads import MAX_BODY_BYTES

MAX_HEAD_BYTES = 16 * 1024
MAX_REQUEST_BYTES = 512 * 1024
"""With what frames the body: chunks, their extensions, trailers."""
MAX_PIPELINED = 100

_HOST = re.compile(rb"[A-Za-z0-9._:%\[\]~!$&'()*+;=-]*")

_ANSWER = (
    b"content-type: application/json\r\ncache-control: no-store\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `waits_since` is the loop's time since when its client owes us something."""

    connections: "set[GuardedProtocol]"  # type: ignore[assignment]  # we serve no other protocol
    waits_since: float | None
    _unread_since: float | None = None
    _in_head: bool
    _received: int

    def __init__(self, *arguments: Any, limits: Limits = LIMITS, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head(received=0)
        self._checked_at = self.loop.time()
        self._check = self.loop.call_later(self._limits.check_seconds, self._check_waits)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._check.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's own, but it logs nothing: any stranger can send what is no HTTP."""
        self._chunk = len(data)
        self._received += self._chunk
        try:
            self._feed(data)
        except (httptools.HttpParserError, Refusal) as error:
            refusal = error.__context__ or error  # raised by a callback of ours, or outside of one
            self._refuse(refusal if isinstance(refusal, Refusal) else InvalidRequest())
        if self._in_head and self._received > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge())
        elif self._received > MAX_REQUEST_BYTES:
            self._refuse(ContentTooLarge())

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """We upgrade to nothing (RFC 9110, 7.8: a server may ignore the wish). But the parser would
        take the body for whatever comes after the upgrade, so it begins anew without the wish."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise InvalidRequest
        version = self.parser.get_http_version().encode()
        kept = [
            (name, value)
            for name, value in self.headers
            if name not in (b"upgrade", b"http2-settings")
            and not (name == b"connection" and b"upgrade" in value.lower())
        ]
        lines = [b"%b: %b" % header for header in kept]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self.url, version), *lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._await_head(received=self._chunk)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_feed` begins anew
        # What was received may be a body too, so it is seldom that the head must be measured.
        if self._received > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            raise HeadTooLarge
        self._judge_head()
        self._in_head = False
        self.waits_since = self.loop.time()
        super().on_headers_complete()
        self.headers = []  # for trailers, which must not pass for headers (RFC 9110, 6.5.1)
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()  # who asks that much at once keeps the others waiting

    def _judge_head(self) -> None:
        """What the parser lets pass, and RFC 9112 does not: 2.3, 3.2 and 6.1. The body's length
        is judged here too, before a byte of it is read."""
        version = self.parser.get_http_version()
        hosts, codings = [], []
        for name, value in self.headers:
            if name == b"host":
                hosts.append(value.strip())
            elif name == b"transfer-encoding":
                codings.append(value.strip().lower())
            elif name == b"content-length" and int(value) > MAX_BODY_BYTES:
                raise ContentTooLarge
        if version not in ("1.0", "1.1") or len(hosts) > 1 or (not hosts and version == "1.1"):
            raise InvalidRequest
        if codings not in ([], [b"chunked"]) or not all(map(_HOST.fullmatch, hosts)):
            raise InvalidRequest

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        is_answered = self.cycle.response_complete
        self.waits_since = self.loop.time() if is_answered else None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's own, but it sets no timer for each answer: `_check_waits` looks anyway."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.waits_since is None:
            self.waits_since = self.loop.time()  # for the next request

    def _await_head(self, received: int) -> None:
        self._in_head = True
        self._received = received
        self.waits_since = self.loop.time()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _check_waits(self) -> None:
        now, wait_seconds = self.loop.time(), self._limits.wait_seconds
        # If this process was held up, the caller was not: what has come meanwhile is read first.
        is_late = now - self._checked_at > 2 * self._limits.check_seconds
        self._checked_at = now
        if self.transport.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        if self._unread_since is not None and now - self._unread_since > wait_seconds:
            self.transport.abort()
            return
        is_over = self.waits_since is not None and now - self.waits_since > wait_seconds
        if is_over and not is_late:
            if self._is_idle():
                self.transport.close()  # an answer would be taken for that to the next request
            else:
                self._refuse(RequestTimeout())
        self._check = self.loop.call_later(self._limits.check_seconds, self._check_waits)

    def _is_idle(self) -> bool:
        """Nothing of a request has come that was not answered."""
        return self._received == 0 if self._in_head else self.cycle.response_complete

    def _make_room(self) -> None:
        others = [other for other in self.connections if not other.transport.is_closing()]
        min(others, key=lambda other: other.waits_since or math.inf).transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, unless an answer has begun, and close."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's type forgets the None
        if (
            cycle is None
            or not cycle.response_started
            or (cycle.response_complete and self._in_head)
        ):
            body = orjson.dumps(error_body(refusal))
            self.transport.write(STATUS_LINE[refusal.status] + _ANSWER % (len(body), body))
        self.transport.close()
