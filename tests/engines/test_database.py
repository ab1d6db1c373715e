"""The SQLite backend keeps its connections, commits together, and never makes a file."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from authapi import deadline
from authapi.deadline import ANSWER_SECONDS
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable
from settings import Settings
from tables import clients

RENAME_BY_MODE = """
UPDATE clients SET name = (SELECT synchronous FROM pragma_synchronous) RETURNING name"""
INSERT = insert(clients).returning(clients.c.id)
NAMES = select(clients.c.name).order_by(clients.c.name)
NAMED = select(clients.c.name).where(clients.c.id == bindparam("id"))


def client(name: str) -> dict[str, object]:
    values = {"id": name, "name": name, "scopes": "", "created_at": 1, "metadata": "{}"}
    return dict.fromkeys(clients.c.keys()) | values  # with whatever column is added later


def run(settings: Settings, action: Callable[[Database], Awaitable[None]]) -> None:
    async def with_database() -> None:
        async with Database(settings.database_url) as database:
            await action(database)

    asyncio.run(with_database())


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch_all(NAMES)]


def test_it_is_the_plain_databases_api(settings: Settings) -> None:
    async def action(database: Database) -> None:
        assert await database.fetch_val(INSERT, client("b")) == "b"
        await database.execute(INSERT.values(client("a")))
        await database.execute_many(INSERT, [client("c"), client("d")])
        assert await names(database) == ["a", "b", "c", "d"]
        row = await database.fetch_one(NAMED, {"id": "b"})
        assert row is not None
        assert dict(row) == {"name": "b"}
        assert await database.fetch_one(NAMED, {"id": "x"}) is None
        assert await database.fetch_val(NAMED, {"id": "x"}) is None
        assert await database.fetch_val("SELECT count(*) FROM clients") == 4
        assert [row["name"] async for row in database.iterate(NAMES)] == ["a", "b", "c", "d"]
        async with database.connection() as connection:
            first = await connection.fetch_one(NAMES)
            assert first is not None
            assert first["name"] == "a"

    run(settings, action)


def test_the_file_is_safe_against_a_power_loss(settings: Settings) -> None:
    async def action(database: Database) -> None:
        async with database.transaction():  # on the writer, whose settings count
            assert await database.fetch_val("PRAGMA journal_mode") == "wal"
            assert await database.fetch_val("PRAGMA synchronous") == 2
            assert await database.fetch_val("PRAGMA foreign_keys") == 1

    run(settings, action)


def test_only_what_a_power_loss_may_undo_does_not_wait_for_the_disk(settings: Settings) -> None:
    async def action(database: Database) -> None:
        async def mode() -> int:
            found: int = await database.fetch_val("PRAGMA synchronous")
            pages = await database.fetch_val("PRAGMA wal_autocheckpoint")
            assert pages == (1000 if found == 2 else 500)  # a purge is to be the first
            return found

        async def fail() -> None:
            raise LookupError(await mode())

        assert await database.atomically(mode, is_durable=False) == 1
        assert await database.atomically(mode) == 2
        with pytest.raises(LookupError, match="1"):
            await database.atomically(fail, is_durable=False)
        assert await database.fetch_one(INSERT, client("a")) is not None
        assert await database.fetch_val(RENAME_BY_MODE) == "2"

    run(settings, action)


def test_a_transaction_is_whole_or_nothing(settings: Settings) -> None:
    async def action(database: Database) -> None:
        with pytest.raises(TemporarilyUnavailable):
            async with database.transaction():
                await database.fetch_one(INSERT, client("a"))
                await database.fetch_one(INSERT, client("a"))
        assert await names(database) == []
        async with database.transaction():
            await database.fetch_one(INSERT, client("a"))
        assert await names(database) == ["a"]

    run(settings, action)


def test_a_transaction_in_a_transaction_is_refused(settings: Settings) -> None:
    """There is one connection that writes, so it would wait for itself."""

    async def action(database: Database) -> None:
        async with database.transaction():
            await database.fetch_one(INSERT, client("a"))
            with pytest.raises(RuntimeError):
                async with database.transaction():
                    pass
        assert await names(database) == ["a"]
        await database.fetch_one(INSERT, client("b"))

    run(settings, action)


def test_nothing_is_written_to_a_file_that_was_replaced_while_it_waited(
    settings: Settings, database_file: Path
) -> None:
    async def action(database: Database) -> None:
        with closing(sqlite3.connect(database_file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.create_task(database.fetch_one(INSERT, client("a")))
            await asyncio.wait([write], timeout=0.2)
            database_file.rename(database_file.with_suffix(".aside"))
            other.execute("ROLLBACK")
            with pytest.raises(TemporarilyUnavailable):
                await write
            with pytest.raises(OSError, match=database_file.name):
                async with database.transaction():
                    pass
            database_file.with_suffix(".aside").rename(database_file)
        assert await names(database) == []

    run(settings, action)


def test_another_task_waits_for_a_transaction(settings: Settings) -> None:
    async def action(database: Database) -> None:
        async with database.transaction():
            await database.fetch_one(INSERT, client("a"))
            other = asyncio.create_task(database.fetch_one(INSERT, client("b")))
            await asyncio.wait([other], timeout=0.1)
            assert not other.done()
        await other
        assert await names(database) == ["a", "b"]

    run(settings, action)


def test_a_query_that_fails_does_not_fail_those_committed_with_it(settings: Settings) -> None:
    async def action(database: Database) -> None:
        wanted = ["a", "b", "a", "c"]
        outcomes = await asyncio.gather(
            *(database.fetch_val(INSERT, client(name)) for name in wanted), return_exceptions=True
        )
        assert sum(isinstance(outcome, TemporarilyUnavailable) for outcome in outcomes) == 1
        assert await names(database) == ["a", "b", "c"]

    run(settings, action)


def test_waiting_writes_share_a_commit(settings: Settings, database_file: Path) -> None:
    """Each commit of its own would append frames of its own to the write-ahead log."""

    async def action(database: Database) -> None:
        log = database_file.with_name(f"{database_file.name}-wal")
        before = log.stat().st_size
        await asyncio.gather(*(database.fetch_one(INSERT, client(f"{n}")) for n in range(100)))
        assert log.stat().st_size - before < 30 * 4120

    run(settings, action)


def test_a_cancelled_write_leaves_nothing_half_done(settings: Settings) -> None:
    async def action(database: Database) -> None:
        tasks = [asyncio.create_task(database.fetch_one(INSERT, client(f"{n}"))) for n in range(9)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.fetch_one(INSERT, client("after"))
        assert "after" in await names(database)

    run(settings, action)


def test_cancelled_and_failing_queries_leak_no_connection(settings: Settings) -> None:
    async def action(database: Database) -> None:
        await names(database)
        threads = set(threading.enumerate())
        for _ in range(20):
            tasks = [asyncio.create_task(names(database)) for _ in range(10)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with pytest.raises(TemporarilyUnavailable):
                await database.fetch_all("SELECT nothing FROM nowhere")
        assert await names(database) == []
        assert set(threading.enumerate()) <= threads

    run(settings, action)


def assert_none_since(threads: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)  # it may be about to end
    assert set(threading.enumerate()) <= threads


def test_closing_ends_every_thread(settings: Settings) -> None:
    # Not their number: one that prepared the database may be about to end.
    threads = set(threading.enumerate())
    kept = []

    async def action(database: Database) -> None:
        kept.append(database)  # or the threads would end with it
        assert set(threading.enumerate()) - threads
        await database.fetch_one(INSERT, client("a"))

    run(settings, action)
    assert_none_since(threads)


@pytest.mark.parametrize("value", [2**70, "\ud800", object()], ids=["huge", "surrogate", "object"])
def test_a_value_that_cannot_be_bound_fails_alone(settings: Settings, value: object) -> None:
    async def action(database: Database) -> None:
        bad = client("b") | {"created_at": value}
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(
                database.fetch_val(INSERT, client("a")),
                database.fetch_val(INSERT, bad),
                database.fetch_val(INSERT, client("c")),
                return_exceptions=True,
            )
            assert isinstance(outcomes[1], Exception)
            assert await names(database) == ["a", "c"]
            await database.fetch_one(INSERT, client("d"))

    run(settings, action)


def test_a_write_after_the_end_does_not_wait_for_ever(settings: Settings) -> None:
    async def run() -> None:
        database = Database(settings.database_url)
        async with database:
            pass
        async with asyncio.timeout(10):
            with pytest.raises(TemporarilyUnavailable):
                await database.fetch_one(INSERT, client("a"))

    asyncio.run(run())


def test_it_can_be_connected_again(settings: Settings) -> None:
    async def action(database: Database) -> None:
        await database.disconnect()
        await database.connect()
        await asyncio.gather(*(names(database) for _ in range(9)))

    run(settings, action)


def test_a_failing_commit_does_not_block_the_next(settings: Settings, database_file: Path) -> None:
    async def action(database: Database) -> None:
        await database.execute(
            "CREATE TABLE child (id TEXT REFERENCES clients DEFERRABLE INITIALLY DEFERRED)"
        )
        with pytest.raises(TemporarilyUnavailable):
            await database.fetch_all("INSERT INTO child VALUES ('nobody')")
        with pytest.raises(sqlite3.IntegrityError):
            async with database.transaction():
                await database.fetch_all("INSERT INTO child VALUES ('nobody')")
        await database.fetch_one(INSERT, client("a"))
        assert await names(database) == ["a"]

    run(settings, action)


def test_a_write_lock_that_another_process_holds_is_a_fault_in_the_end(
    settings: Settings, database_file: Path
) -> None:
    async def run() -> None:
        async with Database(settings.database_url, busy_seconds=0.01) as database:
            other = sqlite3.connect(database_file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TemporarilyUnavailable):
                await database.fetch_one(INSERT, client("a"))
            with pytest.raises(sqlite3.OperationalError):
                await database.transaction().start()
            assert await names(database) == []
            other.close()
            await database.fetch_one(INSERT, client("a"))
            assert await names(database) == ["a"]

    asyncio.run(run())


def test_a_fault_that_ends_the_transaction_fails_all_that_shared_it(settings: Settings) -> None:
    """As a full disk does; nobody is told that a row is kept which is not."""

    async def action(database: Database) -> None:
        await database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON clients WHEN new.id = 'straw' "
            "BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        )
        outcomes = await asyncio.gather(
            *(database.fetch_val(INSERT, client(name)) for name in ("a", "straw", "b")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [TemporarilyUnavailable] * 3
        assert await names(database) == []
        await database.fetch_one(INSERT, client("a"))

    run(settings, action)


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    with pytest.raises(FileNotFoundError):
        asyncio.run(Database(f"sqlite:///{missing}").connect())
    assert not missing.exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    file = tmp_path / "text.db"
    file.write_text("This is not a database. " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        asyncio.run(Database(f"sqlite:///{file}").connect())
    assert_none_since(threads)


def test_an_odd_file_name_is_taken_as_it_is(tmp_path: Path) -> None:
    asyncio.run(schema.prepare(Database(f"sqlite:///{tmp_path}/a b%25é.db"), create=True))
    assert [file.name for file in tmp_path.glob("*.db")] == ["a b%é.db"]


def test_a_request_waits_for_its_transaction_no_longer_than_for_a_statement(
    settings: Settings, database_file: Path
) -> None:
    async def action(database: Database) -> None:
        async def add() -> None:
            await database.fetch_one(INSERT, client("a"))

        loop = asyncio.get_running_loop()
        with closing(sqlite3.connect(database_file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            deadline.begin()
            began = loop.time()
            with pytest.raises(TemporarilyUnavailable):
                await database.atomically(add)
            assert loop.time() - began < ANSWER_SECONDS + 0.5
            other.execute("ROLLBACK")
        deadline.begin()
        await database.atomically(lambda: database.fetch_one(INSERT, client("b")))
        assert await names(database) == ["b"]

    run(settings, action)
