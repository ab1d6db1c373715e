"""What a fork becomes: `python app.py` or `python manage.py`, or a worker of that.

It is the same code from its first line on, with its own environment, folder, console and signals;
only what Python does with its memory at the end is left out.
"""

import atexit
import ctypes
import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import util
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import coverage

_DROP_FROM_BOUNDING_SET = 24  # of prctl(2)
_VERSION_3 = 0x20080522  # of capset(2), with room for 64 capabilities
_start_program = util.spawnv_passfds


def become(typed: list[str], folder: str, environ: dict[str, str], is_ordinary: bool) -> None:
    """What Python does between its start and the first line of a script."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_ordinary:
        _give_up_privileges()
    coverage.process_startup(force=True)  # if the environment says so
    util.spawnv_passfds = fork_worker  # what `multiprocessing` calls with all that a worker gets
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


def fork_worker(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """In the place of a new Python, which imports all anew. Returns its process id."""
    if args[-1] != "--multiprocessing-fork":
        return _start_program(path, args, passfds)
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork() or become_worker(args, passfds)


def become_worker(args: Sequence[Any], passfds: Sequence[int]) -> NoReturn:
    """With the files, signals and arguments of a new program, which imports our code, but no
    package."""
    after = 3
    for number in sorted(passfds):
        os.closerange(after, number)
        after = number + 1
    os.closerange(after, os.sysconf("SC_OPEN_MAX"))
    signal.set_wakeup_fd(-1)
    for each in signal.valid_signals():
        if callable(signal.getsignal(each)):
            signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    coverage.process_startup(force=True)
    sys.argv = ["-c", args[-1]]
    forget_our_modules()
    try:
        exec(args[-2], {})  # of `python -c`
        code: Any = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # or else the parent's own code would go on here
        sys.excepthook(*sys.exc_info())
        code = 1
    end_at_once(code)


def forget_our_modules() -> None:
    """So that what they hold is made for each process, as the first part of all ids of requests."""
    theirs = (sys.prefix, sys.base_prefix)
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if file and not file.startswith(theirs) and not name.startswith("tests."):
            del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")


def end_at_once(code: int) -> NoReturn:
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
