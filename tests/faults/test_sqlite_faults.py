"""The SQLite file is locked, lost or broken, or its disk is full: 503, and nothing is forgotten."""

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from tests.disks import fill
from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.loads import check_file, load, log_some_out, use_each_on_all, wait_for
from tests.faults.services import SOAK, Service, serve_file
from tests.serving import children

PAGE_BYTES = 4096
Write = Callable[[Node, Session], Awaitable[int]]
Harm = Callable[[Service], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers, on a file that the tests here may harm."""
    with serve_file(tmp_path_factory.mktemp("harmed") / "auth.db") as service:
        yield service


def file_of(service: Service) -> Path:
    return Path(service.environ["DATABASE_URL"].removeprefix("sqlite:///"))


@asynccontextmanager
async def under_load(recorder: Recorder, nodes: list[Node], client: Client) -> AsyncIterator[None]:
    """What was dead before is asked for in the end, while the trouble lasts."""
    dead = await log_some_out(recorder, nodes[0], client)
    async with load(recorder, nodes, client):
        for node in nodes:
            await wait_for(recorder, 200, node)
        async with recorder.noting("trouble"):
            yield
            await use_each_on_all(recorder, nodes, dead)


async def assert_recovered(recorder: Recorder, nodes: list[Node], client: Client) -> None:
    await recorder.wait_until_ready(*nodes)
    await use_each_on_all(recorder, nodes, recorder.sessions)
    new = await recorder.begin(nodes[0], client)
    for node in nodes:
        assert await recorder.refresh(node, new) == 200
        assert await recorder.use(node, new) == 200
    assert await recorder.logout(nodes[0], new) == 200
    await use_each_on_all(recorder, nodes, [new])


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """No worker runs, and all that is committed is in the file: its bytes are the database."""
    workers = children(service.servers[0].process.pid)
    for _ in range(200):
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(file_of(service), timeout=0)) as database:
                busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:  # or else a worker was stopped in the middle of a statement
                yield
                return
        finally:
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
    raise AssertionError("a worker was never idle")


@contextmanager
def renamed(service: Service) -> Iterator[None]:
    file = file_of(service)
    aside = file.with_suffix(".aside")
    file.rename(aside)
    yield
    assert not file.exists()
    aside.rename(file)


@contextmanager
def replaced(service: Service) -> Iterator[None]:
    """By a copy: what is written to it is lost when the file itself is back."""
    file = file_of(service)
    aside, copy = file.with_suffix(".aside"), file.with_suffix(".copy")
    shutil.copy(file, copy)
    os.link(file, aside)
    copy.rename(file)
    yield
    aside.rename(file)


@contextmanager
def emptied(service: Service) -> Iterator[None]:
    file = file_of(service)
    with frozen(service):
        content = file.read_bytes()
        os.truncate(file, 0)
    yield
    assert file.stat().st_size == 0
    with file.open("r+b") as same:
        same.write(content)


@pytest.mark.parametrize("harm", [renamed, replaced, emptied])
def test_without_its_file_it_is_unavailable_until_that_very_file_is_back(
    service: Service, judge: Judge, harm: Harm
) -> None:
    (client,) = service.register(harm.__name__)
    recorder = Recorder()

    async def act() -> None:
        nodes = service.nodes()
        async with recorder:
            async with under_load(recorder, nodes, client):
                with harm(service):
                    async with recorder.noting("outage"):
                        for node in nodes:
                            await wait_for(recorder, 503, node, "use")
                await recorder.wait_until_ready(*nodes)
            await assert_recovered(recorder, nodes, client)

    asyncio.run(act())
    check_file(recorder, file_of(service))
    judge(recorder, [service], grace_seconds=10)


def test_while_another_process_has_the_write_lock_what_only_reads_goes_on(
    service: Service, judge: Judge
) -> None:
    (client,) = service.register("locked")
    recorder = Recorder()

    async def ask(node: Node, write: Write) -> None:
        session = await recorder.begin(node, client)
        assert await recorder.use(node, session) == 200
        assert await write(node, session) == 503
        assert await recorder.use(node, session) == 200

    async def act() -> None:
        nodes = service.nodes()
        async with recorder:
            dead = await log_some_out(recorder, nodes[0], client)
            with closing(sqlite3.connect(file_of(service), isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                async with recorder.noting("trouble"):
                    # One on each worker, since the second would wait for the first.
                    await asyncio.gather(
                        ask(nodes[0], recorder.logout), ask(nodes[1], recorder.refresh)
                    )
                    for node in nodes:
                        for session in dead:
                            await recorder.use(node, session)
                other.execute("ROLLBACK")
            await assert_recovered(recorder, nodes, client)

    asyncio.run(act())
    check_file(recorder, file_of(service))
    judge(recorder, [service], grace_seconds=10)


def test_on_a_full_disk_it_is_unavailable_and_what_it_answered_is_kept(
    tmp_path: Path, small_disk: Path, judge: Judge
) -> None:
    recorder, file = Recorder(), small_disk / "auth.db"
    with serve_file(file, tmp_path) as service:
        (client,) = service.register("full")

        async def act() -> None:
            nodes = service.nodes()
            async with recorder:
                async with under_load(recorder, nodes, client):
                    filler = fill(small_disk)
                    for node in nodes:
                        await wait_for(recorder, 503, node)
                    filler.unlink()
                await assert_recovered(recorder, nodes, client)

        asyncio.run(act())
        check_file(recorder, file)
    judge(recorder, [service], grace_seconds=10)


@pytest.mark.parametrize("what", ["every page", "the ids", *(["the clients"] if SOAK else [])])
def test_on_a_corrupted_file_no_revoked_token_is_good(
    tmp_path: Path, judge: Judge, what: str
) -> None:
    recorder = Recorder()
    with serve_file(tmp_path / "auth.db") as service:
        (client,) = service.register("corrupted")
        file = file_of(service)

        def corrupt() -> None:
            with frozen(service), file.open("r+b") as same:
                for page in roots(file, what) or range(2, file.stat().st_size // PAGE_BYTES + 1):
                    same.seek((page - 1) * PAGE_BYTES)
                    same.write(b"\xa5" * PAGE_BYTES)  # of no kind of page

        async def act() -> None:
            nodes = service.nodes()
            async with recorder, under_load(recorder, nodes, client):
                corrupt()
                for node in nodes:
                    await wait_for(recorder, 503, node)

        asyncio.run(act())
        (served,) = service.servers
        assert served.process.poll() is None
    judge(recorder, [service], grace_seconds=10)


def roots(file: Path, what: str) -> list[int]:
    table = {"the ids": "revoked_jtis", "the clients": "clients"}.get(what, "")
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE tbl_name = ?"
        return [page for (page,) in database.execute(query, (table,))]
