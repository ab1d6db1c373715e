"""PostgreSQL gives numbers of transactions out again: after a crash, and on another machine.

What a worker remembers of the numbers of one life means nothing in the next. So each test first
shows that the numbers did go back, or else it would prove nothing.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from authapi.engines.database import Database
from authapi.engines.postgres import STANDBY
from tests.faults.client import Client, Node, Recorder, Session
from tests.faults.conftest import Judge
from tests.faults.loads import WAIT_SECONDS, wait_for_status
from tests.faults.proxy import Proxy, proxied
from tests.faults.services import (
    SECRET,
    SOAK,
    Cluster,
    create_users,
    disable,
    register,
    scaled,
    serve_cluster,
    serve_nodes,
    url_for,
)
from tests.postgres import Postgres, run_postgres, run_standby
from tests.serving import free_port, run, watched

LATE = {"wal_writer_delay": "10s", "wal_writer_flush_after": "64MB", "autovacuum": "off"}
"""What is committed asynchronously is written so late that a crash surely loses it."""
NUMBERS = 8_000
SESSIONS = scaled(60, 400)
NODES = ("first", "second")
"""The nodes' names for PostgreSQL, by which their connections are told apart."""


def kept_backend(postgres: Postgres, node: str) -> int:
    """The process that answers the node's polls."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'auth-api'"
        f" AND usename = '{node}' AND query LIKE '%auth_api.reader%'"
    )
    ((pid,),) = postgres.execute(query)
    assert isinstance(pid, int)
    return pid


def wait_for_polls(postgres: Postgres, *nodes: str) -> None:
    """Until each of them has asked what is new, after now."""
    ((now,),) = postgres.execute("SELECT CAST(clock_timestamp() AS text)")
    names = ", ".join(f"'{node}'" for node in nodes)
    query = (
        "SELECT count(DISTINCT usename) FROM pg_stat_activity WHERE state = 'idle'"
        f" AND query LIKE '%auth_api.reader%' AND usename IN ({names}) AND query_start > '{now}'"
    )
    postgres.wait_until(lambda: postgres.execute(query) == [(len(nodes),)], WAIT_SECONDS)


async def begin_some(recorder: Recorder, nodes: list[Node], client: Client) -> list[Session]:
    """Each is known to both nodes as alive."""
    sessions = [await recorder.begin(nodes[n % 2], client) for n in range(SESSIONS)]
    await use_on_all(recorder, nodes, sessions)
    return sessions


async def use_on_all(recorder: Recorder, nodes: list[Node], sessions: list[Session]) -> None:
    await asyncio.gather(*(recorder.use(node, each) for each in sessions for node in nodes))


async def log_out_all(recorder: Recorder, node: Node, sessions: list[Session]) -> None:
    statuses = await asyncio.gather(*(recorder.logout(node, each) for each in sessions))
    assert set(statuses) == {200}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres_files: Path) -> Iterator[Cluster]:
    """Of two nodes."""
    folder = tmp_path_factory.mktemp("cluster")
    with serve_cluster(folder, postgres_files, NODES, **LATE) as cluster:
        cluster.postgres.execute("CREATE DATABASE neighbour")
        yield cluster


def crash(postgres: Postgres) -> None:
    postgres.crash()
    postgres.start()


def kill_kept_backend(postgres: Postgres) -> None:
    """The postmaster stays, and with it the time at which it says that it was started."""
    pid, query = postgres.pid, "SELECT CAST(pg_postmaster_start_time() AS text)"
    started = postgres.execute(query)
    postgres.kill_backend(kept_backend(postgres, "second"))
    assert (postgres.pid, postgres.execute(query)) == (pid, started)


@pytest.mark.parametrize(
    ("lose", "is_cut_off", "taken_since"),
    [
        (crash, False, 0),
        (kill_kept_backend, True, 0),
        (kill_kept_backend, True, 2 * NUMBERS),
        *([(kill_kept_backend, False, 0)] if SOAK else []),
    ],
    ids=["crashed", "met-later", "numbers-have-passed", *(["backend-killed"] if SOAK else [])],
)
def test_what_ends_after_a_crash_is_dead_on_all_though_its_number_was_given_out_before(
    cluster: Cluster,
    judge: Judge,
    lose: Callable[[Postgres], None],
    is_cut_off: bool,
    taken_since: int,
) -> None:
    """Where the second node is cut off meanwhile, it meets what has ended with its numbers later:
    these are behind what it knew, or have passed that already."""
    postgres, proxy, service = cluster.postgres, cluster.proxy, cluster.service
    name = f"{lose.__name__}-{is_cut_off}-{taken_since}"
    leaving, barred = service.register(name, f"{name}-barred")
    recorder = Recorder()

    def lose_numbers() -> int:
        """Both nodes have seen them. Returns where they had come to."""
        postgres.take_numbers(NUMBERS, "neighbour")
        wait_for_polls(postgres, *NODES)
        before = postgres.next_number()
        if is_cut_off:
            proxy.cut()
        lose(postgres)
        assert postgres.next_number() < before - NUMBERS // 2
        return before

    async def act() -> None:
        nodes = service.nodes()
        first, second = nodes
        async with recorder:
            sessions = await begin_some(recorder, nodes, leaving)
            barred_sessions = await begin_some(recorder, nodes, barred)
            async with recorder.noting("trouble"):
                before = await asyncio.to_thread(lose_numbers)
                await recorder.wait_until_ready(first)
                await log_out_all(recorder, first, sessions)
                await disable(recorder, service, barred)
                assert await asyncio.to_thread(postgres.next_number) < before
                if taken_since:
                    await asyncio.to_thread(postgres.take_numbers, taken_since, "neighbour")
                    assert await asyncio.to_thread(postgres.next_number) > before
                proxy.mend()
                await recorder.wait_until_ready(second)
            for _ in range(2):  # at once, and by what a poll has brought
                await recorder.login(second, barred)
                await use_on_all(recorder, nodes, sessions + barred_sessions)
                await asyncio.to_thread(wait_for_polls, postgres, *NODES)
            for session in sessions[:5] + barred_sessions[:5]:
                await recorder.refresh(second, session)

    asyncio.run(act())
    assert recorder.count(200, operation="disable") == 1
    judge(recorder, [service], logouts=recorder.count(200, operation="logout"))


@dataclass
class Replicated:
    """A primary with a database, and a standby that follows it through `replication`."""

    primary: Postgres
    standby: Postgres
    replication: Proxy
    url: str

    def wait_until_replicated(self) -> None:
        ((written,),) = self.primary.execute("SELECT CAST(pg_current_wal_flush_lsn() AS text)")
        query = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
        self.standby.wait_until(lambda: self.standby.execute(query) == [(True,)], WAIT_SECONDS)


@pytest.fixture
def replicated(postgres_files: Path) -> Iterator[Replicated]:
    with run_postgres(postgres_files, **LATE) as primary, proxied(primary) as replication:
        create_users(primary, NODES)
        url = primary.new_database()
        register(url)
        with run_standby(primary, replication.folder) as standby:
            yield Replicated(primary, standby, replication, url)


def test_a_standby_is_not_served_from(tmp_path: Path, replicated: Replicated) -> None:
    """Neither by a server nor by a command, and each says in a line what is amiss."""
    replicated.wait_until_replicated()
    url = replicated.standby.url(str(Database(replicated.url).url.database))
    environ = SECRET | watched() | {"DATABASE_URL": url, "PORT": str(free_port())}
    for workers in ("1", "2"):
        served = run(tmp_path, "app.py", WORKERS=workers, **environ)
        assert (served.returncode, served.stderr) == (2, f"{STANDBY}\n"), served
    for command in (
        ("migrate",),
        ("list-clients",),
        ("create-client", "late"),
        ("purge",),
        ("end-all-sessions", "--yes"),
    ):
        result = run(tmp_path, "manage.py", *command, **environ)
        assert (result.returncode, result.stdout) == (2, ""), result
        assert result.stderr == f"Error: {STANDBY}\n"
    result = run(tmp_path, "manage.py", "doctor", "--json", **environ)
    assert (result.returncode, result.stderr) == (1, "")
    faults = [check for check in json.loads(result.stdout) if check["status"] == "fault"]
    assert any("standby" in fault["detail"] for fault in faults), faults


def test_while_a_standby_stands_in_nobody_is_judged_and_once_it_is_primary_no_number_deceives(
    tmp_path: Path, replicated: Replicated, judge: Judge
) -> None:
    """The primary is lost with numbers that its standby never heard of, and both nodes had."""
    primary, standby, replication = (
        replicated.primary,
        replicated.standby,
        replicated.replication,
    )
    (client,) = register(replicated.url, "failover")
    recorder = Recorder()

    def fall_behind() -> int:
        """No session has ended since, so that a promise to nobody is lost with the primary."""
        replicated.wait_until_replicated()
        replication.cut()
        primary.take_numbers(NUMBERS)
        wait_for_polls(primary, *NODES)
        return primary.next_number()

    async def fail_over(nodes: list[Node], sessions: list[Session]) -> int:
        before = await asyncio.to_thread(fall_behind)
        stranded = await recorder.begin(nodes[0], client)
        async with recorder.noting("trouble"):
            await asyncio.to_thread(primary.crash)
            async with recorder.noting("outage"):
                for front in fronts:
                    front.lead_to(standby)
                for node in nodes:
                    await wait_for_status(recorder, 503, node, sessions[0])
                    assert (await node.ask("GET", "/readyz"))[0] == 503
                    await recorder.login(node, client)
                    await recorder.refresh(node, stranded)
                    await recorder.logout(node, stranded)
                assert await asyncio.to_thread(standby.execute, IN_RECOVERY) == [(True,)]
                await use_on_all(recorder, nodes, sessions)
            fronts[1].cut()  # so that the second node meets the new primary later
            await asyncio.to_thread(standby.promote)
            await recorder.wait_until_ready(nodes[0])
            await log_out_all(recorder, nodes[0], sessions[1:])
            fronts[1].mend()
            await recorder.wait_until_ready(nodes[1])
        return before

    async def act() -> None:
        nodes = service.nodes()
        async with recorder:
            sessions = await begin_some(recorder, nodes, client)
            before = await fail_over(nodes, sessions)
            assert await asyncio.to_thread(standby.next_number) < before
            for _ in range(2):  # at once, and by what a poll has brought
                await use_on_all(recorder, nodes, sessions)
                await asyncio.to_thread(wait_for_polls, standby, *NODES)
            assert await recorder.use(nodes[1], sessions[0]) == 200
            assert await recorder.logout(nodes[0], sessions[0]) == 200
            await use_on_all(recorder, nodes, sessions)

    with proxied(primary) as front, proxied(primary) as other:
        fronts = [front, other]
        urls = [url_for(*each) for each in zip(NODES, [replicated.url] * 2, fronts, strict=True)]
        with serve_nodes(tmp_path, urls) as service:
            asyncio.run(act())
            judge(recorder, [service], logouts=recorder.count(200, operation="logout"))


IN_RECOVERY = "SELECT pg_is_in_recovery()"
