"""For services without an event loop, as by Flask and Django: the polling has a thread."""

import asyncio
import os
from functools import partial
from threading import Lock, Thread
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
        self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> Verifier:
        if self._pid != os.getpid():
            with self._starting:
                if self._pid != os.getpid():
                    self._start()
        return self._verifier

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="auth-api-verifier", daemon=True)
        self._thread.start()
        self._verifier = self._make()
        asyncio.run_coroutine_threadsafe(self._verifier.start(), self._loop).result()
        self._pid = os.getpid()

    def close(self) -> None:
        """End the thread. Whoever judges after that starts it anew."""
        with self._starting:
            if self._pid == os.getpid():
                self._pid = 0
                closing = asyncio.run_coroutine_threadsafe(self._verifier.close(), self._loop)
                closing.result(STOP_SECONDS)
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join(STOP_SECONDS)
                self._loop.close()

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
