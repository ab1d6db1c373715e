"""Polls of the feed, as verifiers elsewhere send them."""

import asyncio
import random

from auth_api_verifier.verifier import MAX_RETRY_SECONDS, PAUSE_SECONDS, RETRY_SECONDS

from tests.faults.client import Node
from tests.faults.history import UNANSWERED

WAIT_SECONDS = 0.75
"""Half of the lease, as a verifier waits."""


class Pollers:
    """Each asks again when it is answered, and later where it is refused, as a verifier does, and
    counts the answers."""

    def __init__(self, url: str) -> None:
        self.node = Node("feed", url)
        self.statuses: dict[int, int] = {}

    async def poll(self, token: str) -> None:
        head = f"Host: test\r\nAuthorization: Bearer {token}\r\n\r\n"
        after = ""
        connection, retry = None, RETRY_SECONDS
        while True:
            wait = WAIT_SECONDS * random.uniform(0.8, 1)  # noqa: S311, it need not be secret
            query = f"?after={after}&wait={wait:.3f}" if after else ""
            asked = f"GET /revocations{query} HTTP/1.1\r\n{head}"
            try:
                connection = connection or await self.node.connect()
                status, _, body = await connection.ask(asked.encode())
            except (OSError, EOFError):  # the worker has closed what is beyond its connections
                status, body, connection = UNANSWERED, {}, None
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 200:
                after, retry = body["cursor"], RETRY_SECONDS
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                await asyncio.sleep(retry * random.uniform(0.5, 1.5))  # noqa: S311
                retry = min(MAX_RETRY_SECONDS, 2 * retry)

    async def close(self) -> None:
        await self.node.close()
