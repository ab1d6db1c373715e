"""What was read of the registry is used under the lease, and asked anew after any change."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.engines.database import Database
from authapi.errors import InvalidClient
from authapi.rules.client_cache import CACHE_SECONDS, MAX_CACHED, ClientCache
from authapi.store import clients as registry
from authapi.store import revocations as endings
from settings import Settings
from tests import forge
from tests.checks import bearer
from tests.conftest import NOW, Clock, Registered
from tests.copies import copy_of

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


def run(settings: Settings, test: Callable[[ClientCache, Asked, Clock], Any]) -> None:
    """With a copy that was just loaded, and that only the test polls."""

    async def on_database() -> None:
        async with Database(settings.database_url) as database:
            clock = Clock()
            revocations = copy_of(database, clock, clock, MAX_AGE)
            await revocations.read()
            await test(ClientCache(revocations), Asked(), clock)

    asyncio.run(on_database())


def test_an_answer_is_kept_while_the_copy_is_fresh(settings: Settings) -> None:
    async def test(client_cache: ClientCache, ask: Asked, clock: Clock) -> None:
        assert [await client_cache.find("a", ask) for _ in range(3)] == [{"times": 1}] * 3
        assert await client_cache.find("b", ask) == {"times": 2}
        clock.advance(MAX_AGE)
        assert await client_cache.find("a", ask) == {"times": 3}
        await client_cache.revocations.read()
        assert await client_cache.find("a", ask) == {"times": 3}

    run(settings, test)


def test_a_change_of_the_registry_ends_what_is_kept(settings: Settings) -> None:
    async def test(client_cache: ClientCache, ask: Asked, clock: Clock) -> None:
        for times in (1, 2, 3):
            for _ in range(2):
                assert await client_cache.find("a", ask) == {"times": times}
            async with Database(settings.database_url) as elsewhere:
                await changed(elsewhere)
            assert await client_cache.find("a", ask) == {"times": times}
            await client_cache.revocations.read()

    run(settings, test)


def test_an_answer_from_before_a_change_is_not_kept(settings: Settings) -> None:
    async def test(client_cache: ClientCache, ask: Asked, clock: Clock) -> None:
        async def change() -> None:
            async with Database(settings.database_url) as elsewhere:
                await changed(elsewhere)
            await client_cache.revocations.read()
            await client_cache.find("b", Asked())  # by then, what was kept is cleared

        ask.meanwhile = change
        assert await client_cache.find("a", ask) == {"times": 1}
        ask.meanwhile = None
        assert await client_cache.find("a", ask) == {"times": 2}
        assert await client_cache.find("a", ask) == {"times": 2}

    run(settings, test)


def test_no_answer_is_kept_for_longer_than_the_copy_keeps_an_era(settings: Settings) -> None:
    async def test(client_cache: ClientCache, ask: Asked, clock: Clock) -> None:
        await client_cache.find("a", ask)
        clock.advance(CACHE_SECONDS)
        await client_cache.revocations.read()
        assert await client_cache.find("a", ask) == {"times": 2}

    run(settings, test)


def test_a_refusal_is_not_kept(settings: Settings) -> None:
    async def test(client_cache: ClientCache, ask: Asked, clock: Clock) -> None:
        async def refuse() -> None:
            raise InvalidClient

        ask.meanwhile = refuse
        for times in (1, 2):
            with pytest.raises(InvalidClient):
                await client_cache.find("a", ask)
            assert ask.times == times

    run(settings, test)


def test_so_many_are_kept_and_no_more(settings: Settings) -> None:
    async def test(client_cache: ClientCache, ask: Asked, clock: Clock) -> None:
        for number in range(MAX_CACHED):
            await client_cache.find(f"{number}", ask)
        assert await client_cache.find("0", ask) == {"times": MAX_CACHED + 1}
        assert await client_cache.find("0", ask) == {"times": MAX_CACHED + 1}
        assert await client_cache.find(f"{MAX_CACHED - 1}", ask) == {"times": MAX_CACHED + 2}

    run(settings, test)


def test_a_login_has_the_era_of_what_it_grants(
    settings: Settings, clock: Clock, registered: Registered
) -> None:
    """A client that lost a scope ends all of its sessions on a worker that does not know it yet:
    what the worker has kept must not get the new era."""
    body = {"client_key": registered.key}

    async def set_scopes(scopes: str) -> Any:
        async with Database(settings.database_url) as elsewhere:
            await registry.set_scopes(elsewhere, registered.id, scopes, True, NOW)
            return await endings.find_era(elsewhere, registered.id)

    asyncio.run(set_scopes("read write"))
    app = create_app(replace(settings, revocation_poll_seconds=60), clock)
    with TestClient(app) as api:
        assert api.post("/login", json=body).json()["scope"] == "read write"
        era = asyncio.run(set_scopes("read"))["revoked_at"]
        token = forge.token(sub=registered.id, key_id=registered.key_id, era=era)
        answer = api.post("/logout", json={"everywhere": True}, headers=bearer(token))
        assert answer.status_code == 200
        assert api.post("/login", json=body).json()["scope"] == "read"


def test_a_scope_is_not_taken_away_unasked(settings: Settings, registered: Registered) -> None:
    async def change() -> None:
        async with Database(settings.database_url) as database:
            for scopes, may_end, was in (
                ("a b", False, ""),
                ("a", False, None),
                ("a", True, "a b"),
            ):
                given = (registered.id, scopes, may_end, NOW)
                assert await registry.set_scopes(database, *given) == was
                assert (await endings.find_era(database, registered.id) is not None) == may_end

    asyncio.run(change())
