"""What ends sessions ends all that were begun, though the clock that began them was wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.engines.database import Database
from authapi.revocation.issuing import AHEAD_SECONDS, Issuing
from settings import Settings
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import DATABASE_ID, NOW, Clock, Registered, make_database
from tests.copies import end
from tests.inline import Client
from tests.postgres import Postgres
from tests.steps import assert_not_refreshed, log_out

Login = Callable[[], dict[str, str]]
Restart = Callable[[], TestClient]
HOUR = 3600


def assert_dead(api: TestClient, pair: dict[str, str]) -> None:
    response = api.get("/secure-data", headers=bearer(pair["access_token"]))
    assert_refused(response, 401, "invalid_token")
    assert_not_refreshed(api, pair["refresh_token"])


def test_a_session_begun_while_the_clock_was_ahead_is_ended_with_the_others(
    api: TestClient, login: Login, clock: Clock, restart: Restart
) -> None:
    """Nothing but the database can know of it: a login leaves no row, and the server is another."""
    clock.advance(HOUR)
    ahead = login()
    clock.advance(-HOUR)
    log_out(api, login()["access_token"], everywhere=True)
    for seconds in (0, HOUR, 300):
        clock.advance(seconds)
        assert_dead(restart(), ahead)


def test_what_was_begun_before_the_clock_was_set_back_is_ended_with_the_others(
    api: TestClient, login: Login, clock: Clock, restart: Restart
) -> None:
    older = login()
    clock.advance(1200)
    newer = login()
    clock.advance(-1195)
    log_out(restart(), older["access_token"], everywhere=True)
    clock.advance(1195)
    assert_dead(restart(), newer)
    clock.advance(800)
    assert_dead(restart(), newer)


def test_a_token_that_lives_longer_than_tokens_do_now_is_ended_for_its_life(
    settings: Settings, registered: Registered, clock: Clock
) -> None:
    """Of a server that had other settings."""
    with Client(create_app(settings, clock)) as api:
        pair = assert_answer(api.post("/login", json={"client_key": registered.key}), 200)
    with Client(create_app(replace(settings, access_token_seconds=60), clock)) as shorter:
        log_out(shorter, pair["access_token"])
    clock.advance(600)
    with Client(create_app(settings, clock)) as again:
        assert_dead(again, pair)


def test_the_database_is_told_once_for_a_minute(settings: Settings) -> None:
    async def act() -> None:
        async with Database(settings.database_url) as database:

            async def issued_until() -> int:
                return int(await database.fetch_val("SELECT issued_until FROM identity"))

            issuing, now = Issuing(database), int(NOW)
            for iat in (now, now + 1, now + AHEAD_SECONDS, now - HOUR):
                await issuing.allow(DATABASE_ID, iat)
                assert await issued_until() == now + AHEAD_SECONDS
            await issuing.allow(DATABASE_ID, now + AHEAD_SECONDS + 1)
            assert await issued_until() == now + 2 * AHEAD_SECONDS + 1
            await Issuing(database).allow(DATABASE_ID, now)  # of another worker, later
            assert await issued_until() == now + 2 * AHEAD_SECONDS + 1
            await issuing.allow("another", now + HOUR)  # which this is not any more
            assert await issued_until() == now + 2 * AHEAD_SECONDS + 1

    asyncio.run(act())


@pytest.mark.parametrize("ahead", [0, HOUR])
def test_it_is_renewed_ahead_of_time(settings: Settings, ahead: int) -> None:
    async def act() -> None:
        async with Database(settings.database_url) as database:
            await Issuing(database).renew(DATABASE_ID, NOW + ahead)
            until = await database.fetch_val("SELECT issued_until FROM identity")
            assert until >= NOW + ahead + AHEAD_SECONDS

    asyncio.run(act())


def test_nothing_later_is_issued_while_an_end_is_not_committed(postgres: Postgres) -> None:
    """Who issues it would not see the end, whose row would not know of it."""
    url = postgres.new_database()

    async def act() -> None:
        await make_database(url)
        async with Database(url) as database, Database(url) as other:
            issuing = Issuing(database)
            async with other.transaction():
                await end(other, "session")
                allowed = asyncio.create_task(issuing.allow(DATABASE_ID, int(NOW) + HOUR))
                done, _ = await asyncio.wait({allowed}, timeout=0.3)
                assert not done
            await allowed
            written = await end(database, "another")
            assert written.access_expires_at == int(NOW) + HOUR + AHEAD_SECONDS + 900

    asyncio.run(act())
