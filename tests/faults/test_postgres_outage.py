"""PostgreSQL goes, and comes back: 503 meanwhile, and no revoked token is good at any time."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.client import Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.loads import load, log_some_out, use_each_on_all, wait_for
from tests.faults.services import SOAK, Cluster, serve_cluster

STOPPED_SECONDS = 10 if SOAK else 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres_files: Path) -> Iterator[Cluster]:
    """Of three nodes."""
    folder = tmp_path_factory.mktemp("parted")
    with serve_cluster(folder, postgres_files, ["postgres"] * 3) as cluster:
        yield cluster


@pytest.mark.parametrize("how", ["restarted", "crashed", "stopped"])
def test_without_postgresql_it_is_unavailable_and_it_recovers_by_itself(
    cluster: Cluster, judge: Judge, how: str
) -> None:
    service, postgres = cluster.service, cluster.postgres
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
                            postgres.crash if how == "crashed" else postgres.stop
                        )
                        async with recorder.noting("outage"):
                            await use_each_on_all(recorder, nodes, dead)
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
            await use_each_on_all(recorder, nodes, dead)

    asyncio.run(act())
    assert all(served.process.poll() is None for served in service.servers)
    judge(recorder, [service], logouts=recorder.count(200, operation="logout"))


def test_a_node_that_is_cut_off_fails_closed_while_the_others_go_on(
    cluster: Cluster, judge: Judge
) -> None:
    """Nothing tells it so: it waits for an answer that does not come, and its copy grows old."""
    service, proxy = cluster.service, cluster.proxy
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
            await use_each_on_all(recorder, nodes, sessions)

    async def log_out_and_use(recorder: Recorder, nodes: list[Node], session: Session) -> None:
        assert await recorder.logout(random.choice(nodes[:2]), session) == 200
        await asyncio.gather(*(recorder.use(node, session) for node in nodes))

    asyncio.run(act())
    judge(recorder, [service], logouts=recorder.count(200, operation="logout"))
