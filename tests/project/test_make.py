"""`make` says what it does, and what it lacks, in a line."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT

PYENV = Path(os.environ.get("PYENV_ROOT", Path("~/.pyenv").expanduser())) / "versions"
OLD = [*sorted(PYENV.glob("3.10.*/bin/python")), shutil.which("python3.10")]
MAKE_SECONDS = 120


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Of a make that runs the tests it would say which folder it enters.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=MAKE_SECONDS,
        check=False,
    )


def test_a_python_that_is_too_old_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    old = next((str(path) for path in OLD if path), None)
    if old is None:
        pytest.skip("no Python 3.10 is installed")
    venv = tmp_path / "venv"
    ended = make(f"VENV={venv}", f"PYTHON={old}", f"{venv}/bin/python")
    assert ended.returncode == 2
    assert ended.stdout.splitlines()[0].startswith(f"Python 3.11 or newer is needed, and {old} is")
    assert "PYTHON=" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert not venv.exists()
    assert make(f"VENV={venv}", f"{venv}/bin/python").returncode == 0
    assert (venv / "bin" / "python").exists()


def test_the_help_lists_each_target() -> None:
    listed = {line.split()[0] for line in make("help").stdout.splitlines()}
    assert {"run", "check", "test", "soak", "bench", "lint", "migration"} <= listed
