"""What is ended on one worker is dead on every other at once."""

import asyncio
import random

import pytest

from tests.faults.client import Client, Node, Recorder, in_turn
from tests.faults.conftest import Judge
from tests.faults.loads import wait_for_answers
from tests.faults.services import (
    Service,
    administrator,
    disable,
    manage,
    revoke_key,
    scaled,
)

PAIRS = scaled(2000, 20_000)
AT_ONCE = 50
"""Few enough that a busy machine answers them, before a node refuses whoever waited 5 seconds."""


async def one_life(
    recorder: Recorder, nodes: list[Node], client: Client, by_oauth: bool = False
) -> None:
    """Log in and use on every node, log out on one, and use on the others in that instant."""
    here, *others = random.sample(nodes, len(nodes))
    session = await recorder.begin(random.choice(nodes), client)
    await recorder.use(random.choice(nodes), session)
    use = recorder.introspect if by_oauth else recorder.use
    if by_oauth:
        token = random.choice([session.access, session.refresh[-1]])
        assert await recorder.revoke(here, session, token) == 200
    else:
        assert await recorder.logout(here, session) == 200
    await asyncio.gather(*(use(node, session) for node in others))


@pytest.mark.parametrize("by_oauth", [False, True], ids=["by /logout", "by /oauth/revoke"])
def test_what_is_logged_out_on_one_is_dead_on_the_others(
    service: Service, judge: Judge, by_oauth: bool
) -> None:
    """There a protected route is called; by OAuth, the token is introspected."""
    (client,) = service.register("revoking" if by_oauth else "pairs")
    pairs = PAIRS // 4 if by_oauth else PAIRS
    recorder = Recorder()

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            lives = pairs // (len(nodes) - 1)
            turns = (one_life(recorder, nodes, client, by_oauth) for _ in range(lives))
            await in_turn(asyncio.Semaphore(AT_ONCE), turns)

    asyncio.run(act())
    judge(recorder, [service], **{"revoked_pairs" if by_oauth else "pairs": pairs})


by_each_way = pytest.mark.parametrize("way", ["command", "HTTP"])
"""An operator types a command, or a pipeline calls."""


@by_each_way
def test_what_is_ended_everywhere_or_disabled_is_dead_on_all(
    service: Service, judge: Judge, way: str
) -> None:
    roaming = service.register(*(f"roaming-{way}-{n}" for n in range(scaled(10, 100))))
    disabled = service.register(*(f"disabled-{way}-{n}" for n in range(scaled(2, 20))))
    recorder = Recorder()

    async def begin(nodes: list[Node], client: Client) -> None:
        for node in nodes * 3:
            await recorder.use(random.choice(nodes), await recorder.begin(node, client))

    places = asyncio.Semaphore(AT_ONCE)

    async def use_all(nodes: list[Node], client: Client) -> None:
        mine = [session for session in recorder.sessions if session.client is client]
        calls = [
            *(recorder.use(node, session) for session in mine for node in nodes),
            *(recorder.refresh(random.choice(nodes), session) for session in mine),
        ]
        await in_turn(places, calls)

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
        if way == "HTTP":
            node = random.choice(nodes)
            root = await administrator(service, node, f"root-of-{client.name}")
            await root.disable(recorder, node, client)
        else:
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


@by_each_way
def test_what_a_revoked_key_minted_is_dead_on_all(service: Service, judge: Judge, way: str) -> None:
    """Under load with this key and with another of the same client, which goes on."""
    clients = service.register(*(f"leaky-{way}-{n}" for n in range(scaled(2, 20))))
    recorder = Recorder()

    async def live(nodes: list[Node], client: Client, over: asyncio.Event) -> None:
        while not over.is_set() and (session := await recorder.login(random.choice(nodes), client)):
            await recorder.use(random.choice(nodes), session)
            await recorder.refresh(random.choice(nodes), session)
            await recorder.use(random.choice(nodes), session)

    places = asyncio.Semaphore(AT_ONCE)

    async def leak(nodes: list[Node], leaked: Client) -> None:
        added = await manage(service, "add-key", leaked.name)
        spared, over = Client(leaked.name, added["client_key"]), asyncio.Event()
        lives = [
            asyncio.create_task(live(nodes, client, over))
            for client in (leaked, spared)
            for _ in range(4)
        ]
        await wait_for_answers(recorder, 100)  # the command is quicker than a first login may be
        if way == "HTTP":
            node = random.choice(nodes)
            root = await administrator(service, node, f"root-of-{leaked.name}")
            await root.revoke_key(recorder, node, leaked)
        else:
            await revoke_key(recorder, service, leaked)
        mine = [each for each in recorder.sessions if each.client in (leaked, spared)]
        some = random.sample(mine, min(100, len(mine)))
        calls = [
            *(recorder.login(node, client) for node in nodes for client in (leaked, spared)),
            *(recorder.use(node, session) for session in some for node in nodes),
            *(recorder.refresh(random.choice(nodes), session) for session in some),
        ]
        await in_turn(places, calls)
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
