"""What keeps a user from a file is named with its owner, and with what takes it away."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from authapi.file_rights import find_obstacle, name_of
from tests.ordinary import OTHER, give_away, launcher
from tests.serving import ROOT, watched

US = name_of(os.geteuid())
ASK = "print(file_rights.find_obstacle(sys.argv[1]))"
ASK_AS_ANOTHER = f"""
os.setresuid({OTHER}, {OTHER}, 0)
{ASK}
os.setresuid(0, 0, 0)
"""
IS_OPEN_TO_ANOTHER = f"""
file = os.stat(sys.argv[1])
os.setresuid({OTHER}, {OTHER}, 0)
print(file_rights.is_open_to_others(file))
os.setresuid(0, 0, 0)
"""


def asked_of(path: str | Path, *started_by: str, code: str = ASK) -> str:
    """By a process of its own."""
    code = f"import os, sys; from authapi import file_rights\n{code}"
    ended = subprocess.run(
        [*started_by, sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        env=os.environ | watched(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ended.stdout.strip()


def test_what_may_be_used_or_made_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert find_obstacle(file, tmp_path) is None
    file.touch(0o600)
    assert find_obstacle(file) is None


def test_no_folder_at_all_is_no_matter_of_rights(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert find_obstacle(tmp_path / "none" / "file", tmp_path / "file" / "none") is None


@pytest.mark.parametrize(("is_folder", "rights"), [(False, "rw"), (True, "rwx")])
def test_our_own_file_needs_a_mode(tmp_path: Path, is_folder: bool, rights: str) -> None:
    path = tmp_path / "path"
    if is_folder:
        path.mkdir(0o500)
    else:
        path.touch(0o400)
    expected = f"user {US} may not write {path}: `chmod u+{rights} {path}`."
    assert asked_of(path, *launcher()) == expected
    path.chmod(0o700)
    assert asked_of(path, *launcher()) == "None"


def test_the_file_of_root_is_given_to_us_and_nothing_is_run_as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    us = pwd.getpwuid(OTHER).pw_name
    assert asked_of("/etc/passwd", code=ASK_AS_ANOTHER) == (
        f"user {us} may not write /etc/passwd, which belongs to root: `chown {us} /etc/passwd`."
    )


@pytest.mark.parametrize(
    ("mode", "is_ours", "is_open"),
    [
        (0o440, False, False),
        (0o400, False, False),
        (0o444, False, True),
        (0o460, False, True),
        (0o450, False, True),
        (0o440, True, True),
        (0o600, True, False),
    ],
)
def test_a_group_may_read_a_secret_of_root_alone(
    tmp_path: Path, mode: int, is_ours: bool, is_open: bool
) -> None:
    """As in Kubernetes: the file is root's, and the process is of its group."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    file = tmp_path / "secret"
    file.touch()
    file.chmod(mode)
    if is_ours:
        give_away(file)
    assert asked_of(file, code=IS_OPEN_TO_ANOTHER) == str(is_open)


def test_on_a_file_system_that_is_read_only_no_owner_and_no_mode_helps(small_disk: Path) -> None:
    file = small_disk / "file"
    file.touch()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=20)
    assert str(find_obstacle(file)) == (
        f"user {US} may not write {file}: its file system is mounted read-only, which only a "
        "remount changes."
    )
    assert find_obstacle(file, writing=False) is None


def test_a_user_without_a_name_has_a_number() -> None:
    assert name_of(OTHER) == pwd.getpwuid(OTHER).pw_name
    assert name_of(4_000_000_000) == "4000000000"
