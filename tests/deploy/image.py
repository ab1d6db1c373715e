"""Builds the image of deploy/container with buildah, on a base that is made of this machine, and
runs it as an engine would: as its user, with its environment, on a root that is read-only."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.serving import ROOT, clean_environ, end

BUILDAH = shutil.which("buildah")
BUILD_SECONDS = 300
RUN_SECONDS = 60
SHELL = Path("/usr/bin/dash")
PIP = "[global]\nno-index = true\nfind-links = /wheels\n"
COMPILED = ("cryptography/**/*.so", "greenlet/*.so", "uvloop/*.so")
Environ = Mapping[str, str]
NONE: Environ = {}
LENT = "/mnt"
START = f"""
set -eu
root=$1 data=$2 lent=$3 user=$4 folder=$5
shift 5
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind "$data" "$root/var/lib/auth-api"
mount -t tmpfs tmpfs "$root{LENT}"
if [ "$lent" ]; then
    touch "$root{LENT}/${{lent##*/}}"
    mount --bind "$lent" "$root{LENT}/${{lent##*/}}"
fi
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs /usr/sbin/chroot --userspec="$user" "$root" \\
    /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""
"""In a namespace of its own for mounts, which goes with the process."""


def why_not() -> str:
    """Why nothing can be built here, or nothing."""
    if BUILDAH is None:
        return "buildah is not installed"
    if not SHELL.exists():
        return "there is no shell for a base image"
    return "" if os.geteuid() == 0 else "only root may build an image without more ado"


class Image:
    """What was built: its files and its settings."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root, self.config = root, config

    @property
    def environ(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.config["Env"])

    def command(self, data: Path, *typed: str, lent: Path | None = None) -> list[str]:
        """What runs this in it, or else what the image runs."""
        places = (str(self.root), str(data), str(lent or ""))
        return [
            *("unshare", "--mount", "sh", "-c", START, "sh", *places),
            *(self.config["User"], self.config["WorkingDir"]),
            *(typed or self.config["Cmd"]),
        ]

    def run(
        self, data: Path, *typed: str, lent: Path | None = None, environ: Environ = NONE
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(data, *typed, lent=lent),
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    @contextmanager
    def running(
        self, data: Path, console: Path, lent: Path | None = None, environ: Environ = NONE
    ) -> Iterator[subprocess.Popen[bytes]]:
        with console.open("wb") as said:
            process = subprocess.Popen(
                self.command(data, lent=lent),
                env={**self.environ, **environ},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            try:
                yield process
            finally:
                end(process, seconds=20)


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Skips where the packages, which are no part of the repository, cannot be had."""
    wheels = folder / "wheels"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
    if tried(*download, "--require-hashes", "-r", str(ROOT / "requirements.txt")).returncode:
        pytest.skip("the packages of the service cannot be had")
    (folder / "base").mkdir()
    fill_base(folder / "base")
    (folder / "base/Containerfile").write_text("FROM scratch\nCOPY . /\n")
    buildah = [str(BUILDAH), f"--root={folder}/store", f"--runroot={folder}/run"]
    buildah.append("--storage-driver=vfs")
    options = ["--isolation=chroot", "--network=host", "--format=docker", "--pull-never"]

    def call(*arguments: str) -> str:
        done = tried(*buildah, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    call("build", *options, "-t", "base", str(folder / "base"))
    file = ROOT / "deploy" / "container" / "Containerfile"
    lend = f"--volume={wheels}:/wheels:ro"
    base = "--build-arg=BASE=localhost/base"
    call("build", *options, lend, base, "-t", "auth-api", "-f", str(file), str(ROOT))
    container = call("from", "--pull-never", "localhost/auth-api")
    root = Path(call("mount", container))
    try:
        yield Image(root, json.loads(call("inspect", container))["Docker"]["config"])
    finally:
        call("umount", container)


def tried(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )


def fill_base(root: Path) -> None:
    """A Python, a shell, and the libraries that both need."""
    for name in ("dev", "mnt", "proc", "tmp", "etc", "usr/lib", "usr/bin", "usr/lib64", "usr/sbin"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(sys.base_prefix, "lib", version)
    # With what is compiled, or else each start of a Python that may not write compiles it anew.
    ignore = shutil.ignore_patterns(
        "*.opt-?.pyc", "config-*", "dist-packages", "idlelib", "site-packages", "test"
    )
    copy = root / "usr/local/lib" / version
    shutil.copytree(library, copy, ignore=ignore)
    program = root / "usr/local/bin/python3"
    program.parent.mkdir()
    shutil.copy(Path(sys.executable).resolve(), program)
    shutil.copy(SHELL, root / "usr/bin/sh")
    packages = Path(sysconfig.get_path("purelib"))
    modules = [*copy.rglob("*.so"), *(m for name in COMPILED for m in packages.glob(name))]
    for path in needed_by([Path(sys.executable).resolve(), SHELL, *modules]):
        place = root / "usr/lib" / path.name if is_ours(path) else root / str(path).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (root / "etc/pip.conf").write_text(PIP)
    (root / "etc/ld.so.conf").write_text("/usr/lib\n")
    subprocess.run(["ldconfig", "-r", str(root)], check=True, timeout=60, capture_output=True)


def is_ours(library: Path) -> bool:
    """Of this Python, and not of the system."""
    return library.is_relative_to(sys.base_prefix) and sys.base_prefix != "/usr"


def needed_by(programs: list[Path]) -> set[Path]:
    listed = tried("ldd", *map(str, programs)).stdout
    return {Path(each) for each in re.findall(r"(/\S+) \(0x", listed)}
