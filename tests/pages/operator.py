"""Someone who types the blocks of the runbook at 3 a.m."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pages.reading import blocks
from tests.pages.running import RUN_SECONDS, key_in, run
from tests.serving import Served, clean_environ, serve

SHIMS = """
sudo() { if [ "$1" = -u ]; then shift 2; fi; "$@"; }
journalctl() { case "$1" in -u) cat console-*.txt;; *) echo "journalctl $*";; esac; }
timedatectl() { echo "timedatectl $*"; }
cd() { :; }
"""
"""What a machine has that a test has not: users, systemd, and the time of day."""
STOPS = "sudo systemctl "
"""What the test itself has to do: it has the server."""


class Operator:
    """Types the blocks of a section, one after the other, where a server runs, or is to run."""

    def __init__(self, folder: Path, title: str, **environ: str) -> None:
        self.folder, self.environ = folder, environ
        self.blocks = blocks(title, "sh")
        self.served: Served | None = None
        self.before = SHIMS + blocks("Before you begin", "sh")[0]

    @contextmanager
    def serving(self) -> Iterator[Served]:
        with serve(self.folder, code=self.folder, **self.environ) as self.served:
            yield self.served
        self.served = None

    def type(self, script: str, *, may_fail: bool = False) -> str:
        """What it prints; a command may say by its exit code that all is not well."""
        if self.served is not None:
            script = script.replace("http://127.0.0.1:8000", self.served.url)
        options = "-u" if may_fail else "-euo"
        result = subprocess.run(
            ["bash", options, *([] if may_fail else ["pipefail"]), "-c", self.before + script],
            cwd=self.folder,
            env=clean_environ() | self.environ,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert may_fail or result.returncode == 0, result.stdout + result.stderr
        return result.stdout


def faults(said: str) -> list[str]:
    """What the doctor calls so."""
    return re.findall("^fault .*", said, re.MULTILINE)


def create_client(folder: Path, **environ: str) -> str:
    manage = ".venv/bin/python manage.py"
    made = run(folder, f"{manage} migrate; {manage} create-client billing", **environ)
    return key_in(made)
