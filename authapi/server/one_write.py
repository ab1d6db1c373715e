"""Lets a whole answer leave in one write: its head waits for the body, which is about to come."""

import asyncio

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class OneWrite:
    """Of one connection, in place of the transport that uvicorn's cycles have.

    uvicorn writes head and body apart, and each write is a call of the system and a packet:
    together they cost a tenth of a protected call. All it decides is left to it. A head whose body
    has no length yet does not wait, since what is streamed may be long in coming.
    """

    _cycle: RequestResponseCycle

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def begin(self, cycle: RequestResponseCycle) -> None:
        """What is written from now on is this cycle's."""
        self._cycle = cycle
        self._is_head_due = True
        cycle.transport = self  # type: ignore[assignment]  # it uses no more of it than is here

    def write(self, data: bytes) -> None:
        cycle = self._cycle
        if self._is_head_due and cycle.response_started:  # before, there may be a `100 Continue`
            self._is_head_due = False
            if cycle.chunked_encoding is False and cycle.scope["method"] != "HEAD":
                self._head = data
                return
        head, self._head = self._head, b""
        self._transport.write(head + data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self._head:  # the answer breaks off before its body
            self.write(b"")
        self._transport.close()
