"""`kill -9` under load: what was acknowledged holds, whatever became of the rest."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.history import UNANSWERED
from tests.faults.loads import check_file
from tests.faults.services import (
    Service,
    disable,
    kill,
    register,
    scaled,
    serve_file,
    serve_nodes,
)
from tests.postgres import Postgres
from tests.serving import children

AT_ONCE = 24
GRACE_SECONDS = 0.3


async def live(recorder: Recorder, nodes: Sequence[Node], client: Client) -> None:
    """One session after the other, until a node is gone or the client is disabled."""
    while session := await recorder.login(random.choice(nodes), client):
        for _ in range(random.randint(0, 3)):
            if await recorder.refresh(random.choice(nodes), session) != 200:
                return
            if await recorder.use(random.choice(nodes), session) == UNANSWERED:
                return
        if random.random() < 0.6:
            everywhere = client.name.startswith("roaming")
            if await recorder.logout(random.choice(nodes), session, everywhere) == UNANSWERED:
                return


async def probe(recorder: Recorder, nodes: Sequence[Node], sessions: Sequence[Session]) -> None:
    """Whatever is known of the sessions is asked for again. Not all at once, or a node on a busy
    machine would be right to refuse who waits for long."""
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(session: Session) -> None:
        async with places:
            await recorder.use(random.choice(nodes), session)
            token = random.choice([session.refresh[0], session.refresh[-1]])
            await recorder.refresh(random.choice(nodes), session, token)
            await recorder.use(random.choice(nodes), session)

    await asyncio.gather(*(ask(session) for session in sessions))


async def one_round(
    recorder: Recorder,
    service: Service,
    steady: Sequence[Node],
    mortal: Sequence[Node],
    clients: Sequence[Client],
    victims: Sequence[int],
) -> None:
    """Look at what came before, put the service under load, and kill some of its processes."""
    nodes = [*steady, *mortal]
    async with recorder:
        known = list(recorder.sessions)
        recent = random.sample(known[-200:], min(60, len(known[-200:])))
        disabling = asyncio.create_task(disable(recorder, service, clients[1]))
        lives = [
            asyncio.create_task(live(recorder, nodes, clients[n % len(clients)]))
            for n in range(AT_ONCE)
        ]
        await probe(recorder, nodes, recent + random.sample(known, min(40, len(known))))
        await asyncio.sleep(random.uniform(0.3, 0.9))  # where in the load, not until something is
        async with recorder.noting("trouble"):
            await asyncio.to_thread(kill, victims)
            await disabling
            for task in lives if not steady else ():
                await task
            for task in lives:
                task.cancel()
            await asyncio.gather(*lives, return_exceptions=True)


def names(number: int) -> list[str]:
    return [f"steady-{number}", f"leaving-{number}", f"roaming-{number}"]


@contextmanager
def counting(recorder: Recorder) -> Iterator[dict[str, int]]:
    figures: dict[str, int] = {"kills": 0}
    yield figures
    figures |= {
        "logouts": recorder.count(200, operation="logout"),
        "rotations": recorder.count(200, operation="refresh"),
        "disabled": recorder.count(200, operation="disable"),
        "unanswered": recorder.count(UNANSWERED),
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_acknowledged_on_sqlite_survives_a_kill_of_everything(
    workers: int, tmp_path: Path, judge: Judge
) -> None:
    """The supervisor is killed too, which cannot end its workers then."""
    recorder, file = Recorder(), tmp_path / "auth.db"
    kills = scaled(4 if workers == 1 else 2, 70)
    environ = {"WORKERS": str(workers), "REFRESH_GRACE_SECONDS": str(GRACE_SECONDS)}
    with counting(recorder) as figures:
        for number in range(kills):
            with serve_file(file, tmp_path, **environ) as service:
                clients = service.register(*names(number))
                (served,) = service.servers
                pids = [served.process.pid, *children(served.process.pid)]
                nodes = service.nodes()
                asyncio.run(one_round(recorder, service, [], nodes, clients, pids))
                served.process.wait(timeout=20)
                figures["kills"] += 1
                check_file(recorder, file)
                service.assert_silent(recorder)
        with serve_file(file, tmp_path, **environ) as service:
            asyncio.run(probe_all(recorder, service))
        check_file(recorder, file)
    judge(recorder, [service], GRACE_SECONDS, **figures)


def test_what_was_acknowledged_survives_a_kill_of_the_workers(tmp_path: Path, judge: Judge) -> None:
    """The supervisor starts others in their place."""
    recorder, file = Recorder(), tmp_path / "auth.db"
    with (
        counting(recorder) as figures,
        serve_file(file, REFRESH_GRACE_SECONDS=str(GRACE_SECONDS)) as service,
    ):
        (served,) = service.servers
        for number in range(scaled(2, 30)):
            clients = service.register(*names(number))
            pids = children(served.process.pid)
            asyncio.run(one_round(recorder, service, [], service.nodes(), clients, pids))
            figures["kills"] += 1
            served.wait_for_starts(len(pids) * (number + 2))
            served.wait_until_ready()
            check_file(recorder, file)
        asyncio.run(probe_all(recorder, service))
    judge(recorder, [service], GRACE_SECONDS, **figures)


def test_what_was_acknowledged_on_postgresql_survives_the_kill_of_a_node(
    tmp_path: Path, postgres: Postgres, judge: Judge
) -> None:
    recorder, url = Recorder(), postgres.new_database()
    environ = {"REFRESH_GRACE_SECONDS": str(GRACE_SECONDS)}
    with counting(recorder) as figures, serve_nodes(tmp_path, [url], **environ) as steady:
        for number in range(scaled(2, 30)):
            with serve_nodes(tmp_path, [url], **environ) as mortal:
                clients = register(url, *names(number))
                (served,) = mortal.servers
                await_round = one_round(
                    recorder,
                    steady,
                    steady.nodes(),
                    mortal.nodes(),
                    clients,
                    [served.process.pid],
                )
                asyncio.run(await_round)
                served.process.wait(timeout=20)
                figures["kills"] += 1
                mortal.assert_silent(recorder)
        asyncio.run(probe_all(recorder, steady))
    judge(recorder, [steady], GRACE_SECONDS, **figures)


async def probe_all(recorder: Recorder, service: Service) -> None:
    async with recorder:
        sessions = recorder.sessions
        some = random.sample(sessions, min(200, len(sessions)))
        await probe(recorder, service.nodes(), some)
