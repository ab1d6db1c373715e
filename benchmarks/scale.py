"""Does the service stay small and fast as its tables grow? 1,000, 100,000 and 1,000,000 rows.

Each database has as many clients, with a key each, as rows in `revoked_jtis`. An ordinary *week*
is 80 % spent refresh tokens and 20 % ended sessions; in a *burst* every row is a session that was
ended in the last ten minutes, so that the whole table is in each worker's copy. Then, with the
most rows: does refreshing grow the copy, and does a purge make anybody wait? Run by `make scale`.
"""

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import scale_load as load
import scale_rows as rows
import wrk
from progress import say
from service import Service, Void, environ, manage, serve

from authapi.credentials.tokens import ACCESS, REFRESH
from tests.postgres import Postgres, run_synced
from tests.serving import ROOT

SIZES = (1_000, 100_000, 1_000_000)
ROUNDS = 5
SECONDS = 1
"""How long each load with wrk takes."""
SPARE_SECONDS = 10 + 60
"""How long an ended session stays in a worker's copy: see revocation/revocations.py."""
WARM_UP, REFRESHES = 2_000, 20_000
PACE = 150
"""Requests per second while a purge runs."""
RESULTS = Path(__file__).parent / "results" / "scale.json"
NOTE = f"""
Medians of {ROUNDS} rounds that took turns (lowest and highest in brackets), one worker,
{wrk.CONNECTIONS} connections, server and load on a core each. The machine is shared: compare the
sizes with each other, not with another machine's. A measurement with any answer but 2xx is void.
"""

Report = dict[str, Any]


@dataclass
class Subject:
    """A filled database, and what was measured of a service on it."""

    engine: str
    variant: str
    size: int
    folder: Path
    url: str
    callers: list[rows.Caller]
    rounds: list[Report] = field(default_factory=list)
    facts: Report = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return environ(self.url, rows.SECRET_KEY)

    def note(self, name: str, lines: list[str]) -> Path:
        """A file of lines for wrk to send."""
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def median(self, *path: str) -> float:
        return statistics.median(self.values(*path))

    def values(self, *path: str) -> list[float]:
        found = []
        for measured in self.rounds:
            value: Any = measured
            for name in path:
                value = value[name]
            found.append(float(value))
        return found


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


def measure_round(subject: Subject) -> None:
    """Start, idle, and then one load after the other."""
    say(f"{subject.engine}, {subject.variant}, {subject.size:,} rows")
    tokens = rows.make_tokens()
    some = subject.callers[:200]
    access = subject.note("access.txt", [rows.issue(tokens, ACCESS, caller) for caller in some])
    keys = subject.note("keys.txt", [caller.key for caller in subject.callers])
    with serve(subject.folder, subject.env) as service:
        report: Report = {
            "start_seconds": service.start_seconds,
            "idle_share": service.idle_share(),
            "rss_mb": service.memory_mb(),
            "peak_mb": service.memory_mb("VmHWM"),
            "secure_data": wrk.send(service, wrk.SECURE_DATA, access, SECONDS),
            "me": wrk.send(service, wrk.ME, access, SECONDS),
            "login": wrk.send(service, wrk.LOGIN, keys, SECONDS),
            "rss_after_mb": service.memory_mb(),
        }
    subject.rounds.append(report)


def measure_rounds(subjects: list[Subject], rounds: int = ROUNDS) -> None:
    """The subjects take turns, so that a slow minute of the machine is no one's alone."""
    for _ in range(rounds):
        for subject in subjects:
            try:
                measure_round(subject)
            except Void as reason:
                say(f"void: {reason}")
                subject.facts.setdefault("void", []).append(str(reason))


def measure_refreshes(subject: Subject) -> Report:
    """Memory and the copy before and after refresh traffic."""
    say(f"{REFRESHES:,} refreshes")
    tokens = rows.make_tokens()
    callers = cycle(subject.callers)

    def refresh(service: Service, number: int) -> Report:
        # A few more than are answered, since each connection has one under way.
        lines = [
            rows.issue(tokens, REFRESH, next(callers)) for _ in range(number + wrk.CONNECTIONS)
        ]
        path = subject.note("refresh.txt", lines)
        return wrk.send(service, wrk.REFRESH, path, 120, answers=number)

    with serve(subject.folder, subject.env) as service:
        refresh(service, WARM_UP)
        before = _memory_and_copy(subject, service)
        speed = refresh(service, REFRESHES)
        after = _memory_and_copy(subject, service)
    return {"before": before, "after": after, "speed": speed}


def _memory_and_copy(subject: Subject, service: Service) -> Report:
    spent = ask(subject, "SELECT count(*) FROM revoked_jtis WHERE commit_order IS NULL")
    return {
        "rss_mb": service.memory_mb(),
        "ids_in_copy": count_copied(subject),
        "spent_rows": spent,
    }


def measure_purges(subject: Subject) -> Report:
    """Latencies at a steady pace: undisturbed, while the command purges, while the server does."""
    report: Report = {}
    with serve(subject.folder, subject.env) as service:
        say("the pace without a purge")
        report["no purge"] = pace(subject, service, lambda: True, 10)
        expire(subject, "rowid % 2 = 0")
        say("the pace while `manage.py purge` runs")
        began = time.monotonic()
        purging = subprocess.Popen(  # noqa: S603
            [sys.executable, str(ROOT / "manage.py"), "purge"],
            cwd=subject.folder,
            env=subject.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        latencies = pace(subject, service, lambda: purging.poll() is not None, 0)
        seconds = time.monotonic() - began
        output, _ = purging.communicate()
        deleted = int(output.split()[1])
        report["`manage.py purge`"] = latencies | {"deleted": deleted, "seconds": seconds}
    deleted = expire(subject, "expires_at > 0")
    with serve(subject.folder, subject.env) as service:
        say("the pace while the server purges")
        began = time.monotonic()
        latencies = pace(subject, service, lambda: not is_purging(subject), 0)
        seconds = time.monotonic() - began
        report["the server's own"] = latencies | {"deleted": deleted, "seconds": seconds}
    return report


def expire(subject: Subject, which: str) -> int:
    """Make the time of these rows be over; returns how many there are."""
    with closing(sqlite3.connect(subject.folder / "auth.db", timeout=30)) as database:
        statement = f"UPDATE revoked_jtis SET expires_at = 1 WHERE {which}"  # noqa: S608
        number = database.execute(statement).rowcount
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return number


def is_purging(subject: Subject) -> bool:
    return bool(ask(subject, "SELECT EXISTS (SELECT 1 FROM revoked_jtis WHERE expires_at < 2)"))


def pace(subject: Subject, service: Service, until: Callable[[], bool], at_least: float) -> Report:
    """Latencies of three kinds of request. A refresh writes, so it shows a wait for a lock."""
    tokens = rows.make_tokens()
    callers = cycle(subject.callers)
    access = cycle([rows.issue(tokens, ACCESS, caller) for caller in subject.callers[:200]])
    kinds = {
        "/secure-data": lambda: load.get("/secure-data", next(access)),
        "/login": lambda: load.post("/login", "client_key", next(callers).key),
        "/refresh-token": lambda: load.post(
            "/refresh-token", "refresh_token", rows.issue(tokens, REFRESH, next(callers))
        ),
    }
    try:
        found = load.Pace(service.port, kinds, PACE).run(until, at_least)
    except Void as reason:
        return {"void": str(reason)}
    return {kind: load.summarize(latencies) for kind, latencies in found.items()}


def show_load(subject: Subject, call: str) -> str:
    """Requests per second, how far apart the rounds were, and the p99 of the answers."""
    rates = subject.values(call, "rate")
    return (
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f});"
        f" {subject.median(call, 'p99_ms'):.0f}"
    )


def print_sizes(subjects: list[Subject]) -> None:
    print(
        "| | rows and clients | start-up, s | idle, % of a core | resident, MB | peak, MB |"
        " database, MB | /secure-data, requests/s; p99, ms | /me | /login |"
    )
    print(f"|---|{'---:|' * 9}")
    for subject in subjects:
        if not subject.rounds:
            print(f"| {subject.engine}, {subject.variant} | {subject.size:,} | void |")
            continue
        void = f", {len(subject.facts['void'])} rounds void" if "void" in subject.facts else ""
        cells = [
            f"{subject.engine}, {subject.variant}{void}",
            f"{subject.size:,}",
            f"{subject.median('start_seconds'):.2f}",
            f"{subject.median('idle_share'):.0%}",
            f"{subject.median('rss_mb'):.0f}",
            f"{subject.median('peak_mb'):.0f}",
            f"{subject.facts['file_mb']:,.1f}",
            *(show_load(subject, call) for call in ("secure_data", "me", "login")),
        ]
        print(f"| {' | '.join(cells)} |")
    print(NOTE)


def print_refreshes(report: Report) -> None:
    if "void" in report:
        print(f"The refreshes are void: {report['void']}\n")
        return
    print("| refreshes | resident, MB | ids in the copy | spent refresh tokens |")
    print("|---|---:|---:|---:|")
    for when in ("before", "after"):
        got = report[when]
        cells = f"{got['rss_mb']:.1f} | {got['ids_in_copy']:,} | {got['spent_rows']:,}"
        print(f"| {when} {REFRESHES:,} | {cells} |")
    print()


def print_purges(report: Report) -> None:
    kinds = ("/secure-data", "/login", "/refresh-token")
    print(f"| purge | rows, in s | {' | '.join(f'{kind}, p50 / p99 / max ms' for kind in kinds)} |")
    print("|---|---|---:|---:|---:|")
    for when, got in report.items():
        work = f"{got['deleted']:,} in {got['seconds']:.0f}" if "deleted" in got else ""
        if "void" in got:
            print(f"| {when} | {work} | void: {got['void']} |")
            continue
        cells = [
            f"{got[kind]['p50_ms']:.1f} / {got[kind]['p99_ms']:.1f} / {got[kind]['max_ms']:.0f}"
            for kind in kinds
        ]
        print(f"| {when} | {work} | {' | '.join(cells)} |")
    print(f"\n{PACE} requests a second at a steady pace; a latency counts from when one was due.")


def measure(folder: Path, with_postgres: bool) -> Report:
    subjects = [subject for size in SIZES for subject in fill_sqlite(folder, size)]
    measure_rounds(subjects)
    most = next(s for s in subjects if (s.variant, s.size) == ("week", max(SIZES)))
    try:
        refreshes = measure_refreshes(most)
    except Void as reason:
        refreshes = {"void": str(reason)}
    purges = measure_purges(most)
    with run_synced() if with_postgres else nullcontext() as postgres:
        if postgres:
            others = [s for size in SIZES for s in fill_postgres(postgres, folder, size)]
            measure_rounds(others)
            subjects += others
    print_sizes(subjects)
    print_refreshes(refreshes)
    print_purges(purges)
    measured = [
        {"engine": s.engine, "variant": s.variant, "size": s.size, **s.facts, "rounds": s.rounds}
        for s in subjects
    ]
    return {"sizes": measured, "refreshes": refreshes, "purges": purges}


def main() -> None:
    wrk.demand()
    with TemporaryDirectory(prefix="scale-") as folder:
        report = measure(Path(folder), with_postgres="--sqlite" not in sys.argv)
    machine = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(machine | report, indent=1) + "\n")


if __name__ == "__main__":
    main()
