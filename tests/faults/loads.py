"""Load that goes on while something goes wrong, and waits for what is answered meanwhile."""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.history import Operation

LIVES_PER_NODE = 8
WAIT_SECONDS = 30


@asynccontextmanager
async def going_on(lives: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Lives without an end of their own: none of them may fail before it is cancelled."""
    tasks = [asyncio.create_task(life) for life in lives]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


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


def load(
    recorder: Recorder, nodes: list[Node], client: Client
) -> AbstractAsyncContextManager[None]:
    return going_on(
        live(recorder, nodes, node, client) for node in nodes for _ in range(LIVES_PER_NODE)
    )


async def log_some_out(recorder: Recorder, node: Node, client: Client) -> list[Session]:
    sessions = [await recorder.begin(node, client) for _ in range(10)]
    await asyncio.gather(*(recorder.logout(node, session) for session in sessions))
    return sessions


async def use_each_on_all(recorder: Recorder, nodes: list[Node], sessions: list[Session]) -> None:
    for session in sessions:
        await asyncio.gather(*(recorder.use(node, session) for node in nodes))
        await recorder.refresh(random.choice(nodes), session)


async def wait_for(
    recorder: Recorder, status: int, node: Node, operation: Operation | None = None
) -> None:
    """Until the load has got such an answer of the node, after now."""
    before, give_up = len(recorder.events), time.monotonic() + WAIT_SECONDS
    while not any(
        (event.node, event.status) == (node.name, status) and operation in (None, event.operation)
        for event in recorder.events[before:]
    ):
        assert time.monotonic() < give_up, f"{node.name} answers no {status}"
        await asyncio.sleep(0.05)


async def wait_for_status(recorder: Recorder, status: int, node: Node, session: Session) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while await recorder.use(node, session) != status:
        assert time.monotonic() < give_up, f"{node.name} answers no {status}"
        await asyncio.sleep(0.02)


async def wait_for_answers(recorder: Recorder, count: int) -> None:
    """Until the load has got so many more, of the good ones."""
    target, give_up = recorder.count(200) + count, time.monotonic() + WAIT_SECONDS
    while recorder.count(200) < target:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)


def check_file(recorder: Recorder, file: Path) -> None:
    start = time.monotonic()
    with closing(sqlite3.connect(file)) as database:
        (found,) = database.execute("PRAGMA integrity_check").fetchone()
    recorder.note("integrity", start, status=200 if found == "ok" else 500)
