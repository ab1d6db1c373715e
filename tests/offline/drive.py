"""Runs the Python verifier as a process of its own: python drive.py OPTIONS, then commands as JSON.

It is drive.mjs in another language. It imports nothing of the tests or the service: in an empty
environment there is nothing else than the verifier.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from auth_api_verifier import ThreadedVerifier, Verifier, VerifierError

options = json.loads(sys.argv[1])
is_threaded = options.pop("threaded", False)
still = options.pop("still", None)
began = options.pop("began", None)
moved = {"steady": 0.0, "wall": 0.0}
lines: list[str] = []


class Keep(logging.Handler):
    """What it logs is asked for."""

    def emit(self, record: logging.LogRecord) -> None:
        lines.append(record.getMessage())


logging.getLogger("auth_api_verifier").addHandler(Keep())
logging.getLogger("auth_api_verifier").setLevel(logging.INFO)


def steady() -> float:
    return time.monotonic() + moved["steady"]


def wall() -> float:
    if still is not None:
        return float(still) + moved["wall"]
    return time.time() - start + (began or start) + moved["wall"]


start = time.time()


async def verdict(judging: Callable[[str], Any], token: str) -> list[str]:
    try:
        answer = judging(token)
        claims = await answer if isinstance(answer, Awaitable) else answer
    except VerifierError as reason:
        return [{401: "refused", 503: "unavailable"}[reason.status], str(reason)]
    return ["accepted", claims.sub]


async def run(verifier: Any, command: dict[str, Any]) -> Any:
    match command:
        case {"op": "verify" | "judge" as op, "tokens": tokens}:
            return [await verdict(getattr(verifier, op), token) for token in tokens]
        case {"op": "status"}:
            return verifier.status()
        case {"op": "lines"}:
            return lines
        case {"op": "move"}:
            moved["steady"] += command.get("steady", 0)
            moved["wall"] += command.get("wall", 0)
            return moved
    raise ValueError(command)


async def main() -> None:
    url, key = options.pop("url"), options.pop("client_key")
    clocks: dict[str, Any] = {"steady": steady, "wall": wall}
    if is_threaded:
        with ThreadedVerifier(url, key, **options, **clocks) as threaded:
            await listen(threaded)
    else:
        async with Verifier(url, key, **options, **clocks) as verifier:
            await listen(verifier)


async def listen(verifier: Any) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await run(verifier, json.loads(line))), flush=True)


asyncio.run(main())
