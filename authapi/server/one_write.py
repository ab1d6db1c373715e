"""Lets a whole answer leave in one write: its head waits for the body, which is about to come."""

import asyncio

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from authapi.errors import Refusal

ENOUGH_BYTES = 64 * 1024
"""Whoever takes so much of a long answer is given as much time again for more."""


_ANSWER = (
    b"content-type: application/json\r\ncache-control: no-store\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
)


def as_whole_answer(refusal: Refusal) -> bytes:
    """To what no handler gets to see, and the last on its connection."""
    body = orjson.dumps(refusal.body())
    return STATUS_LINE[refusal.status] + _ANSWER % (len(body), body)


class OneWrite:
    """Of one connection, in place of the transport that uvicorn's cycles have.

    uvicorn writes head and body apart, and each write is a call of the system and a packet:
    together they cost a tenth of a protected call. All it decides is left to it. A head whose body
    has no length yet does not wait, since what is streamed may be long in coming.
    """

    cycle: RequestResponseCycle | None = None
    """Whose answer is due, or was written last."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._written = self._taken = 0
        self.unread_since: float | None = None

    def begin(self, cycle: RequestResponseCycle) -> None:
        """What is written from now on is this cycle's."""
        self.cycle = cycle
        self._is_head_due = True
        cycle.transport = self  # type: ignore[assignment]  # it uses no more of it than is here

    def end(self) -> None:
        """The connection is lost: uvicorn itself tells only the last request that was sent."""
        self._head = b""
        cycle, self.cycle = self.cycle, None
        if cycle and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def write(self, data: bytes) -> None:
        cycle = self.cycle
        # Before an answer has started, there may be a `100 Continue`.
        if cycle and self._is_head_due and cycle.response_started:
            self._is_head_due = False
            is_to_wait = cycle.chunked_encoding is False and cycle.scope["method"] != "HEAD"
            if is_to_wait and data[:5] == b"HTTP/":  # or else its head was unsound
                self._head = data
                return
        head, self._head = self._head, b""
        self._written += len(head) + len(data)
        self._transport.write(head + data)

    def unread_seconds(self, now: float) -> float:
        """For how long its client has taken less than enough of what waits for it."""
        waiting = self._transport.get_write_buffer_size()
        taken = self._written - waiting
        if not waiting:
            self.unread_since = None
        elif self.unread_since is None or taken - self._taken >= ENOUGH_BYTES:
            self.unread_since, self._taken = now, taken
        return 0 if self.unread_since is None else now - self.unread_since

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self._head:  # the answer breaks off before its body
            self.write(b"")
        self._transport.close()
