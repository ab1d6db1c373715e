"""What `manage.py doctor` looks at in the database, which it does not change."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from authapi.commands.doctor import Check, judge
from authapi.engines import schema
from authapi.engines.database import FAULTS, Database, explain, is_of_standby
from authapi.errors import TemporarilyUnavailable
from authapi.rules.revocations import MARGIN_SECONDS
from authapi.server.development import DEMO_NAME
from authapi.store import survey
from settings import Settings
from tables import SCHEMA_REVISION

DAY_SECONDS = 86_400
OLD_DAYS = 365
OPEN_SECONDS = 60
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
        remedy = f"See that it runs, and that DATABASE_URL names it. {schema.NO_DATABASE}"
        if is_of_standby(fault):
            remedy = "Give the URL of the primary."
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
    newest = await survey.newest_row(patient.database)
    if newest is not None and newest > before + MARGIN_SECONDS:
        detail = f"What was ended last is {newest - before:.0f} s in the future."
        return Check("clock", "fault", detail, "Set the clock of this machine, or wait.")
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


async def identity(patient: Patient) -> Check:
    """A restore by other means than `back-up` needs a new one."""
    row = await survey.find_identity(patient.database)
    if row is None:
        remedy = "Run `manage.py end-all-sessions`, or restore a back-up."
        return Check("identity", "fault", "The database has no identity.", remedy)
    days = (patient.clock() - row["created_at"]) // DAY_SECONDS
    return Check("identity", "ok", f"It has been {row['database_id']} for {days:.0f} days.")


async def purged(patient: Patient) -> Check:
    """Until then tokens are refused, since a row that ended them may be gone."""
    row = await survey.find_identity(patient.database)
    until = max(row["access_purged_until"], row["refresh_purged_until"]) if row else 0
    seconds = until - patient.clock()
    return judge(
        "purged",
        seconds < MARGIN_SECONDS,
        f"A purge went by a clock that was {seconds:.0f} s ahead."
        if seconds >= MARGIN_SECONDS
        else "No purge went by a clock that was ahead.",
        "Tokens that end by then are refused: `manage.py end-all-sessions` makes that good.",
    )


async def transactions(patient: Patient) -> Check:
    if patient.database.is_sqlite:
        return Check("transactions", "ok", "SQLite has one writer at a time.")
    seconds = await survey.oldest_writer(patient.database)
    return judge(
        "transactions",
        seconds <= OPEN_SECONDS,
        f"The oldest that writes, in any database of this server, is {seconds:.0f} s old.",
        "See pg_stat_activity and pg_prepared_xacts: commit it, or pg_terminate_backend.",
    )


async def numbers(patient: Patient) -> Check:
    future = 0 if patient.database.is_sqlite else await survey.count_future(patient.database)
    return judge(
        "numbers",
        future == 0,
        f"{future} rows have transaction numbers of the future.",
        "They are of another PostgreSQL: `manage.py end-all-sessions`, if that was not run since.",
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
    identity,
    purged,
    clocks,
    transactions,
    numbers,
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
