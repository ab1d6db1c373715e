"""What is ended here is dead on every verifier elsewhere in time, whatever fails meanwhile."""

import asyncio
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.faults.client import Client, Node, Recorder, Session, in_turn
from tests.faults.conftest import Judge
from tests.faults.elsewhere import SCOPE, Elsewhere, followed
from tests.faults.loads import going_on
from tests.faults.middle import Middle, between
from tests.faults.services import (
    Service,
    disable,
    kill,
    manage,
    retire_signing_key,
    revoke_key,
    scaled,
    serve_file,
    serve_nodes,
)
from tests.forge import header_of
from tests.postgres import Postgres, run_postgres
from tests.serving import free_port, run

LEASE_SECONDS = 1.5
LOG_OUTS = scaled(15, 2000)
"""On each set-up; and as many again that are answered once no verifier accepts."""
AT_ONCE = 20


@dataclass
class Setup:
    """A service that signs with a key of its own, and the key of a client that reads the feed."""

    service: Service
    verifier_key: str
    postgres: Postgres | None = None

    @property
    def is_shared(self) -> bool:
        return self.service.is_shared_port or self.postgres is not None

    @property
    def urls(self) -> list[str]:
        return [served.url for served in self.service.servers]


def make_signing_key(folder: Path) -> dict[str, str]:
    """The settings by which it is used."""
    environ = {"SIGNING_KEYS_FILE": str(folder / "keys.json")}
    assert run(folder, "manage.py", "new-signing-key", **environ).returncode == 0
    return environ


def register_verifier(service: Service, postgres: Postgres | None = None) -> Setup:
    made = asyncio.run(manage(service, "create-client", "verifier", "--scope", SCOPE))
    return Setup(service, made["client_key"], postgres)


@contextmanager
def serve_workers(folder: Path, workers: int) -> Iterator[Setup]:
    environ = make_signing_key(folder)
    with serve_file(folder / "auth.db", folder, WORKERS=str(workers), **environ) as service:
        yield register_verifier(service)


@contextmanager
def serve_two_nodes(folder: Path, postgres_files: Path) -> Iterator[Setup]:
    """On a PostgreSQL of their own, which is stopped."""
    environ = make_signing_key(folder)
    with run_postgres(postgres_files) as postgres:
        urls = [postgres.new_database()] * 2
        with serve_nodes(folder, urls, **environ) as service:
            yield register_verifier(service, postgres)


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with serve_workers(tmp_path_factory.mktemp("one"), 1) as setup:
        yield setup


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with serve_workers(tmp_path_factory.mktemp("two"), 2) as setup:
        yield setup


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory, postgres_files: Path) -> Iterator[Setup]:
    with serve_two_nodes(tmp_path_factory.mktemp("nodes"), postgres_files) as setup:
        yield setup


@dataclass
class Scene:
    """A service at work, with verifiers that follow it directly and by way of the middle."""

    recorder: Recorder
    nodes: list[Node]
    client: Client
    elsewhere: Elsewhere
    middle: Middle

    async def begin(self, count: int) -> list[Session]:
        """Sessions that every verifier accepts."""
        sessions = [
            await self.recorder.begin(random.choice(self.nodes), self.client) for _ in range(count)
        ]
        for session in sessions:
            await self.elsewhere.check(session)
        return sessions

    async def log_out(self, node: Node, session: Session, is_strict: bool = False) -> None:
        """While every verifier is asked for it all the time."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.elsewhere.watch(session))
            status = await self.recorder.logout(node, session, is_strict=is_strict)
            assert status == 200

    async def one_life(self, is_strict: bool) -> None:
        (session,) = await self.begin(1)
        await self.log_out(random.choice(self.nodes), session, is_strict)


@asynccontextmanager
async def playing(setup: Setup, recorder: Recorder, client: Client) -> AsyncIterator[Scene]:
    """With a session that nothing ends, which every verifier is asked for all the time."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(recorder)
        middle = await stack.enter_async_context(between(*setup.urls))
        names = {"direct": setup.urls[0], "alternating": middle.url}
        elsewhere = await stack.enter_async_context(followed(recorder, setup.verifier_key, **names))
        nodes = setup.service.nodes()
        lasting = await recorder.begin(nodes[0], client)
        await elsewhere.wait_until_known(lasting)
        async with going_on([elsewhere.keep_checking([lasting])]):
            yield Scene(recorder, nodes, client, elsewhere, middle)
        assert await elsewhere.check(lasting) == [200, 200]


def count_checks(recorder: Recorder) -> dict[str, int]:
    return {
        "accepted": recorder.count(200, operation="offline check"),
        "refused": recorder.count(401, operation="offline check"),
        "unavailable": recorder.count(503, operation="offline check"),
    }


@pytest.mark.parametrize("name", ["one_worker", "two_workers", "two_nodes"])
def test_what_is_logged_out_is_dead_elsewhere_within_the_bound(
    request: pytest.FixtureRequest, judge: Judge, name: str
) -> None:
    """And at once where the answer has waited for that."""
    setup: Setup = request.getfixturevalue(name)
    (client,) = setup.service.register("leaving")
    recorder = Recorder()

    async def act() -> None:
        async with playing(setup, recorder, client) as scene:
            lives = (scene.one_life(number % 2 == 0) for number in range(2 * LOG_OUTS))
            await in_turn(asyncio.Semaphore(AT_ONCE), lives)

    asyncio.run(act())
    log_outs = recorder.count(200, operation="logout")
    assert log_outs == 2 * LOG_OUTS
    figures = {"logouts": log_outs} | count_checks(recorder)
    judge(recorder, [setup.service], is_shared=setup.is_shared, **figures)


def test_what_an_operator_ends_is_dead_elsewhere_when_the_command_is_done(
    two_nodes: Setup, judge: Judge
) -> None:
    """A client, a client key, and at last the key that signed."""
    service = two_nodes.service
    client, disabled, leaky = service.register("staying", "disabled", "leaky")
    recorder = Recorder()

    async def act() -> None:
        async with playing(two_nodes, recorder, client) as scene:
            nodes, elsewhere = scene.nodes, scene.elsewhere
            ended = [
                await recorder.begin(node, each) for node in nodes for each in (disabled, leaky)
            ]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(elsewhere.watch(*ended))
                tasks.create_task(disable(recorder, service, disabled))
                tasks.create_task(revoke_key(recorder, service, leaky))
            assert await elsewhere.check(ended[0]) == [401, 401]

    asyncio.run(act())
    assert recorder.count(200, operation="disable") == 1
    assert recorder.count(200, operation="revoke-key") == 1
    judge(recorder, [service], **count_checks(recorder))


def test_what_a_retired_key_has_signed_is_dead_elsewhere(tmp_path: Path, judge: Judge) -> None:
    recorder = Recorder()
    with serve_workers(tmp_path, 1) as setup:
        service = setup.service
        (client,) = service.register("signed")

        async def act() -> None:
            names = {"direct": setup.urls[0]}
            async with recorder, followed(recorder, setup.verifier_key, **names) as elsewhere:
                (node,) = service.nodes()
                old = await recorder.begin(node, client)
                await elsewhere.wait_until_known(old)
                kid = header_of(old.access)["kid"].partition(".")[0]
                assert await manage(service, "new-signing-key", "--now") is not None
                new = await recorder.begin(node, client)
                assert await elsewhere.check(new) == [200]
                async with going_on([elsewhere.keep_checking([new])]):
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(elsewhere.watch(old))
                        tasks.create_task(retire_signing_key(recorder, service, kid))
                    assert await elsewhere.check(old) == [401]

        asyncio.run(act())
        assert recorder.count(200, operation="retire") == 1
        judge(recorder, [service], is_shared=False, **count_checks(recorder))


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_verifier_of_a_frozen_node_believes_it_no_longer_than_the_lease(
    two_nodes: Setup, judge: Judge
) -> None:
    """Which knows nothing of what is logged out meanwhile on the other."""
    service = two_nodes.service
    (client,) = service.register("beside-frozen")
    recorder = Recorder()
    process = psutil.Process(service.servers[0].process.pid)

    async def act() -> None:
        async with playing(two_nodes, recorder, client) as scene:
            for _ in range(scaled(1, 30)):
                sessions = await scene.begin(10)
                async with recorder.noting("trouble"), asyncio.TaskGroup() as tasks:
                    with frozen(process):
                        async with recorder.noting("outage", "direct"):
                            for number, session in enumerate(sessions):
                                await asyncio.sleep(random.uniform(0, 0.1))
                                leaving = scene.log_out(scene.nodes[1], session, number % 2 == 0)
                                tasks.create_task(leaving)
                            await asyncio.sleep(random.uniform(2, 2.5))  # how long it takes
                await scene.recorder.wait_until_ready(*scene.nodes)

    asyncio.run(act())
    log_outs = recorder.count(200, operation="logout")
    judge(recorder, [service], logouts=log_outs, **count_checks(recorder))


def test_answers_that_are_late_or_lost_or_old_keep_no_token_alive(
    two_nodes: Setup, judge: Judge
) -> None:
    service = two_nodes.service
    (client,) = service.register("through-trouble")
    recorder = Recorder()

    async def act() -> None:
        async with playing(two_nodes, recorder, client) as scene:
            middle = scene.middle
            async with recorder.noting("trouble", "alternating"):
                middle.late, middle.cut = 0.3, 0.1
                lives = (scene.one_life(number % 2 == 0) for number in range(scaled(30, 2000)))
                await in_turn(asyncio.Semaphore(AT_ONCE), lives)
                while not middle.counts["late"] or not middle.counts["cut"]:
                    await scene.one_life(is_strict=False)
                async with asyncio.TaskGroup() as tasks:
                    middle.replays = True
                    for is_strict in (False, True):
                        tasks.create_task(scene.one_life(is_strict))
                    await asyncio.sleep(LEASE_SECONDS + 0.5)
                    middle.mend()
            counts.update(middle.counts)

    counts: dict[str, int] = {}
    asyncio.run(act())
    assert counts.pop("passed") > 0
    assert all(counts.values()), counts
    judge(recorder, [service], **counts, **count_checks(recorder))


def test_the_lease_counts_from_the_question_and_not_from_a_late_answer(
    two_nodes: Setup, judge: Judge
) -> None:
    """Which was true when it was given; what is logged out since is not heard of for a while."""
    service = two_nodes.service
    (client,) = service.register("behind-a-late-answer")
    recorder = Recorder()

    async def act() -> None:
        async with playing(two_nodes, recorder, client) as scene:
            middle = scene.middle
            for _ in range(scaled(1, 20)):
                (session,) = await scene.begin(1)
                async with recorder.noting("trouble", "alternating"), asyncio.TaskGroup() as tasks:
                    held, middle.hold_seconds = middle.held, 0.5
                    while middle.held == held:  # noqa: ASYNC110  # it is told by a count
                        await asyncio.sleep(0.001)
                    middle.cut = 1
                    tasks.create_task(scene.log_out(scene.nodes[0], session))
                    await asyncio.sleep(2 * LEASE_SECONDS)
                    middle.mend()

    asyncio.run(act())
    judge(recorder, [service], **count_checks(recorder))


def test_without_a_database_a_verifier_believes_nothing_past_the_lease(
    two_nodes: Setup, judge: Judge
) -> None:
    """And what was logged out before is refused when it is there again."""
    service, postgres = two_nodes.service, two_nodes.postgres
    assert postgres is not None
    (client,) = service.register("without-database")
    recorder = Recorder()

    async def act() -> None:
        async with playing(two_nodes, recorder, client) as scene:
            for _ in range(scaled(1, 10)):
                ended, *live = await scene.begin(4)
                async with asyncio.TaskGroup() as tasks, recorder.noting("trouble"):
                    await recorder.logout(scene.nodes[0], ended)
                    tasks.create_task(scene.elsewhere.watch(ended))
                    try:
                        await asyncio.to_thread(postgres.stop)
                        async with recorder.noting("outage"):
                            give_up = time.monotonic() + LEASE_SECONDS + 0.5
                            while time.monotonic() < give_up:
                                await asyncio.gather(*map(scene.elsewhere.check, live))
                                await asyncio.sleep(0.01)
                    finally:
                        await asyncio.to_thread(postgres.start)
                    await recorder.wait_until_ready(*scene.nodes)
                await asyncio.gather(*map(scene.elsewhere.check, live))

    asyncio.run(act())
    assert recorder.count(503, operation="offline check") > 0
    judge(recorder, [service], **count_checks(recorder))


class Restarted:
    """A service of one worker that is killed, and comes again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "auth.db"
        self._environ = {"WORKERS": "1", "PORT": str(free_port())} | make_signing_key(folder)
        self._stack = ExitStack()

    def start(self) -> Service:
        return self._stack.enter_context(serve_file(self.file, self.folder, **self._environ))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    restarted = Restarted(tmp_path)
    yield restarted
    restarted.close()


def test_a_kill_of_the_only_node_brings_no_token_back(restarted: Restarted, judge: Judge) -> None:
    """Nor does it end one: what lives is accepted again once the node is."""
    recorder = Recorder()
    service = restarted.start()
    setup = register_verifier(service)
    (client,) = service.register("killed")

    async def act() -> None:
        async with playing(setup, recorder, client) as scene:
            for _ in range(scaled(1, 20)):
                ended, live = await scene.begin(2)
                async with asyncio.TaskGroup() as tasks, recorder.noting("trouble"):
                    tasks.create_task(scene.elsewhere.watch(ended))
                    await recorder.logout(scene.nodes[0], ended)
                    pid = setup.service.servers[0].process.pid
                    await asyncio.to_thread(kill, [pid])
                    async with recorder.noting("outage"):
                        give_up = time.monotonic() + LEASE_SECONDS + 0.3
                        while time.monotonic() < give_up:
                            await scene.elsewhere.check(live)
                            await asyncio.sleep(0.01)
                    setup.service = await asyncio.to_thread(restarted.start)
                    scene.nodes = setup.service.nodes()
                    await recorder.wait_until_ready(*scene.nodes)
                await scene.elsewhere.check(live)

    asyncio.run(act())
    judge(recorder, [setup.service], is_shared=False, **count_checks(recorder))


def test_a_restored_back_up_lets_no_token_of_before_in_elsewhere(
    restarted: Restarted, judge: Judge
) -> None:
    """Not even one that was logged out after the back-up was made, of which it knows nothing."""
    recorder = Recorder()
    service = restarted.start()
    setup = register_verifier(service)
    (client,) = service.register("restored")

    async def act() -> None:
        names = {"direct": setup.urls[0]}
        async with recorder, followed(recorder, setup.verifier_key, **names) as elsewhere:
            (node,) = service.nodes()
            live, ended = [await recorder.begin(node, client) for _ in range(2)]
            await elsewhere.wait_until_known(live)
            back_up = restarted.folder / "back-up.db"
            assert await manage(service, "back-up", str(back_up)) is not None
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(elsewhere.watch(live, ended))
                assert await recorder.logout(node, ended) == 200
                start = time.monotonic()
                async with recorder.noting("trouble"):
                    await restore(back_up)
                recorder.note("everywhere", start, client=client.name)
            (node,) = setup.service.nodes()
            new = await recorder.begin(node, client)
            await elsewhere.wait_until_known(new)
            assert await elsewhere.check(new) == [200]
            assert await elsewhere.check(ended) == await elsewhere.check(live) == [401]

    async def restore(back_up: Path) -> None:
        await asyncio.to_thread(kill, [service.servers[0].process.pid])
        for file in restarted.folder.glob("auth.db*"):
            file.unlink()
        shutil.copy(back_up, restarted.file)
        setup.service = await asyncio.to_thread(restarted.start)

    asyncio.run(act())
    judge(recorder, [setup.service], is_shared=False, **count_checks(recorder))
