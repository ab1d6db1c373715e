"""Between a verifier and the nodes: each request goes to the next of them, if it arrives at all."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class Middle:
    """Passes on whole requests and answers, in turn to each target.

    Of all requests, a share `late` waits for up to `late_seconds`, as does the same share of the
    answers; a share `cut` is lost. Answers to polls are held for `hold_seconds`, and `held` counts
    them from when they are. While it `replays`, polls are answered with what one was
    answered with before. `counts` tells how often each was done.
    """

    targets: Sequence[str]
    late: float = 0
    late_seconds: float = 2
    cut: float = 0
    hold_seconds: float = 0
    held: int = 0
    replays: bool = False
    url: str = ""
    counts: dict[str, int] = field(
        default_factory=lambda: {"late": 0, "cut": 0, "replayed": 0, "passed": 0}
    )
    _turn: int = 0
    _old_answer: bytes = b""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def mend(self) -> None:
        self.late, self.cut, self.hold_seconds, self.replays = 0, 0, 0, False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                request = await _read_message(reader)
                answer = await self._answer(request)
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # one of both sides is gone, or all is over
        finally:
            writer.close()
            self._tasks.discard(task)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, request: bytes) -> bytes:
        """Empty where there shall be none."""
        is_poll = request.startswith(b"GET /revocations")
        if is_poll and self.replays and self._old_answer:
            self.counts["replayed"] += 1
            return self._old_answer
        await self._be_late()
        if random.random() < self.cut:
            self.counts["cut"] += 1
            return b""
        answer = await self._pass_on(request)
        await self._be_late()
        if is_poll and self.hold_seconds:
            self.held += 1
            await asyncio.sleep(self.hold_seconds)
        if is_poll and answer.startswith(b"HTTP/1.1 200"):
            self._old_answer = answer
        self.counts["passed"] += 1
        return answer

    async def _be_late(self) -> None:
        if random.random() < self.late:
            self.counts["late"] += 1
            await asyncio.sleep(random.uniform(0, self.late_seconds))

    async def _pass_on(self, request: bytes) -> bytes:
        self._turn += 1
        target = urlsplit(self.targets[self._turn % len(self.targets)])
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        try:
            writer.write(request)
            return await _read_message(reader)
        finally:
            writer.close()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """A request or an answer with its body. Raises `EOFError`."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


@asynccontextmanager
async def between(*targets: str) -> AsyncIterator[Middle]:
    middle = Middle(targets)
    server = await asyncio.start_server(middle.accept, "127.0.0.1", 0)
    middle.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield middle
    finally:
        server.close()
        await middle.close()
