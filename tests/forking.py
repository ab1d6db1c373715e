"""Starts `python app.py` and `python manage.py` as forks of a process that has imported all: for
the tests, and for the commands that the pages show."""

import atexit
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tests.asking import Fork, begins_with

ROOT = Path(__file__).parent.parent
NOTES_LINES = "COVERAGE_PROCESS_CONFIG"
"""By this, a process is told to note which lines it runs."""
PYTHON = """#!{python} -IS
import sys
sys.path.insert(0, {root!r})
from tests.asking import main
main({forker!r}, {venv!r}, {ours!r}, {early!r})
"""


@cache
def forker() -> str:
    """The socket of the one of this test process."""
    folder = mkdtemp(prefix="forker-")
    command = [sys.executable, "-m", "tests.forker", f"{folder}/socket"]
    # It notes no lines itself: a fork begins anew to note its own.
    environ = {name: value for name, value in os.environ.items() if name != NOTES_LINES}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def end() -> None:
        process.communicate(timeout=20)
        rmtree(folder)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return f"{folder}/socket"


def is_same(script: Path, environ: Mapping[str, str]) -> bool:
    """Whether a fork is the same as to run this script with Python, with these variables more."""
    return script.resolve().parent == ROOT and not begins_with(environ)


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
        with ExitStack() as stack:
            places = ((os.devnull, "r"), (out, "a"), (err, "a"))
            files = [stack.enter_context(open(place, mode)) for place, mode in places]
            numbers = [file.fileno() for file in files]
            self._fork = Fork(forker(), typed, str(folder), environ, numbers, is_ordinary)
        self.pid = self._fork.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        try:
            return self._fork.code(0)
        except TimeoutError:
            return None

    def wait(self, timeout: float = math.inf) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        try:
            return self._fork.code(None if timeout == math.inf else timeout)
        except TimeoutError:
            raise subprocess.TimeoutExpired("a forked process", timeout) from None

    def send_signal(self, number: int) -> None:
        self._fork.send_signal(number)

    def kill(self) -> None:
        self.send_signal(9)


def make_clone(folder: Path) -> None:
    """What looks like a fresh clone after `make run`, and is linked to the code that is here. Its
    `python` forks where that is the same."""
    for path in (*ROOT.glob("*.py"), ROOT / "authapi"):
        (folder / path.name).symlink_to(path)
    venv, copy = ROOT / ".venv", folder / ".venv"
    (copy / "bin").mkdir(parents=True)
    for path in (*venv.iterdir(), *(venv / "bin").iterdir()):
        linked = copy / path.relative_to(venv)
        if not linked.exists():
            linked.symlink_to(path)
    python = copy / "bin" / "python"
    python.unlink()
    text = PYTHON.format(
        python=Path(sys.executable).resolve(),
        root=str(ROOT),
        forker=forker(),
        venv=str(venv / "bin" / "python"),
        ours=[str(ROOT / script) for script in ("app.py", "manage.py")],
        early=begins_with(os.environ),
    )
    python.write_text(text)
    python.chmod(0o755)
