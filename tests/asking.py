"""How `tests/forker.py` is asked: by the tests, and by the `python` of a clone, which is this.

It imports little, since it is run in the place of a command.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from select import POLLIN, poll

EARLY = ("LD_", "PYTHON")
"""With these begin the variables that the loader and Python read as they start."""


def begins_with(environ: Mapping[str, str]) -> dict[str, str]:
    """What of an environment counts before the first line of a script, but for where its modules
    are, and which lines are noted: a fork sees to that."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(EARLY) and name != "PYTHONPATH"
    }


class Fork:
    """A process that was asked for."""

    def __init__(
        self,
        forker: str,
        typed: Sequence[str],
        folder: str,
        environ: Mapping[str, str],
        descriptors: Sequence[int] = (0, 1, 2),
        is_ordinary: bool = False,
    ) -> None:
        """Of the `forker` at this socket: as if `python` and what is `typed` were run in `folder`,
        with these for its standard input, output and error."""
        asked = {"typed": list(typed), "folder": folder, "environ": dict(environ)}
        content = json.dumps(asked | {"is_ordinary": is_ordinary}).encode()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(forker)
        socket.send_fds(self._socket, [content[:1]], descriptors)
        self._socket.sendall(content[1:])
        self._socket.shutdown(socket.SHUT_WR)
        self._told = b""
        self._code: int | None = None
        self.pid = self._number(None)

    def _number(self, seconds: float | None) -> int:
        """The next that is told. Raises `TimeoutError`."""
        told = poll()  # which takes any descriptor, where `select` takes the first thousand
        told.register(self._socket, POLLIN)
        while b"\n" not in self._told:
            if not told.poll(None if seconds is None else seconds * 1000):
                raise TimeoutError
            part = self._socket.recv(64)
            assert part, "the forker is gone"
            self._told += part
        line, _, self._told = self._told.partition(b"\n")
        return int(line)

    def code(self, seconds: float | None) -> int:
        """How it has ended, as `subprocess` puts it. Raises `TimeoutError`."""
        if self._code is None:
            self._code = self._number(seconds)
            self._socket.close()
        return self._code

    def send_signal(self, number: int) -> None:
        try:
            self.code(0)
        except TimeoutError:
            os.kill(self.pid, number)


def main(forker: str, python: str, ours: Sequence[str], early: Mapping[str, str]) -> None:
    """As this `python`, which runs whatever is no script of `ours`, or would begin otherwise."""
    typed = sys.argv[1:]
    is_ours = bool(typed) and os.path.realpath(typed[0]) in ours
    if not is_ours or begins_with(os.environ) != early:
        os.execv(python, [python, *typed])
    fork = Fork(forker, typed, os.getcwd(), os.environ)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: fork.send_signal(number))
    code = fork.code(None)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
