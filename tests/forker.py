"""Has imported the service once, and forks for each start of `app.py` or `manage.py`: what would
take half a second takes none.

Whoever connects to its socket (`ask`) sends what is to be run, with its standard input, output and
error, and is told the process's id, and how it ended.
"""

import gc
import json
import os
import signal
import socket
import sys
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from tests.forked import become


class Forker:
    """Runs until its standard input ends, which is when whoever started it is gone."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._askers: dict[int, socket.socket] = {}
        """By the process that was forked for each."""
        self._ended, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def run(self) -> dict[str, Any] | None:
        """None at the end; and in each process that is forked, what that is to become."""
        with DefaultSelector() as selector:
            for source in (self._listener, self._ended, sys.stdin):
                selector.register(source, EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if sys.stdin in ready:
                    return None
                if self._ended in ready:
                    self._ended.recv(4096)
                    self._tell_how_they_ended()
                if self._listener in ready and (asked := self._fork()):
                    return asked

    def _fork(self) -> dict[str, Any] | None:
        asker, _ = self._listener.accept()
        content, descriptors, _, _ = socket.recv_fds(asker, 1, 3)
        while part := asker.recv(1 << 16):
            content += part
        if pid := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            self._askers[pid] = asker
            asker.sendall(b"%d\n" % pid)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._listener, self._ended, self._wake, asker, *self._askers.values()):
            each.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        asked: dict[str, Any] = json.loads(content)
        return asked

    def _tell_how_they_ended(self) -> None:
        while self._askers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._askers.pop(pid) as asker:
                try:
                    asker.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
                except BrokenPipeError:
                    pass  # who asked is gone


def main(path: str) -> None:
    # What is imported at the time it is used.
    import alembic.command  # noqa: F401
    import httptools  # noqa: F401
    import sqlalchemy.ext.asyncio  # noqa: F401
    import uvloop  # noqa: F401

    import app  # noqa: F401
    import manage  # noqa: F401

    # Or else each fork looks for garbage in all that is imported as it ends: for 0.3 s.
    gc.collect()
    gc.freeze()
    forker = Forker(path)
    print("ready", flush=True)
    if asked := forker.run():
        become(**asked)


if __name__ == "__main__":
    main(sys.argv[1])
