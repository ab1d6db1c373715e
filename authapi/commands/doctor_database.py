"""What `manage.py doctor` looks at in the database, which it does not change."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from authapi.commands.doctor import (
    Check,
    Checks,
    Seen,
    fault,
    judge,
    ok,
    remedy_for,
    remedy_for_writing,
)
from authapi.engines import schema
from authapi.engines.database import FAULTS, Database, explain
from authapi.errors import TemporarilyUnavailable
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.server.development import DEMO_NAME
from authapi.store import health
from settings import Settings
from tables import SCHEMA_REVISION

DAY_SECONDS = 86_400
OLD_DAYS = 365
OPEN_SECONDS = 60
SHOWN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Context:
    """A database that is connected, and the settings of its servers."""

    database: Database
    settings: Settings
    clock: Callable[[], float]


of_database = Checks()


async def check_database(
    database: Database, settings: Settings, clock: Callable[[], float] = time.time
) -> list[Check]:
    """`database` is not connected yet. If it cannot be asked, that is the last of the checks."""
    context = Context(database, settings, clock)
    checked: list[Check] = []
    try:
        async with database:
            for name, usual_remedy, look in of_database:
                checked.append((await look(context)).named(name, usual_remedy))
                if checked[0].status == "fault":
                    break  # without our tables, each of the other questions would fail
    except (TemporarilyUnavailable, *FAULTS) as cause:
        return [*checked, Check("database", "fault", explain(cause), remedy_for(database, cause))]
    return [Check("database", "ok", f"It answers ({database.url.dialect})."), *checked]


@of_database("schema", "Run `manage.py migrate`, or the version of this service that made it.")
async def check_schema(context: Context) -> Seen:
    try:
        await schema.check(context.database)
    except schema.SchemaError:
        return fault(schema.OTHER_SCHEMA)
    return ok(f"It is at revision {SCHEMA_REVISION}.")


@of_database("identity", "Run `manage.py end-all-sessions`, or restore a back-up.")
async def check_identity(context: Context) -> Seen:
    row = await health.find_identity(context.database)
    if row is None:
        return fault("The database has no identity.")
    days = (context.clock() - row["created_at"]) // DAY_SECONDS
    return ok(f"It has been {row['database_id']} for {days:.0f} days.")


@of_database(
    "purged",
    "Tokens that end by then are refused: `manage.py end-all-sessions` makes that good.",
)
async def check_purged(context: Context) -> Seen:
    row = await health.find_identity(context.database)
    until = max(row["access_purged_until"], row["refresh_purged_until"]) if row else 0
    seconds = until - context.clock()
    if seconds < MARGIN_SECONDS:
        return ok("No purge went by a clock that was ahead.")
    return Seen("warning", f"A purge went by a clock that was {seconds:.0f} s ahead.")


@of_database("clock", "Let NTP set the clock of every machine.")
async def check_clock(context: Context) -> Seen:
    before = context.clock()
    newest = await health.newest_row(context.database)
    if newest is not None and newest > before + MARGIN_SECONDS:
        detail = f"What was ended last is {newest - before:.0f} s in the future."
        return fault(detail, "Set the clock of this machine, or wait.")
    before = context.clock()
    theirs = await health.read_clock(context.database)
    if theirs is None:
        return ok("SQLite goes by the clock of this machine.")
    apart = max(before - theirs, theirs - context.clock(), 0)
    return judge(
        apart <= context.settings.leeway_seconds,
        f"The database's clock and ours are {apart:.1f} s apart.",
        "fault" if apart > MARGIN_SECONDS else "warning",
    )


@of_database(
    "transactions",
    "See pg_stat_activity and pg_prepared_xacts: commit it, or pg_terminate_backend.",
)
async def check_transactions(context: Context) -> Seen:
    seconds = 0.0 if context.database.is_sqlite else await health.oldest_writer(context.database)
    return judge(
        seconds <= OPEN_SECONDS,
        f"The oldest that writes, in any database of this server, is {seconds:.0f} s old.",
    )


@of_database(
    "numbers",
    "They are of another PostgreSQL: `manage.py end-all-sessions`, if that was not run since.",
)
async def check_numbers(context: Context) -> Seen:
    future = 0 if context.database.is_sqlite else await health.count_future(context.database)
    return judge(future == 0, f"{future} rows have transaction numbers of the future.")


@of_database("writing", "End whoever holds a lock on it.")
async def check_writing(context: Context) -> Seen:
    try:
        await health.try_to_write(context.database)
    except TemporarilyUnavailable as cause:
        return fault(explain(cause), remedy_for_writing(cause))
    return ok("Something was written, and nothing changed by it.")


@of_database("clients")
async def check_clients(context: Context) -> Seen:
    total, _ = await _find(context, health.ENABLED)
    return ok(f"{total} enabled.")


@of_database("demo", f"Run `manage.py disable-client {DEMO_NAME}`.")
async def check_demo(context: Context) -> Seen:
    total, _ = await _find(context, health.DEMO)
    good = total == 0 or context.settings.is_development
    return judge(good, f"{total} enabled that development made.")


@of_database(
    "old_keys", f"Run `manage.py rotate-key CLIENT`: these keys are older than {OLD_DAYS} days."
)
async def check_old_keys(context: Context) -> Seen:
    total, names = await _find(context, health.WITH_OLD_KEY)
    return judge(total == 0, f"{total} clients with an old key{names}.")


@of_database("keyless_clients", "Run `manage.py add-key CLIENT`, or `disable-client`.")
async def check_keyless_clients(context: Context) -> Seen:
    total, names = await _find(context, health.WITHOUT_KEY)
    return judge(total == 0, f"{total} clients without a key{names}.")


@of_database(
    "disabled_clients",
    "To enable them lets these keys in again: `manage.py revoke-key` those that leaked.",
)
async def check_disabled_clients(context: Context) -> Seen:
    total, names = await _find(context, health.DISABLED_WITH_KEY)
    return judge(total == 0, f"{total} clients disabled with a key{names}.")


async def _find(context: Context, kind: health.Kind) -> tuple[int, str]:
    """How many, and some names."""
    now, old = context.clock(), context.clock() - OLD_DAYS * DAY_SECONDS
    total, names = await health.find_clients(context.database, kind, now, old, DEMO_NAME)
    more = ", and more" if total > len(names) else ""
    return total, f": {', '.join(names)}{more}" if names else ""


@of_database("expired_rows", "Run `manage.py purge`, or the server.")
async def check_expired_rows(context: Context) -> Seen:
    expired = await health.count_expired(context.database, context.clock() - DAY_SECONDS)
    return judge(expired == 0, f"{expired} rows are over for more than a day.")


@of_database("ended_sessions")
async def check_ended_sessions(context: Context) -> Seen:
    now, counts = context.clock(), []
    today = now - now % DAY_SECONDS
    for ago in range(SHOWN_DAYS):
        after = today - ago * DAY_SECONDS
        count = await health.count_ended(context.database, after, after + DAY_SECONDS)
        counts.append(f"{time.strftime('%Y-%m-%d', time.gmtime(after))}: {count}")
    return ok(f"Ended on {', '.join(counts)}.")
