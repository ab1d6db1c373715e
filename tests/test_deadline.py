"""A request waits for the database so long and no longer, however often it asks."""

import asyncio

import pytest

from authapi import deadline
from authapi.deadline import ANSWER_SECONDS
from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable
from tests.postgres import Postgres


def test_the_time_of_a_request_runs_from_its_first_question() -> None:
    async def act() -> None:
        loop = asyncio.get_running_loop()
        deadline.begin()
        first = deadline.after(60)
        assert first == pytest.approx(loop.time() + ANSWER_SECONDS, abs=0.1)
        await asyncio.sleep(0.01)
        assert deadline.after(60) == first
        assert deadline.after(1) == pytest.approx(loop.time() + 1, abs=0.1)
        deadline.begin()  # of the next one on the same connection
        assert deadline.after(60) > first

    asyncio.run(act())


def test_what_runs_beside_the_requests_has_the_limit_of_each_question() -> None:
    async def act() -> None:
        now = asyncio.get_running_loop().time()
        assert deadline.after(60) == pytest.approx(now + 60, abs=0.1)
        assert deadline.after(60) > now + ANSWER_SECONDS

    asyncio.run(act())


def test_several_slow_answers_are_no_longer_than_one(postgres: Postgres) -> None:
    """Each of them would have been in time."""
    url = postgres.new_database()

    async def act() -> float:
        began = asyncio.get_running_loop().time()
        async with Database(url) as database:
            deadline.begin()
            with pytest.raises(TemporarilyUnavailable):
                for _ in range(4):
                    async with database.reached(ANSWER_SECONDS):
                        await database.fetch_val("SELECT pg_sleep(1)")
        return asyncio.get_running_loop().time() - began

    assert ANSWER_SECONDS - 0.1 < asyncio.run(act()) < 2 * ANSWER_SECONDS
