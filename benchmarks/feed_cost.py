"""What it costs a worker to hold polls of the feed, idle and while clients log out."""

import asyncio
import time
from typing import Any

import psutil
from feed_polls import Pollers

from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.elsewhere import SCOPE
from tests.faults.loads import going_on
from tests.faults.services import Service

CPU_SECONDS = 8
LOG_OUTS_A_SECOND = 50

Report = dict[str, Any]


async def log_in(node: Node, key: str) -> str:
    """The access token of a client that may read the feed."""
    shown = {"client_key": key, "scope": SCOPE}
    token: str = (await node.ask("POST", "/login", payload=shown))[2]["access_token"]
    return token


async def log_out_steadily(recorder: Recorder, node: Node, sessions: list[Session]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for session in sessions:
            tasks.create_task(recorder.logout(node, session))
            await asyncio.sleep(1 / LOG_OUTS_A_SECOND)


async def measure_cpu(service: Service, key: str, client: Client, held: int) -> Report:
    """Shares of a core, idle and at so many log-outs a second; and the memory."""
    process = psutil.Process(service.servers[0].process.pid)
    pollers = Pollers(service.servers[0].url)
    found: Report = {"held": held}
    async with Recorder() as recorder:
        (node,) = service.nodes()
        count = LOG_OUTS_A_SECOND * CPU_SECONDS
        sessions = [await recorder.begin(node, client) for _ in range(count)]
        token = await log_in(pollers.node, key)
        async with going_on(pollers.poll(token) for _ in range(held)):
            await asyncio.sleep(2)  # until each is held
            for name, work in (
                ("idle", asyncio.sleep(CPU_SECONDS)),
                ("log_outs", log_out_steadily(recorder, node, sessions)),
            ):
                pollers.statuses.clear()
                before, began = sum(process.cpu_times()[:2]), time.monotonic()
                await work
                seconds = time.monotonic() - began
                share = (sum(process.cpu_times()[:2]) - before) / seconds
                answers = {str(status): n for status, n in pollers.statuses.items()}
                found[name] = {
                    "core": share,
                    "answers_a_second": sum(pollers.statuses.values()) / seconds,
                    "statuses": answers,
                }
            found["rss_mb"] = process.memory_info().rss / 1e6
        await pollers.close()
    return found
