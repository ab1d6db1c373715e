"""A client key is rotated under constant load, and not one request is refused."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.services import Service, manage, scaled

OVERLAP_SECONDS = scaled(6, 20)
LAST_SECONDS = 3
"""Before the end of an old key, when the last of its holders takes up the new one."""
ROTATIONS = scaled(2, 10)
HOLDERS = 12


@dataclass
class Fleet:
    """The machines that share a client's key: what is new, and what the last still have."""

    new: Client
    old: Client
    is_over: bool = False
    last: dict[str, Session] = field(default_factory=dict)
    """Of each key, a session that began with it."""


async def live(recorder: Recorder, nodes: list[Node], fleet: Fleet, is_last: bool) -> None:
    """One session after the other, with whichever key this machine has by then."""
    while not fleet.is_over:
        client = fleet.old if is_last else fleet.new
        session = await recorder.begin(random.choice(nodes), client)
        fleet.last[client.key_id] = session
        for _ in range(2):
            assert await recorder.use(random.choice(nodes), session) == 200
            assert await recorder.refresh(random.choice(nodes), session) == 200
        assert await recorder.use(random.choice(nodes), session) == 200


async def rotate(recorder: Recorder, nodes: list[Node], service: Service, fleet: Fleet) -> None:
    """The command, the machines one after the other, and the end of the old key."""
    overlap = f"{OVERLAP_SECONDS}s"
    rotated = await manage(service, "rotate-key", fleet.new.name, "--overlap", overlap)
    (until,) = [
        each["expires_at"] for each in rotated["old_keys"] if each["key_id"] == fleet.old.key_id
    ]
    fleet.new = Client(fleet.new.name, rotated["client_key"])
    await asyncio.sleep(until - LAST_SECONDS - time.time())
    retired, fleet.old = fleet.old, fleet.new
    await asyncio.sleep(until + 0.1 - time.time())
    await assert_is_over(nodes, retired, fleet.last[retired.key_id])


async def assert_is_over(nodes: list[Node], retired: Client, session: Session) -> None:
    """Off the record: the old key opens nothing and its sessions are not refreshed, but its live
    access tokens are spared."""
    for node in nodes:
        status, *_ = await node.ask("POST", "/login", payload={"client_key": retired.key})
        assert status == 401
        body = {"refresh_token": session.refresh[-1]}
        status, *_ = await node.ask("POST", "/refresh-token", payload=body)
        assert status == 401
        status, *_ = await node.ask("GET", "/secure-data", session.access)
        assert status == 200


def test_a_client_key_is_rotated_and_no_request_is_refused(service: Service, judge: Judge) -> None:
    (client,) = service.register("rotating")
    recorder = Recorder()

    async def act() -> None:
        async with recorder:
            nodes, fleet = service.nodes(), Fleet(client, client)
            lives = [
                asyncio.create_task(live(recorder, nodes, fleet, is_last=number % 2 == 0))
                for number in range(HOLDERS)
            ]
            for _ in range(ROTATIONS):
                await rotate(recorder, nodes, service, fleet)
            fleet.is_over = True
            await asyncio.gather(*lives)

    asyncio.run(act())
    requests = recorder.count(200)
    assert requests == len(recorder.events) > 100
    assert len({session.client.key for session in recorder.sessions}) == ROTATIONS + 1
    judge(recorder, [service], rotations=ROTATIONS, requests=requests)
