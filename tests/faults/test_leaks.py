"""Faults and callers that hang up leave nothing behind: no thread, no connection, no open file."""

import asyncio
import random
import socket
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.faults.client import Client, Node, Recorder, encode
from tests.faults.conftest import Judge
from tests.faults.services import Service, scaled, serve_file, serve_nodes
from tests.postgres import Postgres

AT_ONCE = 60  # more than there are connections to either database
LIMIT_SECONDS = 20
RESET = struct.pack("ii", 1, 0)  # to linger for no time: the caller is gone without a farewell

# A commit fails, and not the statement before it: the fault is found when all is done.
BREAK_SQLITE = """
    CREATE TABLE nobody (id TEXT PRIMARY KEY);
    CREATE TABLE fault (id TEXT REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER fault AFTER INSERT ON revoked_jtis
    BEGIN INSERT INTO fault VALUES (new.jti); END;
"""
MEND_SQLITE = "DROP TRIGGER fault; DROP TABLE fault; DROP TABLE nobody;"
BREAK_POSTGRES = (
    "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$",
    "CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON revoked_jtis"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault()",
)
MEND_POSTGRES = ("DROP TRIGGER fault ON revoked_jtis", "DROP FUNCTION fault()")


@dataclass
class Stage:
    """A server with one process, and what is done to its database."""

    service: Service
    break_commits: Callable[[], None]
    mend_commits: Callable[[], None]
    count_connections: Callable[[], int]

    def held(self) -> dict[str, int]:
        process = psutil.Process(self.service.servers[0].process.pid)
        return {
            "threads": process.num_threads(),
            "files": process.num_fds(),
            "connections": self.count_connections(),
        }


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Stage]:
    file = folder / "auth.db"

    def script(statements: str) -> None:
        with closing(sqlite3.connect(file, timeout=30)) as database:
            database.executescript(statements)

    with serve_file(file, WORKERS="1") as service:
        process = psutil.Process(service.servers[0].process.pid)
        yield Stage(
            service,
            lambda: script(BREAK_SQLITE),
            lambda: script(MEND_SQLITE),
            lambda: sum(opened.path == str(file) for opened in process.open_files()),
        )


@contextmanager
def on_postgres(folder: Path, postgres: Postgres) -> Iterator[Stage]:
    url = postgres.new_database()
    name = url.partition("?")[0].rpartition("/")[2]
    count = (
        "SELECT count(*) FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND application_name = 'auth-api'"
    )

    def script(statements: Sequence[str]) -> None:
        for statement in statements:
            postgres.execute(statement, name)

    with serve_nodes(folder, [url]) as service:
        yield Stage(
            service,
            lambda: script(BREAK_POSTGRES),
            lambda: script(MEND_POSTGRES),
            lambda: int(str(postgres.execute(count)[0][0])),
        )


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    context = (
        on_sqlite(tmp_path)
        if request.param == "SQLite"
        else on_postgres(tmp_path, request.getfixturevalue("postgres"))
    )
    with context as stage:
        yield stage


async def lives(recorder: Recorder, node: Node, client: Client) -> None:
    """Many at once, each of which asks for all that there is."""

    async def life() -> None:
        session = await recorder.begin(node, client)
        for path in ("/secure-data", "/me"):
            assert await recorder.use(node, session, path) == 200
        assert await recorder.refresh(node, session) == 200
        assert await recorder.logout(node, session) == 200
        await recorder.use(node, session)

    await asyncio.gather(*(life() for _ in range(AT_ONCE)))


async def hang_up(node: Node, requests: list[bytes]) -> None:
    """Each at another moment: in the request, while it is worked on, or before the answer."""

    async def ask(request: bytes) -> None:
        _, writer = await asyncio.open_connection(node.host, node.port)
        writer.write(request[: random.choice([len(request), len(request), -5])])
        await asyncio.sleep(random.choice([0, 0.001, 0.005, 0.02]))  # which moment, not until
        if random.random() < 0.5:
            there = writer.get_extra_info("socket")
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    await asyncio.gather(*(ask(request) for request in requests))


async def held_at_rest(stage: Stage) -> dict[str, int]:
    """Once the server has closed what its callers have left."""
    give_up = time.monotonic() + LIMIT_SECONDS
    held: dict[str, int] = {}
    while (now := await asyncio.to_thread(stage.held)) != held:
        assert time.monotonic() < give_up, now
        held = now
        await asyncio.sleep(0.3)
    return held


async def wait_until_released(stage: Stage, before: dict[str, int]) -> None:
    give_up = time.monotonic() + LIMIT_SECONDS
    while True:
        held = await asyncio.to_thread(stage.held)
        if all(held[name] <= before[name] for name in before):
            return
        assert time.monotonic() < give_up, f"{held}, before it was {before}"
        await asyncio.sleep(0.1)


def test_commits_that_fail_and_callers_who_hang_up_leave_nothing_behind(
    stage: Stage, judge: Judge
) -> None:
    service = stage.service
    (client,) = service.register("leaks")
    recorder = Recorder()
    rounds = scaled(5, 100)

    async def fail(node: Node) -> None:
        sessions = [await recorder.begin(node, client) for _ in range(AT_ONCE)]
        async with recorder.noting("trouble"):
            await asyncio.to_thread(stage.break_commits)
            try:
                refused = [
                    *(recorder.logout(node, session) for session in sessions),
                    *(recorder.refresh(node, session) for session in sessions),
                ]
                assert set(await asyncio.gather(*refused)) == {503}
            finally:
                await asyncio.to_thread(stage.mend_commits)
        for session in sessions:
            assert await recorder.use(node, session) == 200

    async def abandon(node: Node) -> None:
        sessions = [await recorder.begin(node, client) for _ in range(10)]
        # Not on record: what became of them is not known, and nobody asks for it.
        await hang_up(
            node,
            [
                request
                for session in sessions
                for request in (
                    encode("GET", "/me", session.access),
                    encode("POST", "/login", "", {"client_key": client.key}),
                    encode("POST", "/refresh-token", "", {"refresh_token": session.refresh[0]}),
                    encode("POST", "/logout", session.access),
                )
            ]
            * 3,
        )

    async def act() -> None:
        async with recorder:
            (node,) = service.nodes()
            await lives(recorder, node, client)  # so that all that is kept is there
            await node.close()
            before = await held_at_rest(stage)
            for _ in range(rounds):
                await fail(node)
                await abandon(node)
            await node.close()
            await wait_until_released(stage, before)
            await lives(recorder, node, client)

    asyncio.run(act())
    judge(recorder, [service], 10, hung_up=rounds * 120, failed=rounds * AT_ONCE * 2)
