"""Puts load on a server at a steady pace, whether the answers come or not."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from service import Void

IDLE_SECONDS = 3
"""uvicorn closes a connection that was idle for 5 seconds."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Pace:
    """Requests at a fixed rate, whatever becomes of the earlier ones: none waits unseen.

    `kinds` makes the next request of each kind. A latency counts from when the request was due.
    """

    port: int
    kinds: dict[str, Callable[[], bytes]]
    per_second: int

    def run(self, seconds: float) -> dict[str, list[float]]:
        """The latencies in ms of each kind, in order of time. Raises `Void` for any error."""
        return asyncio.run(self._run(seconds))

    async def _run(self, seconds: float) -> dict[str, list[float]]:
        self._idle: list[tuple[float, Stream]] = []
        self._faults: list[str] = []
        latencies: dict[str, list[float]] = {kind: [] for kind in self.kinds}
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(cycle(self.kinds)):
                due = began + number / self.per_second
                await asyncio.sleep(max(0, due - time.monotonic()))
                group.create_task(self._ask(self.kinds[kind](), due, latencies[kind]))
                if due > began + seconds:
                    break
        for _, (_, writer) in self._idle:
            writer.close()
        if self._faults:
            raise Void(f"{len(self._faults)} errors at a steady pace: {self._faults[0]}")
        return latencies

    async def _ask(self, request: bytes, due: float, latencies: list[float]) -> None:
        try:
            stream = await self._connect()
            reader, writer = stream
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError) as fault:
            self._faults.append(repr(fault))
            return
        latencies.append((time.monotonic() - due) * 1e3)
        if not head.startswith(b"HTTP/1.1 200"):
            self._faults.append(head.partition(b"\r\n")[0].decode())
        self._idle.append((time.monotonic(), stream))

    async def _connect(self) -> Stream:
        """The connection used last, or a new one where the server may be closing that."""
        while self._idle:
            since, stream = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return stream
            stream[1].close()
        return await asyncio.open_connection("127.0.0.1", self.port)


def get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def post(path: str, field: str, text: str) -> bytes:
    body = f"{field}={text}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    ).encode()


def summarize(latencies: list[float]) -> dict[str, Any]:
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "requests": len(ordered),
        "p50_ms": ordered[last // 2],
        "p99_ms": ordered[last * 99 // 100],
        "max_ms": ordered[-1],
    }
