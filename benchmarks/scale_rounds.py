"""One round of a subject: it starts, is idle, and bears one load after the other."""

import scale_rows as rows
import wrk
from progress import say
from scale_burdens import BURDENS, MODULE
from scale_subjects import Report, Subject
from service import CORES, SERVER_CORE, Service, Void, serve

from authapi.credentials.tokens import ACCESS

SECONDS = 1
"""How long each load with wrk takes."""
WARM_SECONDS = 120


def measure(subjects: list[Subject], rounds: int) -> None:
    """The subjects take turns, so that a slow minute of the machine is no one's alone."""
    for _ in range(rounds):
        for subject in subjects:
            what = f"{subject.workers} workers, {subject.beside}"
            say(f"{subject.engine}, {subject.variant}, {subject.size:,} rows, {what}")
            try:
                subject.rounds.append(_measure(subject))
            except Void as reason:
                say(f"void: {reason}")
                subject.rounds.append(None)


def _measure(subject: Subject) -> Report:
    burden = BURDENS[subject.beside]
    tokens = rows.make_tokens()
    some = subject.callers[:200]
    access = subject.note("access.txt", [rows.issue(tokens, ACCESS, caller) for caller in some])
    (subject.folder / "reports.py").write_text(MODULE)
    cores = SERVER_CORE if subject.workers == 1 else ",".join(map(str, CORES))
    with serve(subject.folder, subject.env | dict(burden.settings), cores) as service:
        report: Report = {
            "start_seconds": service.start_seconds,
            "rss_mb": service.memory_mb(),
            "peak_mb": service.memory_mb("VmHWM"),
        }
        with burden.bear(service, subject):
            report["idle_share"] = service.idle_share()
            report["secure_data"] = wrk.send(service, burden.check, access, SECONDS)
            report["me"] = wrk.send(service, wrk.ME, access, SECONDS)
        with burden.bear(service, subject):
            report |= _log_in(service, subject)
        return report | {"rss_after_mb": service.memory_mb()}


def _log_in(service: Service, subject: Subject) -> Report:
    """Of each caller once, and then of some again: a client may be remembered by then."""
    keys = subject.note("keys.txt", [caller.key for caller in subject.callers])
    every = len(subject.callers)
    return {
        "first_login": wrk.send(service, wrk.LOGIN, keys, WARM_SECONDS, answers=every),
        "login": wrk.send(service, wrk.LOGIN, keys, SECONDS),
    }
