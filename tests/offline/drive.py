"""Runs Python verifiers in a process of its own. Lines of JSON are commands, and their answers.

It is drive.mjs in another language. It imports nothing of the tests or the service: where the
verifier is installed, there is nothing else than what it needs.
"""

import asyncio
import json
import logging
import sys
import time
from typing import Any

from auth_api_verifier import ThreadedVerifier, Verifier, VerifierError


class Driven:
    """A verifier, with clocks that are moved. Its wall clock goes on from `began`, or stands."""

    def __init__(
        self, threaded: bool = False, still: float | None = None, began: float = 0, **options: Any
    ) -> None:
        self._still = still
        self._ahead = began - time.time() if began else 0
        self.moved = {"steady": 0.0, "wall": 0.0}
        url, key = options.pop("url"), options.pop("client_key")
        make = ThreadedVerifier if threaded else Verifier
        self.verifier: Any = make(url, key, steady=self.steady, wall=self.wall, **options)
        self.is_threaded = threaded

    def steady(self) -> float:
        return time.monotonic() + self.moved["steady"]

    def wall(self) -> float:
        now = time.time() + self._ahead if self._still is None else self._still
        return now + self.moved["wall"]

    async def start(self) -> None:
        if not self.is_threaded:
            await self.verifier.__aenter__()

    async def stop(self) -> None:
        if self.is_threaded:
            self.verifier.close()
        else:
            await self.verifier.__aexit__()

    async def verdict(self, op: str, token: str) -> list[str]:
        try:
            if self.is_threaded:
                claims = await asyncio.to_thread(getattr(self.verifier, op), token)
            elif op == "judge":
                claims = self.verifier.judge(token)
            else:
                claims = await self.verifier.verify(token)
        except VerifierError as reason:
            return [{401: "refused", 503: "unavailable"}[reason.status], str(reason)]
        return ["accepted", claims.sub]


class Lines(logging.Handler):
    """What is logged is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


lines = Lines()
logging.getLogger("auth_api_verifier").addHandler(lines)
logging.getLogger("auth_api_verifier").setLevel(logging.INFO)
all_driven: dict[int, Driven] = {}


async def run(number: int, op: str, **command: Any) -> Any:
    if op == "start":
        lines.kept.clear()
        all_driven[number] = Driven(**command)
        return await all_driven[number].start()
    driven = all_driven[number]
    match op:
        case "verify" | "judge":
            return [await driven.verdict(op, token) for token in command["tokens"]]
        case "status":
            return driven.verifier.status()
        case "lines":
            return lines.kept
        case "move":
            for clock, seconds in command.items():
                driven.moved[clock] += seconds
            return driven.moved
        case "stop":
            return await all_driven.pop(number).stop()
    raise ValueError(op)


async def answer(line: str) -> None:
    asked, verifier, command = json.loads(line)
    print(json.dumps([asked, await run(verifier, **command)]), flush=True)


async def main() -> None:
    async with asyncio.TaskGroup() as answers:
        while line := await asyncio.to_thread(sys.stdin.readline):
            answers.create_task(answer(line))


asyncio.run(main())
