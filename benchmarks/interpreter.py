"""How an interpreter of Python was built: Node is a release build, and is compared with no less.

Run by the interpreter in question it says how that was built; with `--find`, and by any, it prints
the path of one here that is optimised, or else its own. It imports nothing that must be installed.
"""

import platform
import shutil
import subprocess
import sys
import sysconfig

NAMES = ("python3", *(f"python3.{minor}" for minor in range(14, 10, -1)))
FOLDERS = ("/usr/bin", "/usr/local/bin")
"""Where a system keeps its own, which may be hidden behind another one in PATH."""


def build() -> str:
    """By what `sysconfig` tells. Debian's packages are built with a profile and take its flags out
    of that (debian/rules), so theirs are known by what Debian adds to it."""
    told = " ".join(
        sysconfig.get_config_var(name) or "" for name in ("CONFIG_ARGS", "PY_CFLAGS_NODIST")
    )
    if "--enable-optimizations" in told or "-fprofile-use" in told:
        return f"optimised (PGO{' and LTO' if 'lto' in told else ''})"
    if "deb_system" in sysconfig.get_scheme_names():
        return "optimised (Debian's own, PGO)"
    return "not optimised"


def describe() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}, {build()}"


def describe_other(python: str) -> str:
    """The same of another interpreter; empty if it is none."""
    try:
        asked = subprocess.run([python, __file__], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return asked.stdout.strip()


def find() -> str:
    paths = [shutil.which(name, path=folder) for folder in FOLDERS for name in NAMES]
    for path in dict.fromkeys([sys.executable, *map(shutil.which, NAMES), *paths]):
        if path and is_new_enough(path) and ", optimised" in describe_other(path):
            return path
    return sys.executable


def is_new_enough(python: str) -> bool:
    asks = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", asks], capture_output=True, check=False).returncode == 0  # noqa: S603


if __name__ == "__main__":
    print(find() if "--find" in sys.argv else describe())
