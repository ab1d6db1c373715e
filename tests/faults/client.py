"""Callers of the service: many at once, each request to a node of one's choice, all on record."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from tests.faults.history import EVERY_NODE, HUNG_UP, UNANSWERED, Event, Operation
from tests.forge import claims_of

ANSWER_SECONDS = 30
IDLE_SECONDS = 3  # uvicorn closes what is idle for 5
READY_SECONDS = 30


class Connection:
    """One that is kept alive. What fails on it is an `OSError` or an `EOFError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._used_at = time.monotonic()
        self.local_port: int = writer.get_extra_info("sockname")[1]

    @property
    def is_usable(self) -> bool:
        is_idle = time.monotonic() - self._used_at > IDLE_SECONDS
        return not (is_idle or self._writer.is_closing() or self._reader.at_eof())

    async def ask(self, request: bytes) -> tuple[int, bytes, Any]:
        """The status, the head and the body of the answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)
        assert length is not None, head
        body = json.loads(await self._reader.readexactly(int(length[1])))
        self._used_at = time.monotonic()
        return int(head[9:12]), head.lower(), body

    def close(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        with suppress(OSError):
            await self._writer.wait_closed()


class Node:
    """A server with one process. Keeps its connections."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        address = urlsplit(url)
        self.host, self.port = str(address.hostname), int(address.port or 0)
        self.idle: list[Connection] = []
        self._opened: list[Connection] = []

    async def connect(self) -> Connection:
        connection = Connection(*await asyncio.open_connection(self.host, self.port))
        self._opened.append(connection)
        return connection

    async def another(self) -> Connection:
        return await self.connect()

    async def ask(
        self, method: str, path: str, token: str = "", payload: dict[str, Any] | None = None
    ) -> tuple[int, bytes, Any]:
        request = encode(method, path, token, payload)
        connection = None
        while self.idle:
            kept = self.idle.pop()
            if kept.is_usable:
                connection = kept
                break
            kept.close()
        connection = connection or await self.another()
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        self.idle.append(connection)
        return answer

    async def close(self) -> None:
        for connection in self._opened:
            connection.close()
        await asyncio.gather(*(connection.closed() for connection in self._opened))
        self._opened.clear()
        self.idle.clear()


class SharedPort:
    """A server with several workers. The system tells which of them has a connection."""

    def __init__(self, url: str, workers: Sequence[int]) -> None:
        self.nodes = [Worker(f"worker {pid}", url, pid, self) for pid in workers]
        self._turn = asyncio.Lock()

    async def open_for(self, wanted: "Worker") -> Connection:
        give_up = time.monotonic() + ANSWER_SECONDS
        while not wanted.idle:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{wanted.name} takes no connection")
            async with self._turn:
                if not wanted.idle:
                    await self._open(64)
        return wanted.idle.pop()

    async def _open(self, count: int) -> None:
        opened = await asyncio.gather(*(wanted.connect() for wanted in self.nodes[:1] * count))
        # Once it has been answered, a worker has surely taken it.
        await asyncio.gather(*(each.ask(encode("GET", "/healthz")) for each in opened))
        by_port = {connection.local_port: connection for connection in opened}
        for node in self.nodes:
            for at in connections_of(node.pid):
                if at.raddr and at.laddr.port == node.port and at.raddr.port in by_port:
                    node.idle.append(by_port.pop(at.raddr.port))
        for connection in by_port.values():
            connection.close()


class Worker(Node):
    """One process of a server that has several."""

    def __init__(self, name: str, url: str, pid: int, shared: SharedPort) -> None:
        super().__init__(name, url)
        self.pid = pid
        self._shared = shared

    async def another(self) -> Connection:
        return await self._shared.open_for(self)


def connections_of(pid: int) -> list[Any]:
    try:
        return list(psutil.Process(pid).net_connections("tcp"))
    except psutil.Error:
        raise ConnectionError(f"worker {pid} is gone") from None


def encode(method: str, path: str, token: str = "", payload: dict[str, Any] | None = None) -> bytes:
    body = b"" if payload is None else json.dumps(payload).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


async def in_turn(places: asyncio.Semaphore, calls: Iterable[Coroutine[Any, Any, object]]) -> None:
    """All of them, and no more at once than there are places: a node closes what is beyond its
    thousand connections."""

    async def wait_for(call: Coroutine[Any, Any, object]) -> None:
        async with places:
            await call

    await asyncio.gather(*map(wait_for, calls))


@dataclass
class Client:
    """A registered client of the service."""

    name: str
    key: str

    @property
    def key_id(self) -> str:
        return self.key.split("_")[1]


@dataclass
class Session:
    """What its owner holds. The last refresh token is the newest."""

    client: Client
    id: str
    access: str
    refresh: list[str] = field(default_factory=list)


class Recorder:
    """Asks nodes, and records what was asked and answered. As a context it closes them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.sessions: list[Session] = []
        self._nodes: set[Node] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for node in self._nodes:
            await node.close()
        self._nodes.clear()

    def count(self, *statuses: int, operation: Operation | None = None, node: str = "") -> int:
        return sum(
            event.status in statuses
            and operation in (None, event.operation)
            and node in (EVERY_NODE, event.node)
            for event in self.events
        )

    async def login(self, node: Node, client: Client) -> Session | None:
        event, body = await self._ask(
            node, "login", "POST", "/login", client.name, payload={"client_key": client.key}
        )
        event = replace(event, key=client.key_id)
        session = None
        if event.status == 200:
            sid = claims_of(body["access_token"])["sid"]
            event = replace(event, session=sid)
            session = Session(client, sid, body["access_token"], [body["refresh_token"]])
            self.sessions.append(session)
        self.events.append(event)
        return session

    async def begin(self, node: Node, client: Client) -> Session:
        """A login where nothing stands in its way."""
        session = await self.login(node, client)
        assert session is not None, self.events[-1]
        return session

    async def use(self, node: Node, session: Session, path: str = "/secure-data") -> int:
        event, _ = await self._ask(
            node, "use", "GET", path, session.client.name, session.id, session.access
        )
        self.events.append(event)
        return event.status

    async def refresh(self, node: Node, session: Session, token: str | None = None) -> int:
        token = token or session.refresh[-1]
        event, body = await self._ask(
            node,
            "refresh",
            "POST",
            "/refresh-token",
            session.client.name,
            session.id,
            payload={"refresh_token": token},
            token_id=claims_of(token)["jti"],
        )
        successor = ""
        if event.status == 200:
            claims = claims_of(body["refresh_token"])
            # A token of another session is the worst of successors.
            successor = claims["jti"] if claims["sid"] == session.id else token
            session.access = body["access_token"]
            if token == session.refresh[-1]:
                session.refresh.append(body["refresh_token"])
        self.events.append(replace(event, successor=successor))
        return event.status

    async def logout(
        self, node: Node, session: Session, everywhere: bool = False, is_strict: bool = False
    ) -> int:
        """If it `is_strict`, it is answered when no verifier elsewhere accepts the token."""
        asked = {"everywhere": everywhere, "verifiers": is_strict}
        event, _ = await self._ask(
            node,
            "everywhere" if everywhere else "logout",
            "POST",
            "/logout",
            session.client.name,
            session.id,
            session.access,
            {name: True for name, is_asked in asked.items() if is_asked} or None,
        )
        self.events.append(replace(event, is_strict=is_strict))
        return event.status

    async def revoke(self, node: Node, session: Session, token: str) -> int:
        """As a standard client logs out, by either token of the session (RFC 7009)."""
        event, _ = await self._ask_as_client(node, "logout", "/oauth/revoke", session, token)
        self.events.append(event)
        return event.status

    async def introspect(self, node: Node, session: Session) -> int:
        """A use by an API that asks (RFC 7662): what is not active was refused."""
        event, body = await self._ask_as_client(
            node, "use", "/oauth/introspect", session, session.access
        )
        if event.status == 200 and not body["active"]:
            event = replace(event, status=401)
        self.events.append(event)
        return event.status

    async def _ask_as_client(
        self, node: Node, operation: Operation, path: str, session: Session, token: str
    ) -> tuple[Event, Any]:
        client_id = claims_of(session.access)["sub"]
        shown = {"client_id": client_id, "client_secret": session.client.key, "token": token}
        return await self._ask(
            node, operation, "POST", path, session.client.name, session.id, payload=shown
        )

    async def _ask(
        self,
        node: Node,
        operation: Operation,
        method: str,
        path: str,
        client: str,
        session: str = "",
        token: str = "",
        payload: dict[str, Any] | None = None,
        token_id: str = "",
    ) -> tuple[Event, Any]:
        self._nodes.add(node)
        status, head, body = UNANSWERED, b"", None
        start = time.monotonic()

        def event() -> Event:
            return Event(
                start,
                time.monotonic(),
                node.name,
                operation,
                status,
                client,
                session,
                token_id,
                has_retry_after=b"\r\nretry-after:" in head,
            )

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, head, body = await node.ask(method, path, token, payload)
        except (OSError, EOFError):
            pass  # a kill, or a fault that the judge sees
        except asyncio.CancelledError:
            status = HUNG_UP
            self.events.append(event())
            raise
        return event(), body

    @asynccontextmanager
    async def noting(self, operation: Operation, node: str = EVERY_NODE) -> AsyncIterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.note(operation, start, node)

    def note(
        self,
        operation: Operation,
        start: float,
        node: str = EVERY_NODE,
        status: int = 200,
        client: str = "",
        key: str = "",
    ) -> None:
        """What is no request, and is over now."""
        event = Event(start, time.monotonic(), node, operation, status, client, key=key)
        self.events.append(event)

    async def wait_until_ready(self, *nodes: Node) -> None:
        give_up = time.monotonic() + READY_SECONDS
        for node in nodes:
            self._nodes.add(node)
            status = UNANSWERED
            while status != 200:
                assert time.monotonic() < give_up, f"{node.name} did not recover: {status}"
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        status, *_ = await node.ask("GET", "/readyz")
                except (OSError, EOFError):
                    status = UNANSWERED
                if status != 200:
                    await asyncio.sleep(0.02)
