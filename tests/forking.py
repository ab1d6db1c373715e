"""Starts `python app.py` and `python manage.py` as processes of their own that need not import all
anew, which takes half a second each: the fork server of the standard library has imported it.

It is the same code from its first line on, with its own environment, folder, console and signals.
"""

import ctypes
import math
import os
import runpy
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from threading import Lock

_context = get_context("forkserver")
_context.set_forkserver_preload(["app", "manage", "uvloop", "httptools", "tests.forking"])

_lock = Lock()
"""Each start asks after every process, and of two threads that ask at once one is told wrong."""

_DROP_FROM_BOUNDING_SET = 24  # of prctl(2)
_VERSION_3 = 0x20080522  # of capset(2), with room for 64 capabilities


class Forked:
    """What is used of `subprocess.Popen`."""

    def __init__(
        self,
        script: Path,
        arguments: tuple[str, ...],
        folder: Path,
        environ: dict[str, str],
        out: Path,
        err: Path,
        is_ordinary: bool = False,
    ) -> None:
        """`out` and `err` may be one file. If it `is_ordinary`, the rights of files count for it,
        though the tests may run as root."""
        typed = [str(script), *arguments]
        told = (typed, folder, environ, out, err, is_ordinary)
        self._process = _context.Process(target=_become, args=told)
        with _lock:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with _lock:
            return self._process.exitcode

    def wait(self, timeout: float = math.inf) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        give_up = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > give_up:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(
    typed: list[str], folder: Path, environ: dict[str, str], out: Path, err: Path, is_ordinary: bool
) -> None:
    """In the new process, and to its end."""
    nothing, writing = os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, file, flags in ((0, os.devnull, nothing), (1, out, writing), (2, err, writing)):
        descriptor = os.open(file, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # it is the process's own
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_ordinary:
        _give_up_privileges()
    sys.argv, sys.path[0] = typed, str(Path(typed[0]).parent)
    runpy.run_path(typed[0], run_name="__main__")


def _give_up_privileges() -> None:
    """What `setpriv --bounding-set=-all --inh-caps=-all` does, and its next start of a program."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = 0
    while libc.prctl(_DROP_FROM_BOUNDING_SET, number, 0, 0, 0) == 0:
        number += 1
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    assert libc.capset(header, none) == 0, os.strerror(ctypes.get_errno())
