"""Of two administrators who race, each is told what became of it, and nothing is lost or gained."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from authapi.credentials.claims import Claims, new_id
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.credentials.scopes import is_within
from authapi.engines.database import Database
from authapi.errors import InvalidToken, Refusal
from authapi.managing import clients, keys, showing
from authapi.managing.changes import Changes
from authapi.managing.manager import Manager
from authapi.managing.refusals import LastAdministrator, NameTaken, PreconditionFailed
from authapi.managing.repeats import Repeatable
from authapi.store import administration
from authapi.store import clients as registry
from authapi.store.client_keys import list_keys
from settings import Settings
from tests.conftest import DATABASE_ID, Trail

ROUNDS = 12
ALL = "admin:read admin:write reports:read"
Race = Callable[[Manager, Manager], Awaitable[None]]


async def at_once() -> None:
    """What is committed is not waited for: the database alone decides here."""


async def manager_of(database: Database, name: str, scopes: str = ALL) -> Manager:
    """A client with these scopes, who has just logged in, at a worker of its own."""
    client_id, key, now = new_client_id(), new_client_key(), int(time.time())
    assert await registry.create_client(database, client_id, name, key, now, scopes)
    ids = (client_id, new_id(), new_id(), key.id)
    claims = Claims(*ids, scopes, 0, now, now + 900, DATABASE_ID)
    return Manager(database, time.time, at_once, claims)


def id_of(manager: Manager) -> str:
    assert manager.claims is not None
    return manager.claims.sub


@asynccontextmanager
async def workers(settings: Settings) -> AsyncIterator[tuple[Database, Database]]:
    async with (
        Database(settings.database_url) as one,
        Database(settings.database_url) as two,
    ):
        yield one, two


def run(settings: Settings, race: Race) -> None:
    """Each round between two administrators who are the only ones."""

    async def rounds() -> None:
        async with workers(settings) as (one, two):
            for number in range(ROUNDS):
                both = await asyncio.gather(
                    manager_of(one, f"one-{number}"), manager_of(two, f"two-{number}")
                )
                await race(*both)
                for each in both:
                    await registry.disable_client(one, id_of(each), time.time())

    asyncio.run(rounds())


async def outcomes(*actions: Awaitable[Any]) -> list[Any]:
    """What came of each; anything but a refusal is a fault."""
    came = await asyncio.gather(*actions, return_exceptions=True)
    for each in came:
        if isinstance(each, BaseException) and not isinstance(each, Refusal):
            raise each
    return came


def refusals(came: list[Any]) -> list[type]:
    return [type(each) for each in came if isinstance(each, Refusal)]


@pytest.mark.parametrize("way", ["disable", "strip", "delete"])
def test_of_two_who_lock_each_other_out_one_is_left(settings: Settings, way: str) -> None:
    async def lock_out(manager: Manager, other: str) -> None:
        if way == "delete":
            await clients.delete(manager, other)
        elif way == "strip":
            await clients.change(manager, other, Changes(scopes="admin:read"))
        else:
            await clients.change(manager, other, Changes(disabled=True))

    async def race(one: Manager, two: Manager) -> None:
        came = await outcomes(lock_out(one, id_of(two)), lock_out(two, id_of(one)))
        assert refusals(came) == [InvalidToken]
        assert await administration.count_administrators(one.database, time.time()) == 1

    run(settings, race)


def test_of_two_who_leave_at_once_one_stays(settings: Settings) -> None:
    async def race(one: Manager, two: Manager) -> None:
        came = await outcomes(
            *(clients.change(each, id_of(each), Changes(disabled=True)) for each in (one, two))
        )
        assert refusals(came) == [LastAdministrator]

    run(settings, race)


def test_of_two_changes_of_one_version_one_counts(settings: Settings) -> None:
    async def race(one: Manager, two: Manager) -> None:
        made = await clients.create(one, f"shared-{time.time()}", "reports:read")
        client_id = made["user_id"]
        version = showing.version_of(await clients.read(one, client_id))
        came = await outcomes(
            clients.change(one, client_id, Changes(metadata='{"by": "one"}'), [version]),
            clients.change(two, client_id, Changes(metadata='{"by": "two"}'), [version]),
        )
        assert refusals(came) == [PreconditionFailed]
        (won,) = (each for each in came if not isinstance(each, Refusal))
        left = await clients.read(one, client_id)
        assert left["metadata"] == won.client["metadata"]

    run(settings, race)


def test_two_changes_of_different_things_both_count(settings: Settings) -> None:
    async def race(one: Manager, two: Manager) -> None:
        client_id = (await clients.create(one, f"shared-{time.time()}", ""))["user_id"]
        await asyncio.gather(
            clients.change(one, client_id, Changes(metadata='{"by": "one"}')),
            clients.change(two, client_id, Changes(scopes="reports:read")),
        )
        left = await clients.read(two, client_id)
        assert (left["metadata"], left["scopes"]) == ('{"by": "one"}', "reports:read")

    run(settings, race)


def test_of_two_clients_of_one_name_one_is_made(settings: Settings) -> None:
    async def race(one: Manager, two: Manager) -> None:
        name = f"shared-{time.time()}"
        came = await outcomes(clients.create(one, name, ""), clients.create(two, name, ""))
        assert refusals(came) == [NameTaken]

    run(settings, race)


def test_a_request_that_is_sent_twice_at_once_is_done_once(settings: Settings) -> None:
    async def race(one: Manager, two: Manager) -> None:
        name = f"shared-{time.time()}"
        again = Manager(two.database, time.time, at_once, one.claims)
        once = Repeatable(id_of(one), f"key-of-{name}", name, ["secret"])
        first, second = await asyncio.gather(
            *(clients.create(each, name, "", repeatable=once) for each in (one, again))
        )
        assert first == second
        assert len(await list_keys(one.database, first["user_id"])) == 1

    run(settings, race)


def test_who_loses_a_scope_grants_it_before_or_never(settings: Settings) -> None:
    """Nothing is granted after the answer that it was taken away."""

    async def race(one: Manager, two: Manager) -> None:
        name, taken = f"late-{time.time()}", asyncio.Event()

        async def take() -> None:
            await clients.change(one, id_of(two), Changes(scopes="admin:read admin:write"))
            taken.set()

        async def grant() -> bool:
            for number in range(6):
                begins_after = taken.is_set()
                try:
                    await clients.create(two, f"{name}-{number}", "reports:read")
                except InvalidToken:
                    return True
                assert not begins_after, "granted after it was taken"
            return False

        await asyncio.gather(take(), grant())
        with pytest.raises(InvalidToken):
            await clients.create(two, f"{name}-x", "reports:read")
        row = await clients.read(one, id_of(two))
        assert not is_within(["reports:read"], row["scopes"])

    run(settings, race)


@pytest.mark.parametrize("ends", [False, True], ids=["let in", "let in and disabled again"])
def test_a_client_that_is_let_in_while_it_is_deleted_stays(settings: Settings, ends: bool) -> None:
    """Since a session that it began meanwhile would outlive it."""

    async def race(one: Manager, two: Manager) -> None:
        client_id = (await clients.create(one, f"shared-{time.time()}", ""))["user_id"]

        async def let_in() -> None:
            for disabled in (False, True)[: 1 + ends]:
                await clients.change(two, client_id, Changes(disabled=disabled))

        deleting = Manager(one.database, time.time, let_in, one.claims)
        came = await outcomes(clients.delete(deleting, client_id))
        assert [each.error for each in came] == ["changed_meanwhile"]
        assert ((await clients.read(one, client_id))["disabled_at"] is not None) == ends
        assert (await clients.delete(one, client_id))["id"] == client_id

    run(settings, race)


@pytest.mark.parametrize("change", [Changes(name="kept"), Changes(metadata='{"keep": "it"}')])
def test_a_client_that_is_changed_while_it_is_deleted_stays(
    settings: Settings, change: Changes
) -> None:
    """Whoever changed it was told that it is so."""

    async def race(one: Manager, two: Manager) -> None:
        client_id = (await clients.create(one, f"shared-{time.time()}", ""))["user_id"]

        async def interfere() -> None:
            await clients.change(two, client_id, change)

        deleting = Manager(one.database, time.time, interfere, one.claims)
        came = await outcomes(clients.delete(deleting, client_id))
        assert [each.error for each in came] == ["changed_meanwhile"]
        left = await clients.read(one, client_id)
        assert change in (Changes(name=left["name"]), Changes(metadata=left["metadata"]))
        assert (await clients.delete(one, client_id))["id"] == client_id

    run(settings, race)


def test_who_was_outranked_while_they_deleted_a_client_does_not(settings: Settings) -> None:
    async def race(one: Manager, two: Manager) -> None:
        client_id = (await clients.create(one, f"shared-{time.time()}", ""))["user_id"]

        async def raise_it() -> None:
            await clients.change(replace(two, claims=None), client_id, Changes(scopes="more"))

        deleting = Manager(one.database, time.time, raise_it, one.claims)
        came = await outcomes(clients.delete(deleting, client_id))
        assert [each.error for each in came] == ["insufficient_scope"]
        assert (await clients.read(one, client_id))["scopes"] == "more"

    run(settings, race)


def test_a_change_is_recorded_before_it_is_waited_for(settings: Settings, trail: Trail) -> None:
    """Else whoever kills the worker in that half second leaves no line of it."""

    async def act() -> None:
        async with Database(settings.database_url) as database:
            events: list[str] = []

            async def note() -> None:
                events.append(trail()[-1]["event"])

            patient = replace(await manager_of(database, "root"), settle=note)
            made = await clients.create(patient, "one", "")
            client_id = made["user_id"]
            await clients.change(patient, client_id, Changes(name="two"))
            await keys.rotate(patient, client_id, 60)
            await keys.revoke(patient, [await keys.find(patient, made["key_id"])])
            await clients.end_sessions(patient, client_id)
            await clients.delete(patient, client_id)
            assert events == [
                *("client_renamed", "key_rotated", "key_revoked"),
                *("sessions_ended", "client_disabled"),
            ]

    asyncio.run(act())
