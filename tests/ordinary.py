"""Runs a command as a user for whom the rights of files count, though the tests may run as root.

It is root still, and so may read the Python and the code wherever they are; but it gives up what
lets root pass by the rights of files, and is then treated as anybody.
"""

import os
import subprocess
from functools import cache

import pytest

OTHER = 65534
"""Whoever else there is, by whom a file may be owned."""
GIVE_UP = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
HAS_NONE = ("grep", "-qE", "^CapEff:\\s+0+$", "/proc/self/status")


@cache
def launcher() -> tuple[str, ...]:
    """To be typed before a command. Skips the test where that cannot be had."""
    if os.geteuid() != 0:
        return ()
    try:
        subprocess.run([*GIVE_UP, *HAS_NONE], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as fault:
        pytest.skip(f"root's privileges cannot be given up here: {fault}")
    return GIVE_UP


def give_away(path: str | os.PathLike[str]) -> None:
    """To another user. Skips the test where only root may do that, and the tests are not root's."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    os.chown(path, OTHER, OTHER)
