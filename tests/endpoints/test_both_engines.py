"""The rules of a session and the registry hold alike on SQLite and on PostgreSQL."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.testclient import TestClient

from authapi.credentials.claims import Claims
from authapi.credentials.client_keys import new_client_key
from authapi.engines import schema
from authapi.engines.database import Database
from authapi.engines.schema import SchemaError
from authapi.errors import TemporarilyUnavailable
from authapi.revocation import purging
from authapi.store import clients as registry
from authapi.store import revocations as endings
from authapi.store import sessions as store
from authapi.store.following import Follower
from authapi.store.health import ping
from authapi.store.revocations import Ending
from settings import Settings
from tables import metadata
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import (
    DATABASE_ID,
    ENGINES,
    NOW,
    Clock,
    Register,
    Registered,
    new_url,
    url_for_settings,
)
from tests.copies import end
from tests.postgres import Postgres
from tests.steps import assert_alive, assert_not_refreshed, assert_session_is_over, log_out, refresh

Login = Callable[[], dict[str, Any]]
WEEK = 604_800


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, database_file: Path) -> str:
    return url_for_settings(request, request.param, database_file)


@pytest.fixture(params=[0, 0.1], ids=["asks the database", "judges from its copy"])
def max_age(request: pytest.FixtureRequest) -> float:
    age: float = request.param
    return age


def run(settings: Settings, action: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def with_database() -> Any:
        async with Database(settings.database_url) as database:
            return await action(database)

    return asyncio.run(with_database())


def test_a_session_lives_and_is_ended(api: TestClient, login: Login, clock: Clock) -> None:
    first, other = login(), login()
    second = refresh(api, first["refresh_token"])
    assert refresh(api, first["refresh_token"])["refresh_token"] == second["refresh_token"]
    assert_answer(api.get("/me", headers=bearer(second["access_token"])), 200)
    log_out(api, first["access_token"])
    assert_session_is_over(api, first, second)
    log_out(api, first["access_token"])
    assert_alive(api, other)


def test_a_replayed_token_ends_the_session(api: TestClient, login: Login, clock: Clock) -> None:
    old = login()
    new = refresh(api, old["refresh_token"])
    clock.advance(11)
    assert_not_refreshed(api, old["refresh_token"])
    assert_session_is_over(api, old, new)


def test_everywhere_ends_every_session_and_spares_the_next(
    api: TestClient, login: Login, register: Register
) -> None:
    key = register("somebody-else").key
    theirs = assert_answer(api.post("/login", json={"client_key": key}), 200)
    for _ in range(2):
        mine = [login(), login()]
        log_out(api, mine[0]["access_token"], everywhere=True)
        assert_session_is_over(api, *mine)
        after = login()
        log_out(api, mine[0]["access_token"], everywhere=True)
        assert_alive(api, after)
    assert_alive(api, theirs)


def test_a_disabled_client_gets_nothing(
    settings: Settings, api: TestClient, login: Login, registered: Registered
) -> None:
    pair = login()
    run(settings, lambda database: registry.disable_client(database, registered.id, NOW))
    if settings.revocation_max_age_seconds == 0:
        assert_session_is_over(api, pair)
    give_up = time.monotonic() + 20
    while api.post("/login", json={"client_key": registered.key}).status_code == 200:
        assert time.monotonic() < give_up  # the next poll tells it
    response = api.post("/login", json={"client_key": registered.key})
    assert_refused(response, 401, "invalid_client")
    run(settings, lambda database: registry.enable_client(database, registered.id, NOW))
    assert_alive(api, login())


def test_an_end_is_remembered_for_the_longest_time_asked(settings: Settings) -> None:
    claims = Claims("client", "", "", "", "", 1e12, 0, 9, DATABASE_ID)

    async def action(database: Database) -> None:
        for expires_at in (50, 100, 20):
            ending = Ending("client", "everywhere", 1, expires_at - 1, expires_at - 1)
            assert await endings.end_all_sessions(database, claims, ending)
        assert await database.fetch_val("SELECT expires_at FROM revoked_jtis") == 100

    run(settings, action)


def test_a_name_is_given_once(settings: Settings) -> None:
    async def action(database: Database) -> None:
        outcomes = await asyncio.gather(
            *(
                registry.create_client(database, f"id-{n}", "billing", new_client_key(), 1)
                for n in range(5)
            )
        )
        assert sorted(outcomes) == [False] * 4 + [True]
        assert await registry.count_clients(database) == 1
        client = await registry.find_named(database, "billing")
        assert client is not None
        assert client["name"] == "billing"
        assert await registry.find_named(database, client["id"]) == client
        assert await registry.find_named(database, "x") is None
        keys = await database.fetch_all("SELECT client_id FROM client_keys")
        assert [key["client_id"] for key in keys] == [client["id"]]

    run(settings, action)


def test_of_all_who_spend_a_token_one_wins(settings: Settings, registered: Registered) -> None:
    claims = Claims(registered.id, "s", "j", registered.key_id, "", 0, 1, int(NOW) + 9, DATABASE_ID)

    async def action(database: Database) -> None:
        outcomes = await asyncio.gather(
            *(store.spend(database, claims, NOW + n) for n in range(50))
        )
        (winner,) = (n for n, outcome in enumerate(outcomes) if outcome)
        spent = await store.find_spent(database, claims, NOW)
        assert spent is not None
        assert spent["revoked_at"] == NOW + winner
        assert spent["session_goes_on"]
        assert not spent["successor_is_spent"]

    run(settings, action)


def test_purging_takes_what_is_over_in_batches(settings: Settings) -> None:
    async def action(database: Database) -> None:
        for number in range(10):
            await end(database, f"session-{number}", number)
        assert await purging.purge(database, 75.5, 10, batch=2, pause_seconds=0) == 6
        assert await database.fetch_val("SELECT count(*) FROM revoked_jtis") == 4

    run(settings, action)


def test_a_poll_misses_no_row_however_late_it_is_committed(settings: Settings) -> None:
    async def action(database: Database) -> None:
        follower = Follower(database)

        async def ids() -> list[str]:
            return [ended.jti for ended in (await follower.read(after=0)).ended]

        assert await ids() == []
        async with database.transaction():  # begins first, commits last
            await end(database, "session-0")
            if not database.is_sqlite:  # which has one writer
                others = [asyncio.create_task(end(database, f"session-{n}")) for n in range(1, 5)]
                await asyncio.gather(*others)
            seen = await asyncio.create_task(ids())
            assert "session-0" not in seen
            for _ in range(3):  # an open transaction makes nobody read anything twice
                assert await asyncio.create_task(ids()) == []
        for number in range(5, 10):
            await end(database, f"session-{number}")
            seen += await ids()
        assert await ids() == []
        assert {f"session-{number}" for number in (0, *range(5, 10))} <= set(seen)
        assert len(seen) == len(set(seen))

    run(settings, action)


def test_nothing_is_left_behind_by_cancelled_requests(settings: Settings) -> None:
    ending = Ending("", "logged_out", 1, 0, 0)

    async def action(database: Database) -> None:
        for _ in range(20):
            tasks: list[asyncio.Task[Any]] = [
                asyncio.create_task(ping(database)) for _ in range(30)
            ]
            tasks += [
                asyncio.create_task(
                    endings.end_session(database, ending._replace(ended_id=f"s-{n}"))
                )
                for n in range(30)
            ]
            await asyncio.sleep(0.002)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(10):
            await asyncio.gather(*(ping(database) for _ in range(30)))

    run(settings, action)


def test_a_cancelled_transaction_does_not_keep_others_out(settings: Settings) -> None:
    async def action(database: Database) -> None:
        for number in range(40):
            task = asyncio.create_task(
                registry.create_client(database, f"id-{number}", f"n-{number}", new_client_key(), 1)
            )
            await asyncio.sleep(number / 20_000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            await registry.create_client(database, "last", "last", new_client_key(), 1)
            orphans = (
                "SELECT count(*) FROM clients WHERE id NOT IN (SELECT client_id FROM client_keys)"
            )
            assert await database.fetch_val(orphans) == 0

    run(settings, action)


def test_a_fault_of_the_database_is_unavailable(settings: Settings) -> None:
    async def action(database: Database) -> None:
        with pytest.raises(TemporarilyUnavailable):
            await database.fetch_all("SELECT nothing FROM nowhere")

    run(settings, action)


def test_the_revisions_make_the_tables_that_the_code_names(settings: Settings) -> None:
    scheme, _, rest = settings.database_url.partition("://")
    driver = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}[scheme]

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async def compare() -> list[Any]:
        engine = create_async_engine(f"{scheme}+{driver}://{rest}")
        async with engine.connect() as connection:
            found = await connection.run_sync(differences)
        await engine.dispose()
        return found

    assert asyncio.run(compare()) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_two_nodes_may_upgrade_at_once(
    request: pytest.FixtureRequest, engine: str, database_file: Path
) -> None:
    url = new_url(request, engine, database_file)

    async def run() -> None:
        await asyncio.gather(*(schema.upgrade(Database(url)) for _ in range(5)))
        async with Database(url) as database:
            await schema.check(database)

    asyncio.run(run())


def test_a_postgresql_without_our_schema_is_refused_and_left_alone(postgres: Postgres) -> None:
    database = Database(postgres.new_database())
    with pytest.raises(SchemaError, match=r"manage\.py migrate"):
        asyncio.run(schema.prepare(database, create=True))
    with pytest.raises(SchemaError):
        asyncio.run(schema.prepare(database))


def test_a_connection_is_given_back_without_its_transaction(postgres: Postgres) -> None:
    url = postgres.new_database()

    async def run() -> None:
        database = Database(url, pool_size=1)
        async with database:
            async with database.connection() as connection:
                await connection.execute("BEGIN")
            async with database.connection() as connection:
                assert not connection.raw_connection.is_in_transaction()
        with pytest.raises(TemporarilyUnavailable):
            await database.fetch_val("SELECT 1")

    asyncio.run(run())


def test_closing_does_not_wait_for_ever_for_a_connection_in_use(postgres: Postgres) -> None:
    database = Database(postgres.new_database(), close_seconds=0.05)

    async def run() -> None:
        await database.connect()
        query = asyncio.create_task(database.fetch_val("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        await database.disconnect()
        with pytest.raises(TemporarilyUnavailable):
            await query

    asyncio.run(run())


def test_another_schema_is_refused(settings: Settings) -> None:
    async def break_it(database: Database) -> None:
        await database.execute("UPDATE alembic_version SET version_num = 'other'")
        with pytest.raises(SchemaError, match=r"manage\.py migrate"):
            await schema.check(database)

    run(settings, break_it)
