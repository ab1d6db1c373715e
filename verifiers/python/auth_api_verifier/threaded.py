"""For services without an event loop, as by Flask and Django: the polling has a thread."""

import asyncio
import os
from functools import partial
from threading import Event, Lock, Thread
from typing import Any, Self

from auth_api_verifier.tokens import Claims, Unavailable
from auth_api_verifier.verifier import Status, Verifier

STOP_SECONDS = 5.0


class ThreadedVerifier:
    """Takes what `Verifier` takes, and judges as it does. Each process starts its thread by itself
    when it first judges, after a fork, too; in `with` it ends at the end."""

    def __init__(self, url: str, client_key: str, **options: Any) -> None:
        self._make = partial(Verifier, url, client_key, **options)
        self._make()  # so that a wrong option is told of here
        self._starting = Lock()
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the thread now, unless it runs, so that nobody waits for the first load."""
        with self._starting:
            if self._pid != os.getpid():
                started = Event()
                self._verifier = self._make()
                run = partial(asyncio.run, self._run(started))
                self._thread = Thread(target=run, name="auth-api-verifier", daemon=True)
                self._thread.start()
                started.wait()
                self._pid = os.getpid()

    def _started(self) -> Verifier:
        if self._pid != os.getpid():
            self.start()
        return self._verifier

    async def _run(self, started: Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        async with self._verifier:
            await self._stop.wait()

    def close(self) -> None:
        """End the thread. Whoever judges after that starts it anew."""
        with self._starting:
            if self._pid == os.getpid():
                self._pid = 0
                self._loop.call_soon_threadsafe(self._stop.set)
                self._thread.join(STOP_SECONDS)

    def judge(self, token: str | None) -> Claims:
        return self._started().judge(token)

    def verify(self, token: str | None) -> Claims:
        """Like `judge`, but blocks for up to `patience` while it is unavailable."""
        verifier = self._started()
        try:
            return verifier.judge(token)
        except Unavailable:
            return asyncio.run_coroutine_threadsafe(verifier.verify(token), self._loop).result()

    def status(self) -> Status:
        return self._started().status()
