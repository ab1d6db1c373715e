"""The file of signing keys, a private JWKS (RFC 7517): read, replaced at once, and watched."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import orjson

from authapi.credentials.signing_keys import KeyFault, SigningKey, from_jwk
from authapi.credentials.signing_schedule import Schedule, live
from authapi.file_rights import find_obstacle, is_open_to_others
from authapi.telemetry import audit

Use = Callable[[Sequence[SigningKey]], None]


class KeyFileError(Exception):
    """The file of signing keys is at fault."""


def read(path: str) -> list[SigningKey]:
    """Every key of the file, retired ones too.

    Raises `KeyFileError`: a line that says what is wrong with the file, and how to mend it.
    """
    try:
        with open(path, "rb") as file:
            if is_open_to_others(os.fstat(file.fileno())):
                raise KeyFileError(f"{path} is open to others than its owner: chmod 600 {path}")
            content = orjson.loads(file.read())
    except OSError as fault:
        if obstacle := find_obstacle(path, writing=False):
            raise KeyFileError(f"The signing keys cannot be read: {obstacle}") from None
        raise KeyFileError(
            f"{path} cannot be read ({fault.strerror}): mend SIGNING_KEYS_FILE, or "
            "make the file with `manage.py new-signing-key`."
        ) from None
    except ValueError:
        content = None
    jwks = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(jwks, list):
        raise KeyFileError(f"{path} is no JSON object with a list of `keys`: bring a copy back.")
    return _keys(path, jwks)


def _keys(path: str, jwks: list[Any]) -> list[SigningKey]:
    keys: dict[str, SigningKey] = {}
    for number, jwk in enumerate(jwks, 1):
        try:
            key = from_jwk(jwk)
            if key.kid in keys:
                raise KeyFault("an earlier one has the same `kid`; take one of them out.")
        except KeyFault as fault:
            raise KeyFileError(f"{path}, key {number} of {len(jwks)}: {fault}") from None
        keys[key.kid] = key
    return list(keys.values())


def read_live(path: str, now: float) -> list[SigningKey]:
    """The keys whose time is not over; the newest of them signs for good. As `read` otherwise."""
    keys = live(sorted(read(path), key=lambda key: key.signs_from), now)
    if not keys or keys[-1].dates().keys() & {"signs_until", "retires_at"}:
        raise KeyFileError(f"{path} has no key that signs: run `manage.py new-signing-key`.")
    return keys


def write(path: str, keys: Sequence[SigningKey]) -> None:
    """The file is the old or the new one whatever happens, and has the owner that it had."""
    target = Path(path).resolve()
    with NamedTemporaryFile(dir=target.parent, delete=False) as file:  # which none but we may read
        try:
            if target.exists():
                status = target.stat()
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(orjson.dumps({"keys": [key.private() for key in keys]}))
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, target)
        except OSError:
            os.unlink(file.name)
            raise
    with _opened(target.parent) as folder:
        os.fsync(folder)


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Of two commands that change the file one waits, and then reads what the other wrote."""
    with _opened(Path(path).resolve().parent) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class WatchedKeys:
    """The keys in force. Hands them to `use` whenever they change, in the file or by the clock."""

    def __init__(
        self, path: str, schedule: Schedule, use: Use, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._schedule = schedule
        self._use = use
        self._clock = clock
        self._seen: tuple[int, ...] | None = None
        self._keys: list[SigningKey] = []
        self._in_force: list[SigningKey] = []

    def load(self) -> None:
        """Raises `KeyFileError`."""
        self._seen = self._look()
        self._keys = read_live(self._path, self._clock())
        self._hand_over()

    async def poll(self) -> None:
        """Read the file if it is another one. While it is at fault, the former keys stay."""
        if self._look() != self._seen:
            try:
                self.load()
                kids = " ".join(key.kid for key in self._in_force)
                audit.record("signing_keys_changed", kids=kids)
            except KeyFileError as fault:
                audit.record("signing_keys_refused", reason=str(fault))
        self._hand_over()

    def _look(self) -> tuple[int, ...] | None:
        """What changes with the file; the last one with its rights too."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _hand_over(self) -> None:
        in_force = live(self._keys, self._clock())
        if in_force != self._in_force:
            self._in_force = in_force
            self._use(in_force)

    def published(self, database_id: str) -> tuple[list[dict[str, str]], int]:
        """The public keys of this database, and for how many seconds they may be kept."""
        now = self._clock()
        keys = live(self._in_force, now)
        return [key.public(database_id) for key in keys], self._schedule.max_age(keys, now)
