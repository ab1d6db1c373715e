"""What a worker may bear beside the load: routes, idle connections, polls that are held."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import scale_rows as rows
import wrk
from feed_polls import WAIT_SECONDS, Pollers
from scale_subjects import Subject
from service import Service, Void
from wrk import Call

from authapi.credentials.claims import Claims, new_id
from authapi.credentials.tokens import ACCESS
from tests.faults.loads import going_on

ROUTES = 100
CONNECTIONS = 1_000
"""As many as a worker keeps; those of the load are among them."""
POLLS = 300
MODULE = f"""
from authapi.extending import Answer, Endpoint, authenticated

@authenticated
async def report(request):
    return Answer({{"message": "This is what the token opens.", "user_id": request.user.identity}})

routes = [Endpoint(f"/reports/{{number}}", report) for number in range({ROUTES})]
"""


@contextmanager
def nothing(service: Service, subject: Subject) -> Iterator[None]:
    yield


@contextmanager
def idle_connections(service: Service, subject: Subject) -> Iterator[None]:
    """They are closed by the service after 10 seconds, which is longer than a load takes."""
    with ExitStack() as stack:
        for _ in range(CONNECTIONS - wrk.CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        yield


@contextmanager
def held_polls(service: Service, subject: Subject) -> Iterator[None]:
    """Raises `Void` at the end if a poll was not answered as it must be."""
    pollers, over = Pollers(f"http://127.0.0.1:{service.port}"), threading.Event()
    token = _token_of_feed(subject.callers[0])
    polling = threading.Thread(target=lambda: asyncio.run(_poll_until(over, pollers, token)))
    polling.start()
    time.sleep(2 * WAIT_SECONDS)  # until each is held
    try:
        yield
    finally:
        over.set()
        polling.join()
    if pollers.statuses.keys() != {200}:
        raise Void(f"the polls were answered {pollers.statuses}")


async def _poll_until(over: threading.Event, pollers: Pollers, token: str) -> None:
    async with going_on(pollers.poll(token) for _ in range(POLLS)):
        while not over.is_set():  # noqa: ASYNC110, it is of another thread
            await asyncio.sleep(0.1)
    await pollers.close()


def _token_of_feed(caller: rows.Caller) -> str:
    now = int(time.time())
    ids = caller.id, new_id(), new_id(), caller.key_id
    exp = now + rows.ACCESS_SECONDS
    claims = Claims(*ids, "revocations:read", 0, now, exp, rows.DATABASE_ID)
    return rows.make_tokens().issue(ACCESS, claims)


@dataclass(frozen=True)
class Burden:
    """`check` is the protected call that is measured in place of `/secure-data`."""

    bear: Callable[[Service, Subject], AbstractContextManager[None]] = nothing
    settings: tuple[tuple[str, str], ...] = ()
    check: Call = wrk.SECURE_DATA


BURDENS = {
    "": Burden(),
    f"{ROUTES} routes, the last of them": Burden(
        settings=(("ROUTES", "reports:routes"),), check=Call("GET", f"/reports/{ROUTES - 1}")
    ),
    f"{CONNECTIONS:,} connections, all but {wrk.CONNECTIONS} idle": Burden(idle_connections),
    f"{POLLS} held polls of the feed": Burden(held_polls),
}
