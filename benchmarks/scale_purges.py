"""Does refreshing grow the memory, and does a purge of half of the rows make anybody wait?"""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import cycle

import scale_load as load
import scale_rows as rows
import wrk
from progress import say
from scale_subjects import Report, Subject, ask, count_copied
from service import PYTHON, Service, Void, serve

from authapi.credentials.tokens import ACCESS, REFRESH
from tests.serving import ROOT, end

WARM_UP, REFRESHES = 2_000, 20_000
PACE = 150
"""Requests per second while a purge runs."""
PURGE_TURNS, PACE_SECONDS = 7, 8
KINDS = ("/secure-data", "/login", "/refresh-token")
NO_PURGE, PURGE = "no purge", "`manage.py purge`"

Latencies = dict[str, list[float]]
"""In ms, by kind of request."""


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
    """Latencies at a steady pace, undisturbed and while the command purges: in turns, since the
    disk has slow minutes. The server purges in the same way, but not before it has watched its
    clock for ten minutes."""
    turns: dict[str, list[Latencies]] = {NO_PURGE: [], PURGE: []}
    to_go = expire(subject, "rowid % 2 = 0")
    seconds = 0.0
    with serve(subject.folder, subject.env) as service:
        try:
            for number in range(PURGE_TURNS):
                say(f"the pace without and with a purge, {number + 1} of {PURGE_TURNS}")
                turns[NO_PURGE].append(pace(subject, service))
                with purging(subject) as began:
                    turns[PURGE].append(pace(subject, service))
                    seconds += time.monotonic() - began
        except Void as reason:
            return {PURGE: {"void": str(reason)}}
    deleted = to_go - ask(subject, "SELECT count(*) FROM revoked_jtis WHERE expires_at = 1")
    report: Report = {
        when: {kind: [load.summarize(turn[kind]) for turn in found] for kind in KINDS}
        for when, found in turns.items()
    }
    report[PURGE] |= {"deleted": deleted, "of": to_go, "seconds": seconds}
    return report


@contextmanager
def purging(subject: Subject) -> Iterator[float]:
    """The command, which is ended before it is done. Yields when it began to delete."""
    command = [PYTHON, str(ROOT / "manage.py"), "purge"]
    before = ask(subject, "SELECT count(*) FROM revoked_jtis")
    process = subprocess.Popen(command, cwd=subject.folder, env=subject.env)  # noqa: S603
    try:
        while ask(subject, "SELECT count(*) FROM revoked_jtis") == before:
            if process.poll() is not None:
                raise Void("a purge that deletes nothing")
            time.sleep(0.05)
        yield time.monotonic()
    finally:
        end(process, seconds=30)


def expire(subject: Subject, which: str) -> int:
    """Make the time of these rows be over; returns how many there are."""
    with closing(sqlite3.connect(subject.folder / "auth.db", timeout=30)) as database:
        statement = f"UPDATE revoked_jtis SET expires_at = 1 WHERE {which}"  # noqa: S608
        number = database.execute(statement).rowcount
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return number


def pace(subject: Subject, service: Service) -> Latencies:
    """Of three kinds of request. A refresh writes, so it shows a wait for a lock. Raises `Void`."""
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
    return load.Pace(service.port, kinds, PACE).run(PACE_SECONDS)
