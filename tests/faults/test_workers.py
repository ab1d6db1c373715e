"""What is ended on one worker is dead on every other at once."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from tests.faults.client import Client, Node, Recorder
from tests.faults.conftest import Judge
from tests.faults.services import Service, disable, manage, revoke_key, scaled

PAIRS = scaled(2000, 20_000)
AT_ONCE = 50
"""Few enough that a busy machine answers them, before a node refuses whoever waited 5 seconds."""


async def one_life(recorder: Recorder, nodes: list[Node], client: Client) -> None:
    """Log in and use on every node, log out on one, and use on the others in that instant."""
    here, *others = random.sample(nodes, len(nodes))
    session = await recorder.begin(random.choice(nodes), client)
    await recorder.use(random.choice(nodes), session)
    assert await recorder.logout(here, session) == 200
    await asyncio.gather(*(recorder.use(node, session) for node in others))


def test_what_is_logged_out_on_one_is_dead_on_the_others(service: Service, judge: Judge) -> None:
    (client,) = service.register("pairs")
    recorder = Recorder()

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            lives = PAIRS // (len(nodes) - 1)
            places = asyncio.Semaphore(AT_ONCE)

            async def in_turn() -> None:
                async with places:
                    await one_life(recorder, nodes, client)

            await asyncio.gather(*(in_turn() for _ in range(lives)))

    asyncio.run(act())
    judge(recorder, [service], pairs=PAIRS)


def test_what_is_ended_everywhere_or_disabled_is_dead_on_all(
    service: Service, judge: Judge
) -> None:
    roaming = service.register(*(f"roaming-{n}" for n in range(scaled(10, 100))))
    disabled = service.register(*(f"disabled-{n}" for n in range(scaled(2, 20))))
    recorder = Recorder()

    async def begin(nodes: list[Node], client: Client) -> None:
        for node in nodes * 3:
            await recorder.use(random.choice(nodes), await recorder.begin(node, client))

    async def use_all(nodes: list[Node], client: Client) -> None:
        mine = [session for session in recorder.sessions if session.client is client]
        await asyncio.gather(
            *(recorder.use(node, session) for session in mine for node in nodes),
            *(recorder.refresh(random.choice(nodes), session) for session in mine),
        )

    async def roam(nodes: list[Node], client: Client) -> None:
        await begin(nodes, client)
        session = next(each for each in recorder.sessions if each.client is client)
        assert await recorder.logout(random.choice(nodes), session, everywhere=True) == 200
        await use_all(nodes, client)
        new = await recorder.begin(random.choice(nodes), client)
        for node in nodes:
            assert await recorder.use(node, new) == 200

    async def be_disabled(nodes: list[Node], client: Client) -> None:
        await begin(nodes, client)
        await disable(recorder, service, client)
        await use_all(nodes, client)
        for node in nodes:
            await recorder.login(node, client)

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            await asyncio.gather(
                *(roam(nodes, client) for client in roaming),
                *(be_disabled(nodes, client) for client in disabled),
            )

    asyncio.run(act())
    assert recorder.count(200, operation="disable") == len(disabled)
    judge(recorder, [service], everywhere=len(roaming), disabled=len(disabled))


def test_what_a_revoked_key_minted_is_dead_on_all(service: Service, judge: Judge) -> None:
    """Under load with this key and with another of the same client, which goes on."""
    clients = service.register(*(f"leaky-{n}" for n in range(scaled(2, 20))))
    recorder = Recorder()

    async def live(nodes: list[Node], client: Client, over: asyncio.Event) -> None:
        while not over.is_set() and (session := await recorder.login(random.choice(nodes), client)):
            await recorder.use(random.choice(nodes), session)
            await recorder.refresh(random.choice(nodes), session)
            await recorder.use(random.choice(nodes), session)

    places = asyncio.Semaphore(AT_ONCE)

    async def in_turn(call: Coroutine[Any, Any, object]) -> None:
        async with places:
            await call

    async def leak(nodes: list[Node], leaked: Client) -> None:
        added = await manage(service, "add-key", leaked.name)
        spared, over = Client(leaked.name, added["client_key"]), asyncio.Event()
        lives = [
            asyncio.create_task(live(nodes, client, over))
            for client in (leaked, spared)
            for _ in range(4)
        ]
        await revoke_key(recorder, service, leaked)
        mine = [each for each in recorder.sessions if each.client in (leaked, spared)]
        some = random.sample(mine, min(100, len(mine)))
        calls = [
            *(recorder.login(node, client) for node in nodes for client in (leaked, spared)),
            *(recorder.use(node, session) for session in some for node in nodes),
            *(recorder.refresh(random.choice(nodes), session) for session in some),
        ]
        await asyncio.gather(*(in_turn(call) for call in calls))
        over.set()
        await asyncio.gather(*lives)

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            await asyncio.gather(*(leak(nodes, client) for client in clients))

    asyncio.run(act())
    assert recorder.count(200, operation="revoke-key") == len(clients)
    assert recorder.count(401, operation="use") > 0
    judge(recorder, [service], revoked=len(clients))
