"""What was read of the registry is used under the lease, and asked anew after any change."""

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

from app import create_app
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.revocation.revocations import Revocations
from authapi.rules.client_cache import CACHE_SECONDS, MAX_BYTES, ClientCache, size_of
from authapi.store import clients as registry
from authapi.store import revocations as endings
from settings import Settings
from tests import forge
from tests.checks import bearer
from tests.conftest import NOW, Clock, Registered
from tests.copies import copy_of
from tests.inline import Client

MAX_AGE = 5.0


class Asked:
    """A database that answers with how often it was asked; does `meanwhile` before it does."""

    def __init__(self) -> None:
        self.times = 0
        self.meanwhile: Callable[[], Any] | None = None
        self.finds = True

    async def fetch_one(self, query: Any, values: Any) -> Any:
        self.times += 1
        if self.meanwhile:
            await self.meanwhile()
        return {"times": self.times} if self.finds else None


async def changed(database: Database) -> None:
    await registry.enable_client(database, "client-1", NOW)


Test = Callable[[ClientCache, Asked, Clock, Revocations], Any]


def run(settings: Settings, test: Test) -> None:
    """With a copy that was just loaded, and that only the test polls."""

    async def on_database() -> None:
        async with Database(settings.database_url) as database:
            clock = Clock()
            revocations = copy_of(database, clock, clock, MAX_AGE)
            await revocations.read()
            asked = Asked()
            await test(ClientCache(cast(Database, asked), revocations), asked, clock, revocations)

    asyncio.run(on_database())


def test_an_answer_is_kept_while_the_copy_is_fresh(settings: Settings) -> None:
    async def test(
        client_cache: ClientCache, asked: Asked, clock: Clock, revocations: Revocations
    ) -> None:
        assert [await client_cache.find_client("a") for _ in range(3)] == [{"times": 1}] * 3
        assert [await client_cache.find_login("b") for _ in range(3)] == [{"times": 2}] * 3
        clock.advance(MAX_AGE)
        assert await client_cache.find_client("a") == {"times": 3}
        await revocations.read()
        assert await client_cache.find_client("a") == {"times": 3}

    run(settings, test)


def test_a_change_of_the_registry_ends_what_is_kept(settings: Settings) -> None:
    async def test(
        client_cache: ClientCache, asked: Asked, clock: Clock, revocations: Revocations
    ) -> None:
        for times in (1, 2, 3):
            for _ in range(2):
                assert await client_cache.find_client("a") == {"times": times}
            async with Database(settings.database_url) as elsewhere:
                await changed(elsewhere)
            assert await client_cache.find_client("a") == {"times": times}
            await revocations.read()

    run(settings, test)


def test_an_answer_from_before_a_change_is_not_kept(settings: Settings) -> None:
    async def test(
        client_cache: ClientCache, asked: Asked, clock: Clock, revocations: Revocations
    ) -> None:
        async def change() -> None:
            async with Database(settings.database_url) as elsewhere:
                await changed(elsewhere)
            await revocations.read()
            client_cache.get("b")  # by then, what was kept is cleared

        asked.meanwhile = change
        assert await client_cache.find_client("a") == {"times": 1}
        asked.meanwhile = None
        assert await client_cache.find_client("a") == {"times": 2}
        assert await client_cache.find_client("a") == {"times": 2}

    run(settings, test)


def test_no_answer_is_kept_for_longer_than_the_copy_keeps_an_era(settings: Settings) -> None:
    async def test(
        client_cache: ClientCache, asked: Asked, clock: Clock, revocations: Revocations
    ) -> None:
        await client_cache.find_client("a")
        clock.advance(CACHE_SECONDS)
        await revocations.read()
        assert await client_cache.find_client("a") == {"times": 2}

    run(settings, test)


def test_that_there_is_no_such_client_is_not_kept(settings: Settings) -> None:
    async def test(
        client_cache: ClientCache, asked: Asked, clock: Clock, revocations: Revocations
    ) -> None:
        asked.finds = False
        for times in (1, 2):
            assert await client_cache.find_client("a") is None
            assert asked.times == times

    run(settings, test)


def test_so_many_bytes_are_kept_and_no_more(settings: Settings) -> None:
    async def test(
        client_cache: ClientCache, asked: Asked, clock: Clock, revocations: Revocations
    ) -> None:
        few = 100 * size_of({"times": 1})
        client_cache = ClientCache(cast(Database, asked), revocations, max_bytes=few)
        for number in range(100):
            await client_cache.find_client(f"{number}")
        assert await client_cache.find_client("0") == {"times": 101}
        assert await client_cache.find_client("0") == {"times": 101}
        assert await client_cache.find_client("99") == {"times": 102}

    run(settings, test)


def logins(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """As they are found of so many client keys, by their digests."""
    for _ in range(number):
        key = new_client_key()
        ids = {"id": new_client_id(), "key_id": key.id, "scopes": "", "is_known": 1}
        yield key.digest, ids | dict.fromkeys(("disabled_at", "expires_at", "revoked_at", "era"))


def test_a_hundred_thousand_clients_are_kept() -> None:
    ((_, login),) = logins(1)
    assert size_of(login) * 100_000 < MAX_BYTES


def test_no_answer_takes_more_than_is_counted() -> None:
    tracemalloc.start()
    try:
        kept = {digest: (login, float(n)) for n, (digest, login) in enumerate(logins(5_000))}
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= sum(size_of(login) for login, _ in kept.values())


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
    with Client(app) as api:
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
