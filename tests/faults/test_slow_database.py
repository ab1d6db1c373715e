"""PostgreSQL answers slowly, or not at all: whoever asks is answered in time all the same."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from authapi.credentials.client_keys import new_client_key
from authapi.engines.database import Database
from authapi.store import revocations as endings
from authapi.store.following import Follower
from authapi.store.revocations import Ending
from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.services import Cluster, register, scaled, serve_cluster
from tests.postgres import Postgres

ANSWER_SECONDS = 3.0
READY_SECONDS = 2.0
HELD_UP_SECONDS = 2.0
"""By so much a busy machine may hold up every request, as `/healthz` tells, which asks nothing."""
OUTAGE_SECONDS = scaled(5, 30)
"""Longer than a call may take, so that a second one comes upon what the first has left behind."""
CALLERS = 4
"""For each thing that can be asked, on the node: together more than it has connections."""
ENDED = scaled(2000, 20_000)
KINDS = (
    "secure-data",
    "me",
    "refresh",
    "logout",
    "logout everywhere",
    "login",
    "login of a stranger",
    "readyz",
    "healthz",
)
LOCK = "LOCK TABLE revoked_jtis, clients, client_keys, identity IN ACCESS EXCLUSIVE MODE"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres_files: Path) -> Iterator[Cluster]:
    """Of one node."""
    folder = tmp_path_factory.mktemp("slow")
    with serve_cluster(folder, postgres_files, ["postgres"]) as cluster:
        yield cluster


@contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    with cluster.postgres.frozen():
        yield


@contextmanager
def cut_off(cluster: Cluster) -> Iterator[None]:
    """Without a reset: as when a cable is drawn, or a firewall forgets."""
    cluster.proxy.cut()
    try:
        yield
    finally:
        cluster.proxy.mend()


@contextmanager
def locked(cluster: Cluster) -> Iterator[None]:
    """As by a change of the schema, or a dump of another tool."""
    with cluster.postgres.holding(cluster.url, LOCK):
        yield


@asynccontextmanager
async def in_thread(context: AbstractContextManager[None]) -> AsyncIterator[None]:
    await asyncio.to_thread(context.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@dataclass
class Watch:
    """How long each kind of call took, at most, and what came."""

    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    async def time(self, kind: str, call: Coroutine[Any, Any, int]) -> None:
        start = time.monotonic()
        status = await call
        self.longest[kind] = max(self.longest[kind], time.monotonic() - start)
        self.statuses[kind].add(status)


@dataclass
class Caller:
    """Asks a node for one kind of thing after the other."""

    recorder: Recorder
    node: Node
    client: Client
    stranger: str = field(default_factory=lambda: new_client_key().text)
    sessions: dict[str, list[Session]] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)

    async def begin(self) -> None:
        for kind in KINDS:
            # One that may be ended is not used for anything else.
            count = 10 * CALLERS if kind.startswith("logout") else 1
            self.sessions[kind] = [
                await self.recorder.begin(self.node, self.client) for _ in range(count)
            ]

    async def go_on(self, kind: str, until: float) -> None:
        while time.monotonic() < until:
            await self.watch.time(kind, self._call(kind))
            await asyncio.sleep(0.01)

    async def _call(self, kind: str) -> int:
        recorder, node = self.recorder, self.node
        session = self.sessions[kind][0]
        if kind.startswith("logout"):
            if len(self.sessions[kind]) > 1:  # the last is logged out again, which is as good
                self.sessions[kind].remove(session)
            return await recorder.logout(node, session, everywhere=kind.endswith("everywhere"))
        if kind == "refresh":
            return await recorder.refresh(node, session)
        if kind == "login":
            begun = await recorder.login(node, self.client)
            return 200 if begun else recorder.events[-1].status
        if kind == "login of a stranger":  # what it is told is no business of the judge
            return (await node.ask("POST", "/login", payload={"client_key": self.stranger}))[0]
        if kind in ("readyz", "healthz"):
            return (await node.ask("GET", f"/{kind}"))[0]
        return await recorder.use(node, session, f"/{kind}")


@pytest.mark.parametrize("trouble", [frozen, cut_off, locked])
def test_whatever_the_database_does_every_call_is_answered_in_time(
    cluster: Cluster, judge: Judge, trouble: Callable[[Cluster], AbstractContextManager[None]]
) -> None:
    (client,) = cluster.service.register(trouble.__name__)
    recorder, watch = Recorder(), Watch()

    async def act() -> None:
        (node,) = cluster.service.nodes()
        async with recorder:
            caller = Caller(recorder, node, client, watch=watch)
            await caller.begin()
            async with recorder.noting("trouble"):
                async with in_thread(trouble(cluster)):
                    until = time.monotonic() + OUTAGE_SECONDS
                    await asyncio.gather(
                        *(caller.go_on(kind, until) for kind in KINDS for _ in range(CALLERS))
                    )
                await recorder.wait_until_ready(node)
            new = await recorder.begin(node, client)
            assert await recorder.use(node, new) == 200
            assert await recorder.refresh(node, new) == 200
            assert await recorder.logout(node, new) == 200
            assert await recorder.use(node, new) == 401

    asyncio.run(act())
    longest = watch.longest
    figures = {kind.replace(" ", "_"): round(1000 * took) for kind, took in longest.items()}
    judge(recorder, [cluster.service], **figures)
    assert watch.statuses.pop("healthz") == {200}
    assert all(503 in statuses for statuses in watch.statuses.values()), watch.statuses
    held_up = longest.pop("healthz")
    assert held_up < HELD_UP_SECONDS, figures
    assert longest.pop("readyz") < READY_SECONDS + held_up, figures
    assert max(longest.values()) < ANSWER_SECONDS + held_up, figures


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auth-api'"
    " AND wait_event_type = 'Lock'"
)


def test_who_has_given_up_leaves_nothing_that_waits_on_the_server(
    cluster: Cluster, judge: Judge
) -> None:
    """Else a lock that is held for 20 seconds takes every connection that PostgreSQL has, and
    from everybody in the cluster: a server that waits for a lock does not see its client go."""
    (client,) = cluster.service.register("given-up")
    recorder = Recorder()

    def waiting() -> int:
        ((count,),) = cluster.postgres.execute(WAITING)
        assert isinstance(count, int)
        return count

    async def act() -> None:
        (node,) = cluster.service.nodes()
        async with recorder:
            session = await recorder.begin(node, client)
            async with recorder.noting("trouble"):
                async with in_thread(locked(cluster)):
                    for _ in range(2):
                        await asyncio.gather(*(recorder.refresh(node, session) for _ in range(8)))
                    # Those of the polls, which go on.
                    few = partial(cluster.postgres.wait_until, lambda: waiting() <= 2, 10)
                    await asyncio.to_thread(few)
                await recorder.wait_until_ready(node)
            await recorder.use(node, await recorder.begin(node, client))

    asyncio.run(act())
    judge(recorder, [cluster.service])


@asynccontextmanager
async def forgotten(postgres: Postgres, database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        user="postgres", database=database, host=str(postgres.socket_folder)
    )
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT pg_current_xact_id()")
        yield connection
    finally:
        await connection.close()


def test_a_transaction_that_is_left_open_anywhere_makes_no_poll_read_anything_twice(
    postgres: Postgres,
) -> None:
    """In another database of the cluster, and in ours, from where it may still be committed."""
    url, now = postgres.new_database(), int(time.time())
    register(url)

    async def end(database: Database, name: str) -> None:
        ending = Ending(name, "logged_out", now, 900, 3600)
        await endings.end_session(database, ending)

    async def read(follower: Follower) -> list[str]:
        return [ended.jti for ended in (await follower.read(now - 60)).ended]

    async def act() -> None:
        async with (
            Database(url) as database,
            forgotten(postgres, "postgres"),
            forgotten(postgres, str(database.url.database)) as late,
        ):
            await late.execute(INSERT_ROW, "late", now, now + 900)
            follower = Follower(database)
            assert await read(follower) == []
            names = [f"session-{number}" for number in range(ENDED)]
            for start in range(0, ENDED, 200):
                await asyncio.gather(*(end(database, name) for name in names[start:][:200]))
                some = await read(follower)
                assert sorted(some) == sorted(names[start:][:200])
            for _ in range(5):
                assert await read(follower) == []
            await late.execute("COMMIT")
            assert await read(follower) == ["late"]
            await end(database, "last")
            assert await read(follower) == ["last"]
            assert await read(follower) == []

    asyncio.run(act())


INSERT_ROW = """
INSERT INTO revoked_jtis (jti, reason, revoked_at, access_expires_at, expires_at, commit_order)
VALUES ($1, 'logged_out', $2, $3, $3, CAST(CAST(pg_current_xact_id() AS text) AS bigint))
"""


def test_rows_that_were_restored_with_numbers_of_the_future_are_read_once(
    postgres: Postgres,
) -> None:
    url, now = postgres.new_database(), int(time.time())
    register(url)

    async def act() -> None:
        async with Database(url) as database:
            for number in range(20):
                ending = Ending(f"restored-{number}", "logged_out", now, 900, 3600)
                await endings.end_session(database, ending)
            # A dump knows nothing of numbers, and the new cluster's begin below them.
            await database.fetch_all(
                "UPDATE revoked_jtis SET commit_order = commit_order + 1000000000"
            )
            follower = Follower(database)
            assert len((await follower.read(now - 60)).ended) == 20
            for number in range(5):
                ending = Ending(f"new-{number}", "logged_out", now, 900, 3600)
                await endings.end_session(database, ending)
                reading = await follower.read(now - 60)
                assert not reading.is_whole
                assert [ended.jti for ended in reading.ended] == [f"new-{number}"]

    asyncio.run(act())
