"""A machine of its own for a test: a real systemd, booted in a container of systemd-nspawn on the
programs of this one, with a file system and a network that nobody else sees."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NSPAWN = shutil.which("systemd-nspawn")
CGROUPS = Path("/sys/fs/cgroup")
"""By version 1, the systemd inside does not learn that the last process of a service is gone."""
BOOT_SECONDS = 120
QUIETLY = ("--quiet", "--keep-unit", "--register=no", "--private-network", "--boot")
PYTHON = Path("/opt/python")
PACKAGES = Path("/opt/packages")
TYPED = """\
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /root/typed.sh
ExecStopPost=/bin/systemctl exit
StandardOutput=file:/root/said.txt
StandardError=inherit
"""
SHIMS = """\
export PATH={python}/bin:/usr/sbin:/usr/bin HOME=/root
set -euo pipefail
trap 'echo "ended with $?"' EXIT
ldconfig
sudo() {{
    if [ "$1" = -u ]; then
        local user=$2; shift 2
        setpriv --reuid "$user" --regid "$user" --init-groups "$@"
    else "$@"; fi
}}
"""
"""`sudo` needs more of a machine than this one has."""


def why_not() -> str:
    """Why none can be booted here, or nothing."""
    if NSPAWN is None:
        return "systemd-nspawn is not installed"
    if not Path("/usr/lib/systemd/systemd").exists():
        return "systemd is not installed"
    if not any((CGROUPS / name).exists() for name in ("cgroup.procs", "unified/cgroup.procs")):
        return "there are no control groups of version 2"
    return "" if os.geteuid() == 0 else "only root may boot a machine"


def make(root: Path) -> None:
    """The files of one that boots nothing but what is typed."""
    for name in ("dev", "etc/systemd/system", "opt", "proc", "root", "run", "srv", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    for name in ("usr", "var/lib"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    etc = root / "etc"
    files = {
        "passwd": "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
        "group": "root:x:0:\nnogroup:x:65534:\n",
        "shadow": "root:*:::::::\n",
        "gshadow": "",
        "machine-id": 32 * "1" + "\n",  # else all units of /usr are enabled at the first boot
        "os-release": "ID=test\n",
        "ld.so.conf": f"{PYTHON}/lib\n",
        "systemd/system/typed.service": TYPED,
        "systemd/system/boot.target": "[Unit]\nWants=basic.target typed.service\n",
    }
    for name, text in files.items():
        (etc / name).write_text(text)
    (etc / "systemd/system/default.target").symlink_to("boot.target")


@contextmanager
def own_groups() -> Iterator[list[Path]]:
    """Control groups for one machine, apart from those of others; gone when it is."""
    places = [CGROUPS, CGROUPS / "unified", CGROUPS / "systemd"]
    groups = [
        place / f"test-{os.getpid()}" for place in places if (place / "cgroup.procs").exists()
    ]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)


def type_on(root: Path, script: str) -> str:
    """Boot it, type the script, and switch it off. Returns what was said by its commands, each of
    which has to work."""
    assert NSPAWN is not None
    (root / "root/typed.sh").write_text(SHIMS.format(python=PYTHON) + script)
    lent = [(sys.base_prefix, PYTHON), (sysconfig.get_path("purelib"), PACKAGES)]
    options = ["--bind-ro=/usr", *(f"--bind-ro={real}:{place}" for real, place in lent)]
    start = [NSPAWN, *QUIETLY, f"--machine=test-{os.getpid()}", f"--directory={root}", *options]
    with own_groups() as groups:
        join = "; ".join(f"echo $$ > {group}/cgroup.procs" for group in groups)
        booted = run([*("sh", "-c", f'{join}; exec "$@"', "sh"), *start])
    said = root / "root/said.txt"
    assert said.exists(), booted.stdout.decode(errors="replace")
    *lines, end = said.read_text().splitlines()
    assert end == "ended with 0", said.read_text()
    return "\n".join(lines)


def run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BOOT_SECONDS,
        check=False,
    )
