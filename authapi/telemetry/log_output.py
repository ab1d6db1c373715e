"""Writes lines to where perhaps nobody reads: no request waits for a pipe that is full."""

import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TextIO

MAX_WAITING = 10_000
"""Lines that are kept for a reader who is late. Past them, lines are counted and dropped."""

Write = Callable[[bytes], int]
"""Writes some of it and says how much; raises `BlockingIOError` where that would wait."""


class Lines:
    """Of one stream. Lines that it has no room for are written with the next ones."""

    def __init__(self, stream: TextIO, max_waiting: int = MAX_WAITING) -> None:
        self._opened = ExitStack()
        self._write = _writer(stream, self._opened)
        self._waiting: deque[bytes] = deque()
        self._max_waiting = max_waiting
        self.lost = 0

    def close(self) -> None:
        """The stream itself stays open."""
        self._opened.close()

    def put(self, line: str) -> None:
        """Write it, or keep it, or count it among the `lost`. Raises what writing does."""
        rest = line.encode(errors="backslashreplace") + b"\n"
        if self.write_waiting():
            rest = self._try(rest)
        if rest:
            if len(self._waiting) < self._max_waiting:
                self._waiting.append(rest)
            else:
                self.lost += 1

    def write_waiting(self) -> bool:
        """Write what waits, as far as there is room. Whether nothing waits any more."""
        while self._waiting:
            self._waiting[0] = self._try(self._waiting[0])
            if self._waiting[0]:
                return False
            self._waiting.popleft()
        return True

    def _try(self, text: bytes) -> bytes:
        """What is left of it."""
        with suppress(BlockingIOError):
            while text:
                text = text[self._write(text) :]
        return text


def _writer(stream: TextIO, opened: ExitStack) -> Write:
    """For a pipe and for a socket one that never waits. A file and a terminal take all there is."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode):
            # Opened anew: to whoever else has the pipe, it goes on being one that waits.
            own = os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            opened.callback(os.close, own)
            return lambda text: os.write(own, text)
        if stat.S_ISSOCK(mode):
            own_socket = opened.enter_context(socket.socket(fileno=os.dup(descriptor)))
            return lambda text: own_socket.send(text, socket.MSG_DONTWAIT)
    except (OSError, ValueError):
        pass  # it has no descriptor, or cannot be opened anew

    def write(text: bytes) -> int:
        stream.write(text.decode())
        stream.flush()
        return len(text)

    return write
