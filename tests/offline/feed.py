"""A feed as small as can be that keeps to the contract, until a test has it do otherwise.

It imports nothing of the service, nor of a verifier: what it answers is what the contract says.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests import signing
from tests.conftest import DATABASE_ID, NOW

CLIENT_KEY = "ck_of_the_verifier"
WAIT_SECONDS = 15
MARGIN_SECONDS = 70
"""Beyond the life of a token, for leeway and clocks that differ."""


@dataclass
class Exchange:
    """A poll and its answer. A test changes that before it is written; `delay` is in seconds, and
    one that `is_cut` ends in the middle. `came` is by a steady clock."""

    query: dict[str, str]
    nonce: str
    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    came: float
    delay: float = 0
    is_cut: bool = False
    is_honest: bool = True


Twist = Callable[[Exchange], None]


def honest(exchange: Exchange) -> None:
    """The answer as it is."""


@dataclass
class Seen:
    """A request that came, at what time by a steady clock."""

    path: str
    at: float
    query: dict[str, str] = field(default_factory=dict)


class Feed:
    """What it answers from is open to the test: call `news` after a change."""

    def __init__(self, keys: Sequence[signing.Key]) -> None:
        self.keys = list(keys)
        self.database_id, self.run = DATABASE_ID, "run1"
        self.in_force = [kid_of(key) for key in keys]
        self.ended: list[tuple[str, float]] = []
        self.purged_until = NOW - 1000
        self.keep, self.lease, self.read_age = 900.0 + MARGIN_SECONDS, 1.5, 0.0
        self.page_length, self.longest_wait = 1000, 5.0
        self.twist: Twist = honest
        self.login: tuple[int, dict[str, Any]] = (200, {"expires_in": 900})
        self.keys_status = 200
        self.token_number = 0
        self.seen: list[Seen] = []
        self.exchanges: list[Exchange] = []
        self.url = ""
        self._told: list[str] = []
        self._news = threading.Condition()

    def end(self, *ids: str, when: float = NOW) -> None:
        with self._news:
            self.ended += [(each, when) for each in ids]
            self._news.notify_all()

    def news(self) -> None:
        with self._news:
            self._news.notify_all()

    def hasten(self) -> None:
        """Verifiers with a lease of their own ask every 0.1 s or so from now on."""
        self.lease = 0.2

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.public | {"kid": kid_of(key)} for key in self.keys]}

    def count(self, path: str) -> int:
        return sum(each.path == path for each in self.seen)

    def wait_for(self, path: str, more: int = 1) -> None:
        """Until so many more requests for it have come."""
        goal, give_up = self.count(path) + more, time.monotonic() + WAIT_SECONDS
        while self.count(path) < goal:
            assert time.monotonic() < give_up, f"no {path}"
            time.sleep(0.005)

    def good_until(self) -> float:
        """By a steady clock: no verifier may accept anything after, if each has asked by itself."""
        ends: list[float] = [
            each.came + each.body["fresh_for"]
            for each in self.exchanges
            if each.is_honest and "fresh_for" in each.body
        ]
        return max(ends)

    def poll(self, query: dict[str, str], nonce: str) -> Exchange:
        came = time.monotonic()
        headers = {"X-Request-ID": nonce, "Cache-Control": "no-store"}
        after = query.get("after", f"{self.database_id}-")
        database_id, _, position = after.partition("-")
        run, _, number = position.partition(".")
        known = int(number) if run == self.run else 0
        with self._news:
            self._news.wait_for(
                lambda: (
                    len(self.ended) > known
                    or self._told != self.in_force
                    or self.database_id != database_id
                ),
                min(float(query.get("wait", 0)), self.longest_wait),
            )
            if database_id != self.database_id:
                return Exchange(query, nonce, 410, {"error": "unknown_cursor"}, headers, came)
            page = self.ended[known : known + self.page_length]
            body: dict[str, Any] = {
                "revoked": dict(page),
                "keys": list(self.in_force),
                "purged_until": self.purged_until,
                "cursor": f"{self.database_id}-{self.run}.{known + len(page)}",
                "keep": self.keep,
                "lease": self.lease,
            }
            self._told = list(self.in_force)
            if known + len(page) == len(self.ended):
                read_at = time.monotonic() - self.read_age
                body["fresh_for"] = self.lease + read_at - came
        return Exchange(query, nonce, 200, body, headers, came)


def kid_of(key: signing.Key) -> str:
    return f"{key.public['kid']}.{DATABASE_ID}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    feed: Feed

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body == {"client_key": CLIENT_KEY, "scope": "revocations:read"}
        self.feed.seen.append(Seen(self.path, time.monotonic()))
        self.feed.token_number += 1
        status, answer = self.feed.login
        self.write(status, answer | {"access_token": f"token-{self.feed.token_number}"})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.feed.seen.append(Seen(parts.path, time.monotonic(), query))
        if parts.path == "/.well-known/jwks.json":
            self.write(self.feed.keys_status, self.feed.jwks())
            return
        if self.headers["Authorization"] != f"Bearer token-{self.feed.token_number}":
            headers = {"X-Request-ID": self.nonce}
            error = {"error": "invalid_token"}
            exchange = Exchange(query, self.nonce, 401, error, headers, time.monotonic())
        else:
            exchange = self.feed.poll(query, self.nonce)
        exchange.is_honest = self.feed.twist is honest
        self.feed.twist(exchange)
        self.feed.exchanges.append(exchange)
        time.sleep(exchange.delay)
        self.write(exchange.status, exchange.body, exchange.headers, exchange.is_cut)

    @property
    def nonce(self) -> str:
        nonce: str = self.headers["X-Request-ID"]
        assert len(nonce) >= 16
        return nonce

    def write(
        self, status: int, body: Any, headers: dict[str, str] | None = None, is_cut: bool = False
    ) -> None:
        content = json.dumps(body).encode()
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        except OSError:  # who asked has gone
            self.close_connection = True
        self.close_connection = self.close_connection or is_cut


@contextmanager
def serve_feed(*keys: signing.Key, feed: Feed | None = None) -> Iterator[Feed]:
    """One with these keys, or a feed of another kind."""
    feed = feed or Feed(keys)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisFeed", (Handler,), {"feed": feed}))
    server.daemon_threads = True
    feed.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield feed
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
