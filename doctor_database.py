"""What `manage.py doctor` looks at in the database, which it does not change."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

import schema
import survey
from database import FAULTS, Database, explain
from development import DEMO_NAME
from doctor import Check, judge
from errors import TemporarilyUnavailable
from revocations import MARGIN_SECONDS
from settings import Settings
from tables import SCHEMA_REVISION

DAY_SECONDS = 86_400
OLD_DAYS = 365
SHOWN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Patient:
    """A database that is connected, and what its servers are told."""

    database: Database
    settings: Settings
    clock: Callable[[], float]


async def look_at_database(
    database: Database, settings: Settings, clock: Callable[[], float] = time.time
) -> list[Check]:
    """`database` is not connected yet. If it cannot be asked, that is the last of the checks."""
    patient = Patient(database, settings, clock)
    seen: list[Check] = []
    try:
        async with database:
            for look in LOOKS:
                seen.append(await look(patient))  # what was seen before a fault
                if seen[0].status == "fault":
                    break  # without our tables, each of the other questions would fail
    except (TemporarilyUnavailable, *FAULTS) as fault:
        remedy = "See that it runs, and that DATABASE_URL names it; `manage.py migrate` makes one."
        return [*seen, Check("database", "fault", explain(fault), remedy)]
    return [Check("database", "ok", f"It answers ({database.url.dialect})."), *seen]


async def tables(patient: Patient) -> Check:
    try:
        await schema.check(patient.database)
    except schema.SchemaError:
        remedy = "Run `manage.py migrate`, or the version of this service that made it."
        return Check("schema", "fault", schema.OTHER_SCHEMA, remedy)
    return Check("schema", "ok", f"It is at revision {SCHEMA_REVISION}.")


async def clocks(patient: Patient) -> Check:
    before = patient.clock()
    theirs = await survey.read_clock(patient.database)
    if theirs is None:
        return Check("clock", "ok", "SQLite goes by the clock of this machine.")
    apart = max(before - theirs, theirs - patient.clock(), 0)
    return judge(
        "clock",
        apart <= patient.settings.leeway_seconds,
        f"The database's clock and ours are {apart:.1f} s apart.",
        "Let NTP set the clock of every machine.",
        "fault" if apart > MARGIN_SECONDS else "warning",
    )


async def writing(patient: Patient) -> Check:
    try:
        await survey.try_to_write(patient.database)
    except TemporarilyUnavailable as fault:
        remedy = "Let this user write there, and end whoever holds a lock on it."
        return Check("writing", "fault", explain(fault), remedy)
    return Check("writing", "ok", "The database can be written.")


async def clients(patient: Patient) -> Check:
    total, _ = await _find(patient, "enabled")
    return Check("clients", "ok", f"{total} enabled.")


async def demo(patient: Patient) -> Check:
    total, _ = await _find(patient, "demo")
    return judge(
        "demo",
        total == 0 or patient.settings.is_development,
        f"{total} enabled that development made.",
        "Run `manage.py disable-client demo`.",
    )


async def no_such_client(check: str, which: str, remedy: str, patient: Patient) -> Check:
    """A warning if there is a client of a kind that there should not be."""
    total, names = await _find(patient, which)
    return judge(check, total == 0, f"{total} clients {which}{names}.", remedy)


async def _find(patient: Patient, which: str) -> tuple[int, str]:
    """How many there are, and some names."""
    now = patient.clock()
    old = now - OLD_DAYS * DAY_SECONDS
    total, names = await survey.find_clients(patient.database, which, now, old, DEMO_NAME)
    more = ", and more" if total > len(names) else ""
    return total, f": {', '.join(names)}{more}" if names else ""


async def expired_rows(patient: Patient) -> Check:
    """The server purges each minute, and a row may be over for a minute before."""
    expired = await survey.count_expired(patient.database, patient.clock() - DAY_SECONDS)
    detail = f"{expired} rows are over for more than a day."
    return judge("expired_rows", expired == 0, detail, "Run `manage.py purge`, or the server.")


async def ended_sessions(patient: Patient) -> Check:
    """Those whose rows have not been purged yet."""
    now, counts = patient.clock(), []
    today = now - now % DAY_SECONDS
    for ago in range(SHOWN_DAYS):
        after = today - ago * DAY_SECONDS
        count = await survey.count_ended(patient.database, after, after + DAY_SECONDS)
        counts.append(f"{time.strftime('%Y-%m-%d', time.gmtime(after))}: {count}")
    return Check("ended_sessions", "ok", f"Ended on {', '.join(counts)}.")


LOOKS: tuple[Callable[[Patient], Coroutine[None, None, Check]], ...] = (
    tables,
    clocks,
    writing,
    clients,
    demo,
    partial(
        no_such_client,
        "old_keys",
        "with an old key",
        f"Run `manage.py rotate-key CLIENT`: these keys are older than {OLD_DAYS} days.",
    ),
    partial(
        no_such_client,
        "keyless_clients",
        "without a key",
        "Run `manage.py add-key CLIENT`, or `disable-client`.",
    ),
    partial(
        no_such_client,
        "disabled_clients",
        "disabled with a key",
        "To enable them lets these keys in again: `manage.py revoke-key` those that leaked.",
    ),
    expired_rows,
    ended_sessions,
)
