"""PostgreSQL goes, and comes back: 503 meanwhile, and no revoked token is good at any time."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import GRACE_SECONDS, Judge
from tests.faults.history import Operation
from tests.faults.services import SOAK, Proxy, Service, proxied, serve_nodes
from tests.postgres import Postgres, run_postgres

STOPPED_SECONDS = 10 if SOAK else 3
LIVES_PER_NODE = 8


@dataclass
class Parted:
    """Three nodes, of which the last reaches PostgreSQL through the proxy."""

    postgres: Postgres
    proxy: Proxy
    service: Service


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory, postgres_files: Path) -> Iterator[Parted]:
    """On a PostgreSQL of their own, so that no other test is without one."""
    folder = tmp_path_factory.mktemp("parted")
    with run_postgres(postgres_files) as postgres, proxied(postgres) as proxy:
        url = postgres.new_database()
        through_proxy = url.replace(str(postgres.socket_folder), str(proxy.folder))
        urls = [url, url, through_proxy]
        with serve_nodes(folder, urls, REFRESH_GRACE_SECONDS=str(GRACE_SECONDS)) as service:
            yield Parted(postgres, proxy, service)


async def live(recorder: Recorder, nodes: list[Node], node: Node, client: Client) -> None:
    """Ask the node for what lives and for what is dead, whatever it answers."""
    session = None
    while True:
        # Its sessions begin and end on any node, and all the while they are used on this one.
        session = session or await recorder.login(random.choice(nodes), client)
        if session:
            await recorder.use(node, session)
            await recorder.refresh(node, session)
            if (
                random.random() < 0.3
                and await recorder.logout(random.choice(nodes), session) == 200
            ):
                await recorder.use(node, session)
                session = None
        dead = [each for each in recorder.sessions[-100:] if each is not session]
        if dead:
            await recorder.use(node, random.choice(dead))
        await asyncio.sleep(0.05)


@asynccontextmanager
async def load(recorder: Recorder, nodes: list[Node], client: Client) -> AsyncIterator[None]:
    lives = [
        asyncio.create_task(live(recorder, nodes, node, client))
        for node in nodes
        for _ in range(LIVES_PER_NODE)
    ]
    try:
        yield
    finally:
        for task in lives:
            task.cancel()
        for outcome in await asyncio.gather(*lives, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


async def log_some_out(recorder: Recorder, node: Node, client: Client) -> list[Session]:
    sessions = [await recorder.begin(node, client) for _ in range(10)]
    await asyncio.gather(*(recorder.logout(node, session) for session in sessions))
    return sessions


async def use_on_all(recorder: Recorder, nodes: list[Node], sessions: list[Session]) -> None:
    for session in sessions:
        await asyncio.gather(*(recorder.use(node, session) for node in nodes))
        await recorder.refresh(random.choice(nodes), session)


async def wait_for(
    recorder: Recorder, status: int, node: Node, operation: Operation | None = None
) -> None:
    """Until the load has got such an answer of the node, after now."""
    before, give_up = len(recorder.events), time.monotonic() + 30
    while not any(
        (event.node, event.status) == (node.name, status) and operation in (None, event.operation)
        for event in recorder.events[before:]
    ):
        assert time.monotonic() < give_up, f"{node.name} answers no {status}"
        await asyncio.sleep(0.05)


def crash(postgres: Postgres) -> None:
    """As when its machine goes down: what it had not written is lost, and it has to recover."""
    postmaster = psutil.Process(postgres.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    os.kill(postgres.pid, signal.SIGQUIT)
    assert not psutil.wait_procs(processes, timeout=20)[1]


@pytest.mark.parametrize("how", ["restarted", "crashed", "stopped"])
def test_without_postgresql_it_is_unavailable_and_it_recovers_by_itself(
    parted: Parted, judge: Judge, how: str
) -> None:
    service, postgres = parted.service, parted.postgres
    (client,) = service.register(how)
    recorder = Recorder()

    async def act() -> None:
        nodes = service.nodes()
        async with recorder:
            dead = await log_some_out(recorder, nodes[0], client)
            async with load(recorder, nodes, client):
                await wait_for(recorder, 200, nodes[0])
                async with recorder.noting("trouble"):
                    try:
                        await asyncio.to_thread(
                            crash if how == "crashed" else Postgres.stop, postgres
                        )
                        async with recorder.noting("outage"):
                            await use_on_all(recorder, nodes, dead)
                            if how != "restarted":  # that may be over before anybody asks
                                for node in nodes:
                                    await wait_for(recorder, 503, node)
                            if how == "stopped":
                                await asyncio.sleep(STOPPED_SECONDS)
                    finally:
                        await asyncio.to_thread(postgres.start)
                    await recorder.wait_until_ready(*nodes)
                for node in nodes:
                    await wait_for(recorder, 200, node)
            await use_on_all(recorder, nodes, dead)

    asyncio.run(act())
    assert all(served.process.poll() is None for served in service.servers)
    judge(recorder, [service], logouts=recorder.count(200, operation="logout"))


def test_a_node_that_is_cut_off_fails_closed_while_the_others_go_on(
    parted: Parted, judge: Judge
) -> None:
    """Nothing tells it so: it waits for an answer that does not come, and its copy grows old."""
    service, proxy = parted.service, parted.proxy
    (client,) = service.register("cut")
    recorder = Recorder()

    async def act() -> None:
        nodes = service.nodes()
        connected, cut_off = nodes[:2], nodes[2]
        async with recorder:
            sessions = [await recorder.begin(cut_off, client) for _ in range(20)]
            async with load(recorder, nodes, client):
                await wait_for(recorder, 200, cut_off)
                async with recorder.noting("trouble", cut_off.name):
                    proxy.cut()
                    try:
                        async with recorder.noting("outage", cut_off.name):
                            for node in connected:
                                await wait_for(recorder, 200, node)
                            # They end there what the cut-off node knows as alive.
                            await asyncio.gather(
                                *(log_out_and_use(recorder, nodes, each) for each in sessions)
                            )
                            await wait_for(recorder, 503, cut_off)
                    finally:
                        proxy.mend()
                    await recorder.wait_until_ready(cut_off)
                    await wait_for(recorder, 200, cut_off)
            await use_on_all(recorder, nodes, sessions)

    async def log_out_and_use(recorder: Recorder, nodes: list[Node], session: Session) -> None:
        assert await recorder.logout(random.choice(nodes[:2]), session) == 200
        await asyncio.gather(*(recorder.use(node, session) for node in nodes))

    asyncio.run(act())
    judge(recorder, [service], logouts=recorder.count(200, operation="logout"))
