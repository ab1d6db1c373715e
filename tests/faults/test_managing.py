"""Who manages is answered in time though the database is locked, frozen or gone; so is a login."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
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
from tests.postgres import Postgres, run_postgres

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
