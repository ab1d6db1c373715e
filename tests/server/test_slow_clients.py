"""Whoever is slow, silent or too loud costs the others nothing: a real process, real sockets."""

import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import httpx
import psutil
import pytest

from authapi.server.limits import LIMITS, Limits
from tests.checks import assert_answer
from tests.limiting import limited
from tests.serving import Served, create_client, serve

SLOW = 500
FLOOD = 10_000
MEGABYTE = 1_000_000
MAX_GROWTH_BYTES = 20 * 1024 * 1024
HONEST_SECONDS = 2.0
"""A busy machine may hold up one request for so long. The slow would hold it up until they go."""
CROWDED = Limits(connections=20, wait_seconds=60)
CROWDED_SECONDS = 10.0
"""The same where they do not go by themselves: a machine may be busier yet."""
USUAL_SECONDS = 1.0
GIVE_UP_SECONDS = 12.0
GONE_SECONDS = 8.0
"""Sooner than who hangs is closed for just that."""
QUICK = Limits(wait_seconds=3.0, check_seconds=0.1)
"""So short that a test need not wait for long; uvicorn itself closes what is idle after 5."""
FILES = 4_096


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_HEAD = GET[:-2]
HALF_BODY = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
UNREAD = GET * 50


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    """Let this process, and the services that it starts, open as many connections as we need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = replace(QUICK, wait_seconds=1.0)
    with limited(tmp_path_factory.mktemp("impatient"), limits) as served:
        yield served


class Crowd:
    """Connections of strangers."""

    def __init__(self, served: Served) -> None:
        self._address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        self._stack = ExitStack()
        self.members: list[socket.socket] = []

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def join(self, sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        member = self._stack.enter_context(socket.socket())
        member.settimeout(GIVE_UP_SECONDS)
        if receive_buffer:
            member.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        member.connect(self._address)
        self.members.append(member)
        say(member, sent)
        return member


def say(member: socket.socket, what: bytes) -> None:
    """Send it, or as much as is taken."""
    member.setblocking(False)
    try:
        member.send(what)
    except (ConnectionError, BlockingIOError):
        pass
    member.settimeout(GIVE_UP_SECONDS)


def hear(member: socket.socket) -> bytes:
    """All that comes until the service closes."""
    heard = b""
    try:
        while data := member.recv(65536):
            heard += data
    except ConnectionError:
        pass
    return heard


def is_open(member: socket.socket) -> bool:
    member.setblocking(False)
    try:
        return bool(member.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        member.settimeout(GIVE_UP_SECONDS)


def connections_of(served: Served) -> int:
    """How many the service holds, whatever their clients know of it."""
    found = psutil.Process(served.process.pid).net_connections("tcp")
    return sum(bool(connection.raddr) for connection in found)


def wait_for_connections(served: Served, count: int) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while connections_of(served) < count:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def memory_of(served: Served) -> int:
    memory: int = psutil.Process(served.process.pid).memory_info().rss
    return memory


def ask_honestly(served: Served) -> float:
    """How long it takes on a connection of its own, with all that a connection costs."""
    # Without the certificates, which take longer than the request and are not asked for.
    with httpx.Client(timeout=GIVE_UP_SECONDS, verify=False) as client:
        begun = time.monotonic()
        assert_answer(client.get(f"{served.url}/readyz"), 200)
        return time.monotonic() - begun


def assert_honest_is_served(served: Served, within: float = CROWDED_SECONDS) -> None:
    assert ask_honestly(served) < within


def wait_until_alone(served: Served, meanwhile: Callable[[], None] = lambda: None) -> list[float]:
    """Until the service holds no connection, an honest client being served all the while.

    Returns how long each of its requests took.
    """
    give_up = time.monotonic() + GIVE_UP_SECONDS
    honest: list[float] = []
    while left := connections_of(served):
        assert time.monotonic() < give_up, f"{left} are still there"
        honest.append(ask_honestly(served))
        meanwhile()
        time.sleep(0.1)
    return honest


def test_five_hundred_slow_connections_cost_an_honest_client_nothing_and_are_closed(
    tmp_path: Path,
) -> None:
    with limited(tmp_path, QUICK) as served:
        with Crowd(served) as crowd:
            tricklers = []
            for _ in range(SLOW // 5):
                crowd.join()
                crowd.join(HALF_HEAD)
                tricklers.append(crowd.join(HALF_HEAD + b"A: "))
                crowd.join(HALF_BODY)
            silent = list(crowd.members)
            assert_honest_is_served(served, HONEST_SECONDS)
            assert connections_of(served) >= len(silent)
            for _ in range(SLOW // 5):
                crowd.join(UNREAD, receive_buffer=2048)
            assert len(crowd.members) == SLOW

            def trickle() -> None:
                for member in tricklers:
                    say(member, b"a")

            # One may come behind the 5,000 requests of those who do not read.
            assert median(wait_until_alone(served, trickle)) < USUAL_SECONDS
            for member in silent:
                heard = hear(member)
                assert heard == b"" or heard.startswith(b"HTTP/1.1 408 "), heard
        assert "Traceback" not in served.console
        assert "warning" not in served.console


@pytest.mark.parametrize(
    ("begin", "go_on"),
    [
        pytest.param(GET, b"\r\n", id="empty lines after an answer"),
        pytest.param(GET[:-2] + b"Content-Length: 1\r\n\r\n", b"x", id="a body after an answer"),
        pytest.param(GET, b"", id="nothing after an answer"),
        pytest.param(HALF_BODY[:-1], b"x", id="a body now and then"),
        pytest.param(b"", b"\r\n", id="empty lines from the start"),
        pytest.param(GET * 2_000, b"", id="answers that nobody reads"),
    ],
)
def test_a_connection_is_given_no_more_time_for_what_it_sends(
    impatient: Served, begin: bytes, go_on: bytes
) -> None:
    """What comes between two requests is as good a way to stay as what comes inside of one."""
    with Crowd(impatient) as crowd:
        for _ in range(5):
            crowd.join(begin, receive_buffer=2048)
        time.sleep(0.1)
        for member in crowd.members:
            say(member, go_on)
        wait_until_alone(impatient)


def test_who_has_kept_us_waiting_for_the_longest_makes_room(tmp_path: Path) -> None:
    with limited(tmp_path, CROWDED) as served, Crowd(served) as crowd:
        for number, sent in enumerate(islice(cycle([b"", HALF_HEAD, HALF_BODY]), 20), 1):
            crowd.join(sent)
            wait_for_connections(served, number)
            time.sleep(0.005)  # or two would begin to wait in the same tick
        assert all(is_open(member) for member in crowd.members)
        assert_honest_is_served(served)
        assert [is_open(member) for member in crowd.members[:3]] == [False, True, True]
        for _ in range(40):
            crowd.join()
            assert_honest_is_served(served)
        assert connections_of(served) <= 20
        assert not any(is_open(member) for member in crowd.members[:40])


def test_connections_that_were_answered_and_then_idle_make_room_too(tmp_path: Path) -> None:
    """They are the cheapest for a stranger to keep: a small request now and then."""
    with limited(tmp_path, CROWDED) as served, Crowd(served) as crowd:
        for _ in range(20):
            assert crowd.join(GET).recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(10):
            assert_honest_is_served(served)


def test_a_burst_of_connections_is_bounded_as_well(tmp_path: Path) -> None:
    with limited(tmp_path, CROWDED) as served, Crowd(served) as crowd:
        served.process.send_signal(signal.SIGSTOP)  # so that it finds all of them at once
        for _ in range(SLOW):
            crowd.join()
        served.process.send_signal(signal.SIGCONT)
        assert_honest_is_served(served)
        assert connections_of(served) <= 20


def send_and_leave(served: Served, what: bytes) -> None:
    with Crowd(served) as crowd:
        member = crowd.join()
        try:
            member.sendall(what)
            if len(what) > MEGABYTE:
                member.recv(65536)
        except ConnectionError:
            pass  # it was refused before its end


def flood(served: Served, requests: int) -> None:
    """Huge heads and bodies, and requests that are left unfinished, from eight at a time."""
    huge = b"x" * MEGABYTE
    post = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    kinds = [
        HALF_HEAD + b"A: " + huge,
        HALF_HEAD,
        post + b"Content-Length: %d\r\n\r\n" % MEGABYTE + huge,
        post + b"Content-Length: 16000\r\n\r\n" + huge[:15_000],
        b"GET /" + huge,
        post + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % MEGABYTE + huge,
        HALF_HEAD + b"A: b\r\n" * 2_000,
        b"",
    ]
    with ThreadPoolExecutor(8) as pool:
        for done in [
            pool.submit(send_and_leave, served, kind) for kind in islice(cycle(kinds), requests)
        ]:
            done.result()


def test_a_flood_leaves_nothing_behind(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        flood(served, FLOOD // 10)  # what is made once, is made now
        assert_honest_is_served(served)
        before = memory_of(served)
        flood(served, FLOOD)
        assert_honest_is_served(served)
        assert memory_of(served) - before < MAX_GROWTH_BYTES
        assert "Traceback" not in served.console
        assert "warning" not in served.console


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_does_not_wait_for_who_hangs(tmp_path: Path, workers: int) -> None:
    environ = {"SECRET_KEY": "s" * 32, "WORKERS": str(workers)}
    create_client(tmp_path, **environ)
    with limited(tmp_path, LIMITS, stop_seconds=1, **environ) as served, Crowd(served) as crowd:
        for sent in (b"", HALF_HEAD, HALF_BODY, GET):
            for _ in range(20):
                crowd.join(sent)
        for _ in range(20):
            crowd.join(UNREAD, receive_buffer=2048)
        assert_honest_is_served(served)
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(timeout=GONE_SECONDS)


def test_a_client_that_hangs_up_or_hangs_is_no_fault_of_ours(tmp_path: Path) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with limited(tmp_path, LIMITS, stop_seconds=1) as served, Crowd(served) as crowd:
        for rest in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with Crowd(served) as leaving:
                leaving.join(head + rest)
        crowd.join(head + b"Content-Length: 100\r\n\r\n{")
        assert_answer(httpx.get(f"{served.url}/healthz"), 200)
        assert "Traceback" not in served.console
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(timeout=GONE_SECONDS)
