"""A database that was lost, made anew or restored by any means lets no token of before in."""

import asyncio
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from app import create_app
from authapi.engines.schema import NO_DATABASE
from manage import cli
from settings import Settings
from tests.conftest import SECRET as TEST_SECRET
from tests.conftest import Registered
from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.loads import going_on, wait_for_answers, wait_for_status
from tests.faults.services import (
    GRACE_SECONDS,
    SOAK,
    Service,
    end_all_sessions,
    register,
    scaled,
    serve_file,
    serve_nodes,
)
from tests.postgres import Postgres, database_of
from tests.serving import free_port, run, serve

LIVES = 6
SESSIONS = scaled(10, 200)
Manage = Callable[..., Result]


async def use_all(recorder: Recorder, nodes: list[Node], sessions: list[Session]) -> None:
    """With whatever opened something: the access token, and the newest refresh token."""
    await asyncio.gather(*(recorder.use(node, each) for each in sessions for node in nodes))
    await asyncio.gather(*(recorder.refresh(random.choice(nodes), each) for each in sessions))


async def assert_new_sessions_live(recorder: Recorder, nodes: list[Node], client: Client) -> None:
    for node in nodes:
        new = await recorder.begin(node, client)
        for other in nodes:
            assert await recorder.use(other, new) == 200
        assert await recorder.refresh(random.choice(nodes), new) == 200
        assert await recorder.logout(node, new) == 200
        await use_all(recorder, nodes, [new])


async def live(recorder: Recorder, nodes: list[Node], client: Client) -> None:
    session = None
    while True:
        session = session or await recorder.login(random.choice(nodes), client)
        if session is not None:
            asked = [
                await recorder.use(random.choice(nodes), session),
                await recorder.refresh(random.choice(nodes), session),
                await recorder.use(random.choice(nodes), session),
            ]
            session = session if set(asked) == {200} else None
        await asyncio.sleep(0)


def test_once_all_sessions_are_ended_nothing_from_before_opens_anything(
    service: Service, judge: Judge
) -> None:
    """Under load, so that logins and refreshes race with it: a pair that one gets is born dead."""
    client, idle = service.register("ended-together", "ended-idle")
    recorder = Recorder()

    async def act() -> None:
        nodes = service.nodes()
        async with recorder:
            before = [await recorder.begin(nodes[0], idle) for _ in range(SESSIONS)]
            await use_all(recorder, nodes, before)
            assert recorder.events[-1].status == 200
            async with going_on(live(recorder, nodes, client) for _ in range(LIVES)):
                for _ in range(scaled(1, 10)):
                    await wait_for_answers(recorder, 50)
                    started = list(recorder.sessions)
                    await end_all_sessions(recorder, service, client, idle)
                    await use_all(recorder, nodes, before)
                    await asyncio.gather(
                        *(recorder.use(each, s) for s in started for each in nodes)
                    )
            await assert_new_sessions_live(recorder, nodes, idle)

    asyncio.run(act())
    judge(recorder, [service], ended=recorder.count(200, operation="everywhere") // 2)


def test_a_database_that_is_not_there_is_asked_for_in_a_line_that_says_both(
    tmp_path: Path, judge: Judge
) -> None:
    """And one that is made anew by `migrate`, as the line allows, knows no token of the other."""
    file, recorder = tmp_path / "auth.db", Recorder()
    with serve_file(file, WORKERS="1") as service:
        (client,) = service.register("lost")

        async def begin() -> None:
            async with recorder:
                (node,) = service.nodes()
                sessions = [await recorder.begin(node, client) for _ in range(4)]
                for session in sessions[:2]:
                    await recorder.logout(node, session)

        asyncio.run(begin())
    for left in tmp_path.glob("auth.db*"):
        left.unlink()
    environ = service.environ | {"PORT": str(free_port())}
    for command in ("app.py", "manage.py list-clients"):
        result = run(tmp_path, *command.split(), **environ)
        assert result.returncode == 2
        assert result.stderr.removeprefix("Error: ") == (
            f"There is no database {file}. {NO_DATABASE}\n"
        )
    assert run(tmp_path, "manage.py", "migrate", **environ).returncode == 0
    again = register(environ["DATABASE_URL"], "lost")[0]
    with serve(tmp_path, **service.environ) as served:
        node = Node("node anew", served.url)

        async def ask_again() -> None:
            async with recorder:
                recorder.note("everywhere", 0, client=client.name)
                await use_all(recorder, [node], recorder.sessions)
                await recorder.logout(node, await recorder.begin(node, again))

        asyncio.run(ask_again())
    judge(recorder)


def serve_database(folder: Path, url: str, count: int = 2) -> AbstractContextManager[Service]:
    return serve_nodes(folder, [url] * count, REFRESH_GRACE_SECONDS=str(GRACE_SECONDS))


def test_a_postgresql_database_that_is_dropped_and_made_anew_under_its_nodes_knows_no_token(
    tmp_path: Path, postgres: Postgres, judge: Judge
) -> None:
    """503 until it is there, and then the nodes go on with it by themselves."""
    url, recorder = postgres.new_database(), Recorder()
    name = database_of(url)

    async def act(service: Service) -> None:
        nodes = service.nodes()
        (client,) = await asyncio.to_thread(service.register, "dropped")
        async with recorder:
            sessions = [await recorder.begin(nodes[0], client) for _ in range(SESSIONS)]
            await use_all(recorder, nodes, sessions)
            for session in sessions[::2]:
                await recorder.logout(nodes[0], session)
            async with recorder.noting("trouble"):
                start = time.monotonic()
                await asyncio.to_thread(postgres.execute, f"DROP DATABASE {name} WITH (FORCE)")
                async with recorder.noting("outage"):
                    for node in nodes:
                        await wait_for_status(recorder, 503, node, sessions[1])
                        assert (await node.ask("GET", "/readyz"))[0] == 503
                    # It ends every session, but nobody was told so before.
                    recorder.note("everywhere", start, client=client.name)
                await asyncio.to_thread(postgres.execute, f"CREATE DATABASE {name}")
                for node in nodes:  # without tables, it is no better than none
                    assert (await node.ask("GET", "/readyz"))[0] == 503
                result = await asyncio.to_thread(
                    run, tmp_path, "manage.py", "list-clients", **service.environ
                )
                assert result.returncode == 2
                assert (
                    result.stderr == f"Error: The database has none of our tables. {NO_DATABASE}\n"
                )
                (again,) = await asyncio.to_thread(service.register, "dropped")
                await use_all(recorder, nodes, sessions)
                await recorder.wait_until_ready(*nodes)
                await use_all(recorder, nodes, sessions)
                # What a node issues before it has met the new one is born dead.
                for node in nodes:
                    await wait_until_served(recorder, node, again)
            await use_all(recorder, nodes, sessions)
            await assert_new_sessions_live(recorder, nodes, again)

    with serve_database(tmp_path, url) as service:
        asyncio.run(act(service))
        judge(recorder, [service])


async def wait_until_served(recorder: Recorder, node: Node, client: Client) -> None:
    for _ in range(500):
        session = await recorder.login(node, client)
        if session is not None and await recorder.use(node, session) == 200:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{node.name} does not serve the new database")


@dataclass
class Pair:
    access: str
    refresh: str


@pytest.fixture
def manage(settings: Settings) -> Manage:
    def manage(*arguments: str) -> Result:
        environ = {"SECRET_KEY": TEST_SECRET, "DATABASE_URL": settings.database_url}
        result = CliRunner().invoke(cli, arguments, env=environ)
        assert result.exit_code == 0, result.output
        return result

    return manage


@dataclass
class Served:
    """The application with one worker, in this process."""

    api: TestClient
    client_key: str

    def log_in(self) -> Pair:
        answer = self.api.post("/login", json={"client_key": self.client_key})
        assert answer.status_code == 200, answer.text
        return Pair(answer.json()["access_token"], answer.json()["refresh_token"])

    def opened_by(self, pair: Pair) -> list[int]:
        headers = {"Authorization": f"Bearer {pair.access}"}
        return [
            self.api.get("/secure-data", headers=headers).status_code,
            self.api.post("/refresh-token", json={"refresh_token": pair.refresh}).status_code,
            self.api.post("/logout", headers=headers, json={"everywhere": True}).status_code,
        ]

    def log_out(self, pair: Pair) -> None:
        headers = {"Authorization": f"Bearer {pair.access}"}
        assert self.api.post("/logout", headers=headers).status_code == 200


def restore(copy: Path, file: Path) -> None:
    """As one does with any file; what is left of the other's log must not be played into it."""
    for left in file.parent.glob(f"{file.name}-*"):
        left.unlink()
    shutil.copy(copy, file)


def by_back_up(manage: Manage, file: Path, copy: Path) -> Callable[[], None]:
    manage("back-up", os.fspath(copy))
    return lambda: restore(copy, file)


def by_file(manage: Manage, file: Path, copy: Path) -> Callable[[], None]:
    """A copy that knows nothing of us, as a file system's snapshot is."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as made:
        source.backup(made)

    def restore_and_end() -> None:
        restore(copy, file)
        manage("end-all-sessions", "--yes")

    return restore_and_end


@pytest.mark.parametrize("means", [by_back_up, by_file])
def test_a_restored_file_lets_nothing_in_that_was_issued_before(
    settings: Settings,
    registered: Registered,
    manage: Manage,
    database_file: Path,
    tmp_path: Path,
    means: Callable[[Manage, Path, Path], Callable[[], None]],
) -> None:
    """Neither what had been ended when it was copied, nor what was ended or begun since."""
    with TestClient(create_app(settings)) as api:
        served = Served(api, registered.key)
        pairs = [served.log_in() for _ in range(3)]
        served.log_out(pairs[0])
        restore_it = means(manage, database_file, tmp_path / "copy.db")
        served.log_out(pairs[1])
        pairs.append(served.log_in())
        assert served.opened_by(pairs[2])[0] == 200
    restore_it()
    with TestClient(create_app(settings)) as api:
        served = Served(api, registered.key)
        for pair in pairs:
            assert served.opened_by(pair) == [401, 401, 401]
        new = served.log_in()
        assert served.opened_by(new) == [200, 200, 200]


def test_a_file_that_is_restored_without_a_word_would_let_in_what_was_ended(
    settings: Settings,
    registered: Registered,
    manage: Manage,
    database_file: Path,
    tmp_path: Path,
) -> None:
    """Which is why there is a command: else the test above would prove nothing."""
    copy = tmp_path / "copy.db"
    with TestClient(create_app(settings)) as api:
        served = Served(api, registered.key)
        pair = served.log_in()
        by_file(manage, database_file, copy)
        served.log_out(pair)
    restore(copy, database_file)
    with TestClient(create_app(settings)) as api:
        assert Served(api, registered.key).opened_by(pair)[0] == 200


def dump(postgres: Postgres, url: str) -> str:
    """In a folder that PostgreSQL's own user may write to."""
    file = f"{postgres.socket_folder}/{database_of(url)}.dump"
    source = ("-h", str(postgres.socket_folder), "-U", "postgres", "-d", database_of(url))
    postgres.run("pg_dump", *source, "--format=custom", "-f", file)
    return file


def restore_dump(postgres: Postgres, url: str, file: str) -> None:
    target = ("-h", str(postgres.socket_folder), "-U", "postgres", "-d", database_of(url))
    postgres.run("pg_restore", *target, "--clean", "--if-exists", "--single-transaction", file)


@pytest.mark.parametrize("is_running", [True, *([False] if SOAK else [])])
def test_a_restored_dump_lets_nothing_in_once_all_sessions_are_ended(
    tmp_path: Path, postgres: Postgres, judge: Judge, is_running: bool
) -> None:
    """Even where nobody stopped the nodes, which the documentation asks for."""
    url, recorder = postgres.new_database(), Recorder()
    nodes = 2 if is_running else 1
    (client,) = register(url, "restored")

    async def before(service: Service) -> str:
        nodes = service.nodes()
        async with recorder:
            for node in nodes:
                for _ in range(SESSIONS):
                    await recorder.begin(node, client)
            sessions = list(recorder.sessions)
            file = await asyncio.to_thread(dump, postgres, url)
            await asyncio.gather(*(recorder.logout(nodes[0], each) for each in sessions[::2]))
            await use_all(recorder, nodes, sessions)
        return file

    async def after(service: Service) -> None:
        nodes = service.nodes()
        async with recorder:
            await recorder.wait_until_ready(*nodes)
            old = list(recorder.sessions)
            for _ in range(2):
                await use_all(recorder, nodes, old)
                await assert_new_sessions_live(recorder, nodes, client)

    def restore_and_end(service: Service, file: str) -> None:
        restore_dump(postgres, url, file)
        asyncio.run(end_all_sessions(recorder, service, client))
        assert recorder.events[-1].status == 200

    with ExitStack() as stack:
        service = stack.enter_context(serve_database(tmp_path, url, nodes))
        file = asyncio.run(before(service))
        if not is_running:
            stack.close()
            restore_and_end(service, file)
            service = stack.enter_context(serve_database(tmp_path, url, nodes))
        else:
            restore_and_end(service, file)
        asyncio.run(after(service))
        judge(recorder, [service])
    os.unlink(file)
