"""Has imported the service once, and forks for each start of `app.py` or `manage.py`: what would
take half a second takes none.

Whoever connects to its socket (`ask`) sends what is to be run, with its standard input, output and
error, and is told the process's id, and how it ended. It is the same code from its first line on,
with its own environment, folder, console and signals; only what Python does with its memory at the
end is left out.
"""

import atexit
import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

import coverage

_DROP_FROM_BOUNDING_SET = 24  # of prctl(2)
_VERSION_3 = 0x20080522  # of capset(2), with room for 64 capabilities


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


def become(typed: list[str], folder: str, environ: dict[str, str], is_ordinary: bool) -> None:
    """What Python does between its start and the first line of a script."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_ordinary:
        _give_up_privileges()
    coverage.process_startup(force=True)  # if the environment says so
    sys.argv, sys.path[0] = typed, str(Path(folder, typed[0]).parent)
    sys.path[1:1] = [place for place in environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    try:
        runpy.run_path(typed[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        code = end.code or 0
    end_at_once(code)


def end_at_once(code: int) -> None:
    """As Python does, but it leaves all that was imported where it is: to take that apart would
    copy each page of memory that is shared with the forker, for 41 of a command's 69 ms."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  # has no public name
    atexit._run_exitfuncs()  # noqa: SLF001  # neither has this
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _give_up_privileges() -> None:
    """What `setpriv --bounding-set=-all --inh-caps=-all` does, and its next start of a program."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = 0
    while libc.prctl(_DROP_FROM_BOUNDING_SET, number, 0, 0, 0) == 0:
        number += 1
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    assert libc.capset(header, none) == 0, os.strerror(ctypes.get_errno())


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
