"""Who gets a connection to PostgreSQL when there are not enough of them."""

import asyncio

import pytest
import sqlalchemy as sa

from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable
from authapi.store.health import ping
from tests.conftest import Clock, make_database
from tests.copies import copy_of
from tests.postgres import Postgres

RUSH = 40
TICKS = 400


@pytest.fixture
def url(postgres: Postgres) -> str:
    url = postgres.new_database()
    asyncio.run(make_database(url))
    return url


def test_who_has_waited_for_the_longest_is_the_next(url: str) -> None:
    """Though others come in each turn of the event loop, and so in the very one in which a
    connection is given back."""
    answered: list[int] = []

    async def act() -> None:
        async with Database(url, pool_size=1) as database:

            async def ask(number: int) -> None:
                await ping(database)
                answered.append(number)

            async with asyncio.TaskGroup() as tasks:
                for number in range(RUSH):
                    tasks.create_task(ask(number))
                for number in range(RUSH, RUSH + TICKS):
                    await asyncio.sleep(0)
                    tasks.create_task(ask(number))

    asyncio.run(act())
    assert answered == sorted(answered)


def test_the_copy_stays_fresh_while_every_connection_is_waited_for(url: str, clock: Clock) -> None:
    """Else each request would ask the database too, and the rush would feed itself."""

    async def act() -> None:
        async with Database(url) as database:
            revocations = copy_of(database, clock, Clock())
            await revocations.read()
            over, held = asyncio.Event(), asyncio.Semaphore(0)

            async def hold() -> None:
                await database.fetch_val("SELECT 1")
                held.release()
                await over.wait()

            rush = [asyncio.create_task(database.atomically(hold)) for _ in range(RUSH)]
            try:
                for _ in range(8):
                    await held.acquire()
                async with asyncio.timeout(2):
                    await revocations.read()
            finally:
                over.set()
                await asyncio.gather(*rush)

    asyncio.run(act())


def test_questions_that_are_given_up_leave_no_turn_behind(url: str) -> None:
    async def act() -> None:
        async with Database(url, pool_size=3) as database:
            for _ in range(10):
                tasks = [asyncio.create_task(ping(database)) for _ in range(RUSH)]
                for number, task in enumerate(tasks):
                    if number % 2:
                        await asyncio.sleep(0)
                        task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(10):
                await asyncio.gather(*(ping(database) for _ in range(RUSH)))

    asyncio.run(act())


def test_a_dedicated_connection_that_is_lost_is_not_used_again(
    url: str, postgres: Postgres
) -> None:
    async def act() -> None:
        async with Database(url) as database:
            first = await database.dedicated_connection()
            assert await database.dedicated_connection() is first
            pid = sa.select(sa.func.pg_backend_pid().label("pid"))
            ((found,),) = await database.fetch_on(first, pid, {})
            await asyncio.to_thread(postgres.execute, f"SELECT pg_terminate_backend({found})")
            with pytest.raises(TemporarilyUnavailable):
                async with database.reached(5):
                    await database.fetch_on(first, pid, {})
            second = await database.dedicated_connection()
            assert second is not first
            ((other,),) = await database.fetch_on(second, pid, {})
            assert other != found

    asyncio.run(act())
