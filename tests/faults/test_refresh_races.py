"""Whoever refreshes at the same time: there is one successor, and a replay ends the session."""

import asyncio
import random
import time
from pathlib import Path

from tests.assertions import assertion, shown, write_pem
from tests.faults.client import Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.services import GRACE_SECONDS, Service, manage, scaled, serve_file
from tests.signing import ES256

AT_ONCE = 100
RACES_AT_ONCE = 20
"""With the refreshes of each: few enough that a busy machine answers them in time."""


async def refresh_at_once(
    recorder: Recorder, nodes: list[Node], session: Session, token: str
) -> list[int]:
    return await asyncio.gather(
        *(recorder.refresh(nodes[n % len(nodes)], session, token) for n in range(AT_ONCE))
    )


async def use_on_all(recorder: Recorder, nodes: list[Node], session: Session) -> None:
    for node in nodes:
        await recorder.use(node, session)


def test_all_who_refresh_one_token_at_once_get_one_successor(
    service: Service, judge: Judge
) -> None:
    (client,) = service.register("at-once")
    recorder = Recorder()
    rounds = scaled(5, 100)

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            for _ in range(rounds):
                session = await recorder.begin(random.choice(nodes), client)
                for _ in range(2):
                    start = time.monotonic()
                    statuses = await refresh_at_once(recorder, nodes, session, session.refresh[-1])
                    assert 200 in statuses
                    if time.monotonic() - start > GRACE_SECONDS:
                        break  # the last of them were replays, and the session is over by right
                await use_on_all(recorder, nodes, session)

    asyncio.run(act())
    judge(recorder, [service], refreshes=recorder.count(200, 401, operation="refresh"))


def test_an_assertion_that_is_shown_everywhere_at_once_counts_once(
    service: Service, tmp_path: Path
) -> None:
    key = ES256()
    file = write_pem(tmp_path / "public.pem", key)
    recorder = Recorder()

    async def race(nodes: list[Node], client_id: str) -> None:
        now = int(time.time())
        text = assertion(key, client_id, iat=now, exp=now + 60)
        form = shown(text, grant_type="client_credentials")
        tried = [node.ask("POST", "/oauth/token", payload=form) for node in nodes * 3]
        statuses = [status for status, _, _ in await asyncio.gather(*tried)]
        assert sorted(statuses) == [200] + [401] * (len(tried) - 1)

    async def act() -> None:
        made = await manage(service, "create-client", "signing", "--public-key", str(file))
        async with recorder:
            nodes = service.nodes()
            await recorder.wait_until_ready(*nodes)
            for _ in range(scaled(10, 200)):
                await race(nodes, made["user_id"])

    asyncio.run(act())


def test_a_refresh_that_races_a_log_out_opens_nothing(service: Service, judge: Judge) -> None:
    (client,) = service.register("racing")
    recorder = Recorder()

    places = asyncio.Semaphore(RACES_AT_ONCE)

    async def race(nodes: list[Node]) -> None:
        async with places:
            await race_in_turn(nodes)

    async def race_in_turn(nodes: list[Node]) -> None:
        session = await recorder.begin(random.choice(nodes), client)

        async def log_out() -> None:
            await asyncio.sleep(random.uniform(0, 0.05))  # where in the race, not how long
            await recorder.logout(random.choice(nodes), session)

        await asyncio.gather(
            log_out(), *(recorder.refresh(random.choice(nodes), session) for _ in range(4))
        )
        await use_on_all(recorder, nodes, session)
        await recorder.refresh(random.choice(nodes), session)

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            for _ in range(scaled(1, 20)):
                await asyncio.gather(*(race(nodes) for _ in range(100)))

    asyncio.run(act())
    judge(recorder, [service], races=recorder.count(200, operation="logout"))


def test_a_token_two_generations_old_ends_the_session_in_the_grace(
    service: Service, judge: Judge
) -> None:
    (client,) = service.register("generations")
    recorder = Recorder()

    async def replay(nodes: list[Node]) -> None:
        session = await recorder.begin(random.choice(nodes), client)
        for _ in range(2):
            await recorder.refresh(random.choice(nodes), session)
        await recorder.refresh(random.choice(nodes), session, session.refresh[0])
        await use_on_all(recorder, nodes, session)
        await recorder.refresh(random.choice(nodes), session)

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            await asyncio.gather(*(replay(nodes) for _ in range(scaled(50, 500))))

    asyncio.run(act())
    judge(recorder, [service], replays=recorder.count(401, operation="refresh") // 2)


def test_after_the_grace_whoever_is_refused_a_replay_finds_the_session_dead(
    service: Service, judge: Judge
) -> None:
    """The second of two replays too, though the first is not answered yet."""
    (client,) = service.register("replays")
    recorder = Recorder()

    async def replay(nodes: list[Node], session: Session) -> None:
        await asyncio.sleep(random.uniform(0, 0.2))  # not all of the losers at the same moment
        await recorder.refresh(random.choice(nodes), session, session.refresh[0])
        await use_on_all(recorder, nodes, session)

    async def act() -> None:
        async with recorder:
            nodes = service.nodes()
            sessions = [await recorder.begin(nodes[0], client) for _ in range(scaled(10, 100))]
            for session in sessions:
                await recorder.refresh(random.choice(nodes), session)
            await asyncio.sleep(GRACE_SECONDS + 0.1)
            for session in sessions[::10]:
                some = sessions[sessions.index(session) :][:10]
                await asyncio.gather(
                    *(replay(nodes, each) for each in some for _ in range(AT_ONCE // 10))
                )

    asyncio.run(act())
    judge(recorder, [service], replays=recorder.count(401, operation="refresh"))


def test_a_replay_is_told_after_a_restart(tmp_path: Path, judge: Judge) -> None:
    recorder = Recorder()
    with serve_file(tmp_path / "auth.db", REFRESH_GRACE_SECONDS="0") as service:
        (client,) = service.register("restarted")

        async def rotate() -> None:
            async with recorder:
                for node in service.nodes() * 5:
                    session = await recorder.begin(node, client)
                    for _ in range(random.randint(1, 3)):
                        await recorder.refresh(node, session)

        asyncio.run(rotate())
    with serve_file(tmp_path / "auth.db", REFRESH_GRACE_SECONDS="0") as restarted:

        async def replay(nodes: list[Node], session: Session) -> None:
            await use_on_all(recorder, nodes, session)
            old = random.choice(session.refresh[:-1])
            await recorder.refresh(random.choice(nodes), session, old)
            await use_on_all(recorder, nodes, session)
            await recorder.refresh(random.choice(nodes), session)

        async def act() -> None:
            async with recorder:
                nodes = restarted.nodes()
                await asyncio.gather(*(replay(nodes, session) for session in recorder.sessions))

        asyncio.run(act())
    judge(recorder, [service, restarted], grace_seconds=0, replays=len(recorder.sessions))
