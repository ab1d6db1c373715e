"""docs/examples/fresh_key.py rotates a key under load, and no request is refused."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import httpx
import pytest

from authapi.rules.own_keys import OVERLAP_SECONDS
from tests.conftest import ENGINES, new_url
from tests.pages.running import RUN_SECONDS, call, log_in
from tests.serving import ROOT, Served, clean_environ, create_client, run, serve

SCRIPT = ROOT / "docs" / "examples" / "fresh_key.py"
PROGRAMS, ROTATIONS = 3, 4
PAUSE_SECONDS = 0.05
"""Between two rounds of a program, or else three of them keep a machine busy."""
SECRET = "s" * 32


@dataclass
class Program:
    """Reads the file, logs in, and calls: again and again. `rounds` counts the logins."""

    file: Path
    url: str
    rounds: int = 0
    keys: set[str] = field(default_factory=set)

    def go_on(self, stopped: Event) -> None:
        with httpx.Client(base_url=self.url, timeout=20, verify=False) as http:
            while not stopped.is_set():
                key = self.file.read_text()
                pair = http.post("/login", json={"client_key": key}).raise_for_status().json()
                bearer = {"Authorization": f"Bearer {pair['access_token']}"}
                for _ in range(5):
                    http.get("/me", headers=bearer).raise_for_status()
                self.keys.add(key)
                self.rounds += 1
                stopped.wait(PAUSE_SECONDS)


def key_file(folder: Path, **environ: str) -> Path:
    """With the key of a new client."""
    file = folder / "billing.key"
    file.write_text(create_client(folder, **environ))
    run(folder, "manage.py", "set-scopes", "billing", "keys:self", **environ)
    return file


@contextmanager
def load(file: Path, url: str) -> Iterator[list[Program]]:
    """Raises what a program was refused."""
    programs, stopped = [Program(file, url) for _ in range(PROGRAMS)], Event()
    with ThreadPoolExecutor(PROGRAMS) as pool:
        running = [pool.submit(program.go_on, stopped) for program in programs]
        try:
            yield programs
        finally:
            stopped.set()
        for each in running:
            each.result(RUN_SECONDS)


def wait_for_logins(programs: list[Program]) -> None:
    """As a day between two runs would: until each has logged in anew since now."""
    least = [program.rounds + 2 for program in programs]
    give_up = time.monotonic() + RUN_SECONDS
    while any(program.rounds < of for program, of in zip(programs, least, strict=True)):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def refresh(file: Path, served: Served) -> None:
    subprocess.run(
        [sys.executable, str(SCRIPT), str(file)],
        env=clean_environ() | {"URL": served.url},
        check=True,
        timeout=RUN_SECONDS,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_is_kept_fresh_and_nobody_is_refused(
    request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    url = new_url(request, engine, tmp_path / "auth.db")
    environ = {"SECRET_KEY": SECRET, "WORKERS": "2", "DATABASE_URL": url}
    file = key_file(tmp_path, **environ)
    first = file.read_text()
    with serve(tmp_path, **environ) as served:
        with load(file, served.url) as programs:
            for _ in range(ROTATIONS):
                wait_for_logins(programs)
                refresh(file, served)
            wait_for_logins(programs)
        assert file.stat().st_mode & 0o777 == 0o600
        assert len(set.union(*(program.keys for program in programs))) == ROTATIONS + 1
        token = log_in(served, file.read_text())["access_token"]
        keys = call(served, "/me/keys", token).json()["keys"]
        assert sum(each["revoked_at"] is None for each in keys) == 2
        assert call(served, "/login", client_key=first).status_code == 401


def test_a_run_that_broke_off_is_made_good_by_the_next(tmp_path: Path) -> None:
    file = key_file(tmp_path, SECRET_KEY=SECRET)
    key = file.read_text()
    with serve(tmp_path, SECRET_KEY=SECRET) as served:
        refresh(file, served)
        lost = file.read_text()
        file.write_text(key)  # as if the next key had come, and not been written
        refresh(file, served)
        token = log_in(served, file.read_text())["access_token"]
        ends = {
            each["key_id"]: each["expires_at"]
            for each in call(served, "/me/keys", token).json()["keys"]
        }
    of_lost = ends.pop(lost.split("_")[1])
    assert of_lost - time.time() < OVERLAP_SECONDS
    assert set(ends.values()) == {None}
