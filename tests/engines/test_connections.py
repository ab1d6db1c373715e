"""What stands between us and a PostgreSQL is found out, and few connections are waited for."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from authapi.engines.database import Database, explain
from authapi.engines.postgres import PROXIED
from authapi.errors import TemporarilyUnavailable
from authapi.store import health
from tests.conftest import SECRET, make_database
from tests.postgres import Postgres, database_of
from tests.proxies import PGBOUNCER, pgbouncer
from tests.serving import free_port, run, watched


@pytest.fixture
def made(postgres: Postgres) -> str:
    url = postgres.new_database()
    asyncio.run(make_database(url))
    return url


@pytest.fixture
def pooled(postgres: Postgres, made: str, tmp_path: Path) -> Iterator[str]:
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    with pgbouncer(tmp_path, postgres, made) as url:
        yield url


def test_a_pooler_that_drops_what_we_ask_for_is_named_at_the_start(
    pooled: str, tmp_path: Path
) -> None:
    """With it `synchronous_commit` may be off, and each question may meet another connection."""
    environ = {"SECRET_KEY": SECRET, "DATABASE_URL": pooled, "PORT": str(free_port())} | watched()
    for command in (["app.py"], ["manage.py", "list-clients"]):
        ended = run(tmp_path, *command, **environ)
        assert ended.returncode == 2
        assert ended.stderr.removeprefix("Error: ") == f"The database cannot be asked: {PROXIED}\n"


def new_role(postgres: Postgres, url: str, limit: int = -1) -> str:
    """May use the tables of that database, by so many connections at once; -1 is no limit."""
    role = f"role_of_{database_of(url)}"
    postgres.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {limit}")
    grant = f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    postgres.execute(grant, database_of(url))
    return role


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"{role}@")


def test_who_finds_no_connection_left_waits_for_one_of_ours(postgres: Postgres, made: str) -> None:
    """The server gives this role three: one is kept aside, so that two take turns."""
    role = new_role(postgres, made, limit=3)

    async def act() -> None:
        async with Database(as_role(made, role)) as database:
            await database.dedicated_connection()
            for _ in range(5):
                await asyncio.gather(*(health.ping(database) for _ in range(40)))

    asyncio.run(act())


def test_where_not_even_one_is_left_it_is_said_at_once(postgres: Postgres, made: str) -> None:
    role = new_role(postgres, made, limit=0)

    async def act() -> None:
        async with Database(as_role(made, role)):
            raise AssertionError("it was let in")

    with pytest.raises(Exception, match="too many connections") as raised:
        asyncio.run(act())
    assert "too many connections" in explain(raised.value)


def test_who_gets_none_within_the_limit_is_told_so(postgres: Postgres, made: str) -> None:
    role = new_role(postgres, made)

    async def act() -> None:
        async with Database(as_role(made, role)) as database:
            await health.ping(database)
            await asyncio.to_thread(postgres.execute, f"ALTER ROLE {role} CONNECTION LIMIT 0")
            await asyncio.to_thread(
                postgres.execute,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'",
            )
            with pytest.raises(TemporarilyUnavailable):
                for _ in range(20):  # the first may still find the connection that was ended
                    await health.ping(database)

    asyncio.run(act())
