"""Does refreshing grow the memory, and does a purge of half of the rows make anybody wait?"""

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from itertools import cycle

import scale_load as load
import scale_rows as rows
import wrk
from progress import say
from scale_subjects import Report, Subject, ask, count_copied
from service import PYTHON, Service, Void, serve

from authapi.credentials.tokens import ACCESS, REFRESH
from tests.serving import ROOT

WARM_UP, REFRESHES = 2_000, 20_000
PACE = 150
"""Requests per second while a purge runs."""
KINDS = ("/secure-data", "/login", "/refresh-token")


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
    """Latencies at a steady pace, undisturbed and while the command purges. The server purges in
    the same way, but not before it has watched its clock for ten minutes."""
    report: Report = {}
    with serve(subject.folder, subject.env) as service:
        say("the pace without a purge")
        report["no purge"] = pace(subject, service, lambda: True, 10)
        expire(subject, "rowid % 2 = 0")
        say("the pace while `manage.py purge` runs")
        began = time.monotonic()
        purging = subprocess.Popen(  # noqa: S603
            [PYTHON, str(ROOT / "manage.py"), "purge"],
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
    return report


def expire(subject: Subject, which: str) -> int:
    """Make the time of these rows be over; returns how many there are."""
    with closing(sqlite3.connect(subject.folder / "auth.db", timeout=30)) as database:
        statement = f"UPDATE revoked_jtis SET expires_at = 1 WHERE {which}"  # noqa: S608
        number = database.execute(statement).rowcount
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return number


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
