"""What grows: databases with as many rows and clients as asked, and what else a worker may bear."""

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import scale_rows as rows
from progress import say
from service import environ, manage

from tests.postgres import Postgres

SIZES = (1_000, 100_000, 1_000_000)
SPARE_SECONDS = 10 + 60
"""How long an ended session stays in a worker's copy: see revocation/revocations.py."""

Report = dict[str, Any]


@dataclass
class Subject:
    """A filled database, who serves it, and what was measured of that: nothing in a round that is
    void. `beside` is what else the worker bears: see scale_burdens.py."""

    engine: str
    variant: str
    size: int
    folder: Path
    url: str
    callers: list[rows.Caller]
    workers: int = 1
    beside: str = ""
    rounds: list[Report | None] = field(default_factory=list)
    facts: Report = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return environ(self.url, rows.SECRET_KEY) | {"WORKERS": str(self.workers)}

    def note(self, name: str, lines: list[str]) -> Path:
        """A file of lines for wrk to send."""
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def but(self, **changes: Any) -> "Subject":
        """The same database under another load."""
        return replace(self, rounds=[], facts=dict(self.facts), **changes)

    def report(self) -> Report:
        what = ("engine", "variant", "size", "workers", "beside")
        return {name: getattr(self, name) for name in what} | self.facts | {"rounds": self.rounds}


def fill_sqlite(folder: Path, size: int) -> list[Subject]:
    """A database for each variant, with the same clients."""
    say(f"fill SQLite, {size:,} rows")
    subjects: list[Subject] = []
    clients, keys, callers = rows.make_clients(size, int(time.time()))
    for variant, make in rows.VARIANTS.items():
        place = folder / f"{variant}-{size}"
        place.mkdir()
        subject = Subject("SQLite", variant, size, place, f"sqlite:///{place / 'auth.db'}", callers)
        if subjects:
            shutil.copy(subjects[0].folder / "clients.db", place / "auth.db")
        else:
            manage(place, subject.env, "migrate")
            rows.set_identity(place / "auth.db")
            rows.fill_sqlite(place / "auth.db", "clients", clients)
            rows.fill_sqlite(place / "auth.db", "client_keys", keys)
            shutil.copy(place / "auth.db", place / "clients.db")
        rows.fill_sqlite(place / "auth.db", "revoked_jtis", make(size, time.time()))
        subject.facts["file_mb"] = (place / "auth.db").stat().st_size / 1e6
        subject.facts["ids_in_copy"] = count_copied(subject)
        subjects.append(subject)
    return subjects


def fill_postgres(postgres: Postgres, folder: Path, size: int) -> list[Subject]:
    """As with SQLite; the burst comes with the most rows only, since time is short."""
    say(f"fill PostgreSQL, {size:,} rows")
    subjects: list[Subject] = []
    clients, keys, callers = rows.make_clients(size, int(time.time()))
    host = str(postgres.socket_folder)
    for variant, make in rows.VARIANTS.items():
        if variant == "burst" and size != max(SIZES):
            continue
        place = folder / f"postgres-{variant}-{size}"
        place.mkdir()
        url = postgres.new_database()
        name = url.partition("@/")[2].partition("?")[0]
        subject = Subject("PostgreSQL", variant, size, place, url, callers)
        manage(place, subject.env, "migrate")
        postgres.execute(rows.SET_IDENTITY, name)
        rows.fill_postgres(host, name, "clients", clients)
        rows.fill_postgres(host, name, "client_keys", keys)
        revoked = rows.number_by_transaction(make(size, time.time()))
        rows.fill_postgres(host, name, "revoked_jtis", revoked)
        ((size_of_database,),) = postgres.execute(f"SELECT pg_database_size('{name}')")
        subject.facts["file_mb"] = int(str(size_of_database)) / 1e6
        subjects.append(subject)
    return subjects


def count_copied(subject: Subject) -> int:
    """How many ids `following.Follower` finds."""
    query = (
        "SELECT count(*) FROM revoked_jtis WHERE commit_order IS NOT NULL AND access_expires_at > ?"
    )
    return ask(subject, query, time.time() - SPARE_SECONDS)


def ask(subject: Subject, query: str, *values: float) -> int:
    with closing(sqlite3.connect(subject.folder / "auth.db", timeout=30)) as database:
        answer: int = database.execute(query, values).fetchone()[0]
        return answer
