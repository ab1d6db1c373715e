"""The service as a user runs it: a real process on a free port of 127.0.0.1."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parent.parent
START_SECONDS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Served:
    """A running service. `console` is what it has printed so far."""

    process: subprocess.Popen[bytes]
    url: str
    console_file: Path

    @property
    def console(self) -> str:
        return self.console_file.read_text()

    @property
    def demo_key(self) -> str:
        match = re.search(r"ck_\w+", self.console)
        assert match, self.console
        return match[0]

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.console}")

    def wait_for_starts(self, count: int) -> None:
        """Until so many workers have told of their start, of whom some may be gone again."""
        give_up = time.monotonic() + START_SECONDS
        while self.console.count("Application startup complete.") < count:
            assert time.monotonic() < give_up, self.console
            time.sleep(0.02)


@contextmanager
def serve(folder: Path, code: Path | str = ROOT, **environ: str) -> Iterator[Served]:
    """Run `python app.py` of the folder `code` in `folder`, and end it at the end."""
    port = free_port()
    console_file = folder / f"console-{port}.txt"
    with console_file.open("wb") as console:
        process = subprocess.Popen(
            [sys.executable, str(Path(code) / "app.py")],
            cwd=folder,
            env=clean_environ() | {"PORT": str(port)} | environ,
            stdout=console,
            stderr=subprocess.STDOUT,
            # Who ran the tests may ignore Ctrl-C, as `nohup` does, and a child would, too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            served = Served(process, f"http://127.0.0.1:{port}", console_file)
            served.wait_until_ready()
            # The first worker may be ready long before the last; and uvicorn takes 5 seconds to
            # notice the end of one that was still starting.
            served.wait_for_starts(int(environ.get("WORKERS", "1")))
            yield served
        finally:
            end(process, seconds=20)


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask it to stop, and end it if it does not within so many seconds."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clean_environ() -> dict[str, str]:
    """The environment without any setting of ours, so that a test depends on no machine."""
    from settings import SettingsSchema

    ours = {name.upper() for name in SettingsSchema().fields}
    return {name: value for name, value in os.environ.items() if name not in ours}


def code_files() -> list[Path]:
    """What the service is made of, migrations included."""
    return sorted([*ROOT.glob("*.py"), *(ROOT / "authapi").rglob("*.py")])


def copy_code(folder: Path) -> None:
    """Bring the code into `folder`, where a test may change it."""
    for path in code_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / command[0]), *command[1:]],
        cwd=folder,
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def children(pid: int) -> list[int]:
    """The workers; not the tracker that Python starts beside them."""
    return [
        child.pid
        for child in psutil.Process(pid).children()
        if not any("resource_tracker" in part for part in child.cmdline())
    ]


def create_client(folder: Path, **environ: str) -> str:
    run(folder, "manage.py", "migrate", **environ)
    result = run(folder, "manage.py", "create-client", "billing", "--json", **environ)
    key: str = json.loads(result.stdout)["client_key"]
    return key
