"""What this user may not do with a file, whose it is, and what lets it."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Obstacle(NamedTuple):
    """What is in the way, and what takes it away."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}."


def find_obstacle(*paths: str | Path, writing: bool = True) -> Obstacle | None:
    """The first thing that keeps this user from reading these files, and from writing them, if that
    is meant. What is not there is made in its folder; no folder at all is no matter of rights."""
    for path in paths:
        for each, right in _rights_needed(Path(os.path.abspath(path)), writing):
            if not os.access(each, right):
                return _describe(each, right)
    return None


def _rights_needed(path: Path, writing: bool) -> Iterator[tuple[Path, int]]:
    """From the top down: what is in a folder that is closed is not seen."""
    for folder in reversed(path.parents):
        if not folder.is_dir():
            return
        yield folder, os.X_OK
    if not os.path.exists(path):
        path = path.parent
    elif not path.is_dir():
        yield path, os.R_OK
    if writing:
        yield path, os.W_OK


def _describe(path: Path, right: int) -> Obstacle:
    verb = {os.R_OK: "read", os.W_OK: "write", os.X_OK: "enter"}[right]
    us, owner = os.geteuid(), path.stat().st_uid
    what = f"user {name_of(us)} may not {verb} {path}"
    if right == os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY:
        return Obstacle(what, "its file system is mounted read-only, which only a remount changes")
    if us == owner:
        return Obstacle(what, f"`chmod u+{'rwx' if path.is_dir() else 'rw'} {path}`")
    remedy = f"`chown {name_of(us)} {path}`"
    if owner != 0:  # as root nothing is served
        remedy = f"run this as {name_of(owner)}, or {remedy}"
    return Obstacle(f"{what}, which belongs to {name_of(owner)}", remedy)


def is_open_to_others(file: os.stat_result) -> bool:
    """Whether a secret in it is none. Its owner alone may read it; or a group, where it is root's
    and we are not: so Kubernetes hands over a secret, and so PostgreSQL judges its key, too."""
    taboo = 0o037 if file.st_uid == 0 != os.geteuid() else 0o077
    return bool(file.st_mode & taboo)


def name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in a container
        return str(user)
