"""What was read of the registry is used under the lease, and asked anew after any change."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import registry
from database import Database
from errors import InvalidClient
from lookups import LOOKUP_SECONDS, MAX_LOOKUPS, Lookups
from revocations import Revocations
from settings import Settings
from tests.conftest import NOW, Clock

MAX_AGE = 5.0


class Asked:
    """Answers with how often it was asked; does `meanwhile` before it does."""

    def __init__(self) -> None:
        self.times = 0
        self.meanwhile: Callable[[], Any] | None = None

    async def __call__(self) -> Any:
        self.times += 1
        if self.meanwhile:
            await self.meanwhile()
        return {"times": self.times}


async def changed(database: Database) -> None:
    await registry.enable_client(database, "client-1", NOW)


def run(settings: Settings, test: Callable[[Lookups, Asked, Clock], Any]) -> None:
    """With a copy that was just loaded, and that only the test polls."""

    async def on_database() -> None:
        async with Database(settings.database_url) as database:
            clock = Clock()
            revocations = Revocations(database, 910, MAX_AGE, False, clock, clock)
            await revocations.load()
            await test(Lookups(revocations), Asked(), clock)

    asyncio.run(on_database())


def test_an_answer_is_kept_while_the_copy_is_fresh(settings: Settings) -> None:
    async def test(lookups: Lookups, ask: Asked, clock: Clock) -> None:
        assert [await lookups.find("a", ask) for _ in range(3)] == [{"times": 1}] * 3
        assert await lookups.find("b", ask) == {"times": 2}
        clock.advance(MAX_AGE)
        assert await lookups.find("a", ask) == {"times": 3}
        await lookups.revocations.poll()
        assert await lookups.find("a", ask) == {"times": 3}

    run(settings, test)


def test_a_change_of_the_registry_ends_what_is_kept(settings: Settings) -> None:
    async def test(lookups: Lookups, ask: Asked, clock: Clock) -> None:
        for times in (1, 2, 3):
            for _ in range(2):
                assert await lookups.find("a", ask) == {"times": times}
            async with Database(settings.database_url) as elsewhere:
                await changed(elsewhere)
            assert await lookups.find("a", ask) == {"times": times}
            await lookups.revocations.poll()

    run(settings, test)


def test_an_answer_from_before_a_change_is_not_kept(settings: Settings) -> None:
    async def test(lookups: Lookups, ask: Asked, clock: Clock) -> None:
        async def change() -> None:
            async with Database(settings.database_url) as elsewhere:
                await changed(elsewhere)
            await lookups.revocations.poll()
            await lookups.find("b", Asked())  # by then, what was kept is cleared

        ask.meanwhile = change
        assert await lookups.find("a", ask) == {"times": 1}
        ask.meanwhile = None
        assert await lookups.find("a", ask) == {"times": 2}
        assert await lookups.find("a", ask) == {"times": 2}

    run(settings, test)


def test_no_answer_is_kept_for_longer_than_the_copy_keeps_an_epoch(settings: Settings) -> None:
    async def test(lookups: Lookups, ask: Asked, clock: Clock) -> None:
        await lookups.find("a", ask)
        clock.advance(LOOKUP_SECONDS)
        await lookups.revocations.poll()
        assert await lookups.find("a", ask) == {"times": 2}

    run(settings, test)


def test_a_refusal_is_not_kept(settings: Settings) -> None:
    async def test(lookups: Lookups, ask: Asked, clock: Clock) -> None:
        async def refuse() -> None:
            raise InvalidClient

        ask.meanwhile = refuse
        for times in (1, 2):
            with pytest.raises(InvalidClient):
                await lookups.find("a", ask)
            assert ask.times == times

    run(settings, test)


def test_so_many_are_kept_and_no_more(settings: Settings) -> None:
    async def test(lookups: Lookups, ask: Asked, clock: Clock) -> None:
        for number in range(MAX_LOOKUPS):
            await lookups.find(f"{number}", ask)
        assert await lookups.find("0", ask) == {"times": MAX_LOOKUPS + 1}
        assert await lookups.find("0", ask) == {"times": MAX_LOOKUPS + 1}
        assert await lookups.find(f"{MAX_LOOKUPS - 1}", ask) == {"times": MAX_LOOKUPS + 2}

    run(settings, test)
