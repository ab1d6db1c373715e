"""Who manages is answered in time though the database is locked, frozen or gone; so is a login."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faults.client import Node
from tests.faults.services import (
    Administrator,
    Service,
    administrator,
    manage,
    serve_file,
    serve_nodes,
)
from tests.postgres import Postgres, database_of, run_postgres

ANSWER_SECONDS = 3.0
AT_ONCE = 40
RECOVERY_SECONDS = 20
_names = count()
Trouble = Callable[[Postgres, Service], AbstractContextManager[None]]


@contextmanager
def frozen(postgres: Postgres, service: Service) -> Iterator[None]:
    with postgres.frozen():
        yield


@contextmanager
def stopped(postgres: Postgres, service: Service) -> Iterator[None]:
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def registry_locked(postgres: Postgres, service: Service) -> Iterator[None]:
    """As by another node that hangs in the middle of a change."""
    lock = "SELECT * FROM revoked_jtis WHERE jti = 'registry' FOR UPDATE"
    with postgres.holding(service.environ["DATABASE_URL"], lock):
        yield


async def make(node: Node, admin: Administrator) -> tuple[int, float]:
    """A client; the status, and how long it took."""
    start, body = time.monotonic(), {"name": f"made-{next(_names)}"}
    status, head, _ = await node.ask("POST", "/admin/clients", admin.token, body)
    assert status != 503 or b"\r\nretry-after: 1\r\n" in head
    return status, time.monotonic() - start


async def make_many(node: Node, admin: Administrator) -> None:
    """All are refused, and in time."""
    answers = await asyncio.gather(*(make(node, admin) for _ in range(AT_ONCE)))
    assert {status for status, _ in answers} == {503}
    assert max(took for _, took in answers) < ANSWER_SECONDS


async def recover(node: Node, admin: Administrator) -> None:
    """No connection is lost for good, though more failed than there are."""
    give_up = time.monotonic() + RECOVERY_SECONDS
    while (await make(node, admin))[0] != 201:
        assert time.monotonic() < give_up
    answers = await asyncio.gather(*(make(node, admin) for _ in range(AT_ONCE // 4)))
    assert {status for status, _ in answers} == {201}


def test_while_another_process_has_the_write_lock_a_change_is_refused_in_time(
    tmp_path: Path,
) -> None:
    file = tmp_path / "auth.db"

    async def act(service: Service) -> None:
        (node,) = service.nodes()
        admin = await administrator(service, node, "root")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await make_many(node, admin)
            other.execute("ROLLBACK")
        await recover(node, admin)
        await node.close()

    with serve_file(file, WORKERS="1", MANAGEMENT="on") as service:
        asyncio.run(act(service))


def test_so_are_a_login_that_is_counted_and_a_rotation_of_ones_own_key(tmp_path: Path) -> None:
    file = tmp_path / "auth.db"

    async def act(service: Service) -> None:
        (node,) = service.nodes()
        (client,) = await asyncio.to_thread(service.register, "client")
        await manage(service, "set-scopes", "client", "keys:self")
        await manage(service, "set-limits", "client", "--sessions", "9")
        proof: dict[str, Any] = {"client_key": client.key}
        _, _, pair = await node.ask("POST", "/login", payload=proof)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for path, token in (("/login", ""), ("/me/keys/rotate", pair["access_token"])):
                start = time.monotonic()
                status, _, _ = await node.ask("POST", path, token, proof)
                assert (status, time.monotonic() - start < ANSWER_SECONDS) == (503, True)
            other.execute("ROLLBACK")
        for path, token in (("/login", ""), ("/me/keys/rotate", pair["access_token"])):
            assert (await node.ask("POST", path, token, proof))[0] == 200
        await node.close()

    with serve_file(file, WORKERS="1") as service:
        asyncio.run(act(service))


@pytest.fixture(scope="module")
def own(postgres_files: Path) -> Iterator[Postgres]:
    with run_postgres(postgres_files) as postgres:
        yield postgres


@pytest.mark.parametrize("trouble", [frozen, stopped, registry_locked])
def test_whatever_postgresql_does_a_change_is_refused_in_time(
    tmp_path: Path, own: Postgres, trouble: Trouble
) -> None:
    async def act(service: Service) -> None:
        (node,) = service.nodes()
        admin = await administrator(service, node, "root")
        (client,) = await asyncio.to_thread(service.register, "client")
        login: dict[str, Any] = {"client_key": client.key}
        context = trouble(own, service)
        await asyncio.to_thread(context.__enter__)
        try:
            refused = asyncio.create_task(make_many(node, admin))
            while trouble is registry_locked and not refused.done():
                assert (await node.ask("POST", "/login", payload=login))[0] == 200
            await refused
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
        await recover(node, admin)
        await node.close()

    with serve_nodes(tmp_path, [own.new_database()], MANAGEMENT="on") as service:
        asyncio.run(act(service))


DEFERRED = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
SLOW_COMMITS = (
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN PERFORM pg_sleep(4); RETURN NULL; END $$",
    f"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON client_keys {DEFERRED}",
    f"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON counted_sessions {DEFERRED}",
)
QUICK_COMMITS = (
    "DROP TRIGGER slow ON client_keys",
    "DROP TRIGGER slow ON counted_sessions",
    "DROP FUNCTION slow()",
)


@contextmanager
def slow_at_the_commit(postgres: Postgres, service: Service) -> Iterator[None]:
    """What was answered as refused is done a moment later."""
    database = database_of(service.environ["DATABASE_URL"])
    for statement in SLOW_COMMITS:
        postgres.execute(statement, database)
    try:
        yield
    finally:
        for statement in QUICK_COMMITS:
            postgres.execute(statement, database)


@dataclass
class Limited:
    """A client of `SESSIONS` at once that looks after its keys, at one node."""

    node: Node
    key: str
    token: str = ""
    begun: int = 0

    async def log_in(self) -> int:
        status, _, pair = await self.node.ask("POST", "/login", payload={"client_key": self.key})
        self.begun += status == 200
        self.token = self.token or pair["access_token"]
        return status

    async def rotate(self) -> tuple[int, Any]:
        proof: dict[str, Any] = {"client_key": self.key}
        status, _, made = await self.node.ask("POST", "/me/keys/rotate", self.token, proof)
        return status, made

    async def be_refused(self) -> None:
        """In time, at each of both, twice at once."""
        start = time.monotonic()
        logins = await asyncio.gather(*(self.log_in() for _ in range(2)))
        assert time.monotonic() - start < ANSWER_SECONDS
        start = time.monotonic()
        made = await asyncio.gather(*(self.rotate() for _ in range(2)))
        assert time.monotonic() - start < ANSWER_SECONDS
        assert {*logins, *(status for status, _ in made)} == {503}


SESSIONS = 4
COUNTED = "SELECT count(*) FROM counted_sessions"


@pytest.mark.parametrize("trouble", [frozen, stopped, slow_at_the_commit])
def test_what_was_refused_leaves_no_key_that_goes_on_and_no_session_past_the_limit(
    tmp_path: Path, own: Postgres, trouble: Trouble
) -> None:
    """Whatever became of it: an answer was promised to nobody, and may be asked for again."""

    async def act(service: Service) -> None:
        (node,) = service.nodes()
        (client,) = await asyncio.to_thread(service.register, "client")
        await manage(service, "set-scopes", "client", "keys:self")
        await manage(service, "set-limits", "client", "--sessions", str(SESSIONS))
        limited = Limited(node, client.key)
        assert await limited.log_in() == 200
        context = trouble(own, service)
        await asyncio.to_thread(context.__enter__)
        try:
            await limited.be_refused()
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
        give_up = time.monotonic() + RECOVERY_SECONDS
        while (rotated := await limited.rotate())[0] != 200:
            assert time.monotonic() < give_up
        keys = (await node.ask("GET", "/me/keys", limited.token))[2]["keys"]
        goes_on = {key["key_id"] for key in keys if key["expires_at"] is None}
        assert goes_on == {client.key_id, rotated[1]["key_id"]}
        while await limited.log_in() == 200:
            assert limited.begun <= SESSIONS
        database = database_of(service.environ["DATABASE_URL"])
        counted = await asyncio.to_thread(own.execute, COUNTED, database)
        assert counted == [(SESSIONS,)]
        await node.close()

    with serve_nodes(tmp_path, [own.new_database()]) as service:
        asyncio.run(act(service))
