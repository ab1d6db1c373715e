"""A whole database is copied to another engine and to the same, or nothing of it is."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines import copying
from authapi.engines.copying import COPIED_AT_ONCE, CopyRefused
from authapi.engines.database import Database
from authapi.engines.sqlite_files import server_lock
from authapi.errors import TemporarilyUnavailable
from authapi.store import clients as registry
from authapi.store import revocations as endings
from authapi.store.following import Follower
from authapi.store.kept_answers import keep_answer
from settings import Settings
from tables import client_keys, clients, counted_sessions, metadata, revoked_jtis
from tests.checks import assert_answer, assert_refused, bearer
from tests.conftest import ENGINES, NOW, SECRET, new_url, url_for_settings
from tests.copies import end
from tests.postgres import MIGRATED, Postgres
from tests.serving import ROOT, make_tables, request, run, serve, watched
from tests.sqlite import opened

Manage = Callable[..., subprocess.CompletedProcess[str]]
ENDED = 2 * COPIED_AT_ONCE + 7


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a source that is filled already, where there is to be one on PostgreSQL."""
    engine = getattr(request, "param", "sqlite")
    if engine == "postgresql" and "source_url" in request.fixturenames:
        name = request.getfixturevalue("filled_database")
        url: str = request.getfixturevalue("postgres").new_database(name)
        return url
    return url_for_settings(request, engine, tmp_path / "auth.db")


@pytest.fixture(params=ENGINES)
def target_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request, request.param, tmp_path / "target.db")


@pytest.fixture
def manage(settings: Settings, tmp_path: Path) -> Manage:
    def manage(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {"SECRET_KEY": SECRET, "DATABASE_URL": settings.database_url}
        result = run(tmp_path, "manage.py", *arguments, **environ, **watched())
        assert result.returncode == status, result.stderr
        return result

    return manage


def copy(source_url: str, target_url: str) -> dict[str, int]:
    async def run() -> dict[str, int]:
        async with Database(source_url) as source:
            return await copying.copy(source, Database(target_url))

    return asyncio.run(run())


def ask(url: str, *statements: str) -> list[dict[str, Any]]:
    """The rows of the last statement."""

    async def run() -> list[dict[str, Any]]:
        async with Database(url) as database:
            rows = [await database.fetch_all(statement) for statement in statements][-1]
            return [dict(row) for row in rows]

    return asyncio.run(run())


def rows(url: str) -> dict[str, dict[str, dict[str, Any]]]:
    async def run() -> dict[str, dict[str, dict[str, Any]]]:
        async with Database(url) as database:
            found = {}
            for table in metadata.sorted_tables:
                (key,) = table.primary_key
                found[table.name] = {
                    row[key.name]: dict(row) for row in await database.fetch_all(table.select())
                }
            return found

    return asyncio.run(run())


def assert_empty(url: str) -> None:
    """It has an identity, and nothing else."""
    found = rows(url)
    assert len(found.pop("identity")) == 1
    assert not any(found.values())


async def fill(url: str) -> None:
    """With something in each column, and more rows than a batch holds."""
    async with Database(url) as database:
        for name in ("Zoë", "alpha", "_beta"):
            made = await registry.create_client(
                database, new_client_id(), name, new_client_key(), int(NOW)
            )
            assert made
        for table, column in (
            (clients, "disabled_at"),
            (client_keys, "expires_at"),
            (client_keys, "last_used_at"),
        ):
            await database.fetch_all(table.update().values({column: 123}))
        client = await registry.find_named(database, name)
        assert client is not None
        begun = {"sid": "a", "client_id": client["id"], "key_id": "b", "era": 1.5, "expires_at": 9}
        await database.fetch_all(counted_sessions.insert().values(begun))
        await endings.mark_registry_changed(database, NOW)
        await keep_answer(database, "a" * 64, "b" * 64, "c2VhbGVk", 2**40)
        ended = [
            {
                "jti": f"{'aAzZ_-'[number % 6]}{number}",  # the engines order these differently
                "reason": "logged_out",
                "revoked_at": 1e9 + number / 3,
                "expires_at": 2**40,
                "commit_order": number,
                "access_expires_at": 2**40 + number % 7,
            }
            for number in range(ENDED)
        ]
        of_access_tokens = dict.fromkeys(("commit_order", "access_expires_at"))
        spent = {"jti": "spent", "reason": "spent", **of_access_tokens}
        ended.append(ended[0] | spent)
        for start in range(0, len(ended), 200):  # each is to be answered in time
            await database.fetch_all(revoked_jtis.insert().values(ended[start:][:200]))


@pytest.fixture(scope="module")
def filled_file(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    file = tmp_path_factory.mktemp("filled") / "auth.db"
    shutil.copy(migrated, file)
    asyncio.run(fill(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="module")
def filled_database(postgres: Postgres) -> str:
    """Its name, to be copied."""
    url = postgres.new_database(MIGRATED)
    asyncio.run(fill(url))
    return str(Database(url).url.database)


@pytest.fixture
def source_url(settings: Settings, filled_file: Path) -> str:
    """A copy of what was filled once."""
    if settings.database_url.startswith("sqlite"):
        shutil.copy(filled_file, settings.database_url.removeprefix("sqlite:///"))
    return settings.database_url


def without_order(found: dict[str, dict[str, dict[str, Any]]]) -> Any:
    return {
        table: {
            key: row | {"commit_order": row.get("commit_order") is None} for key, row in of.items()
        }
        for table, of in found.items()
    }


@pytest.mark.parametrize("database_url", ENGINES, indirect=True)
def test_everything_arrives_on_either_engine(source_url: str, target_url: str) -> None:
    counts = copy(source_url, target_url)
    assert counts == {
        "clients": 3,
        "client_keys": 3,
        "revoked_jtis": ENDED + 2,
        "kept_answers": 1,
        "counted_sessions": 1,
    }
    found = rows(target_url)
    assert without_order(found) == without_order(rows(source_url))
    assert {table: len(of) for table, of in found.items()} == counts | {"identity": 1}


@pytest.mark.parametrize("database_url", ENGINES, indirect=True)
def test_servers_of_the_copy_load_every_end_and_miss_none_that_comes(
    source_url: str, target_url: str
) -> None:
    copy(source_url, target_url)

    async def run() -> None:
        async with Database(target_url) as database:
            follower = Follower(database)
            loaded = await follower.read(after=0)
            assert {ended.jti for ended in loaded.ended} == {
                row["jti"] for row in rows_of_source if row["commit_order"] is not None
            }
            await end(database, "later")
            polled = await follower.read(after=0)
            assert {ended.jti for ended in polled.ended} == {"later"}
            assert not polled.is_whole

    rows_of_source = ask(source_url, "SELECT jti, commit_order FROM revoked_jtis")
    asyncio.run(run())


def test_of_a_number_far_ahead_nothing_is_kept(source_url: str, target_url: str) -> None:
    """A clock that was wrong on the source would keep every later end below the horizon."""
    ask(source_url, f"UPDATE revoked_jtis SET commit_order = {2**62} WHERE jti = 'a0'")
    copy(source_url, target_url)
    (newest,) = ask(target_url, "SELECT max(commit_order) AS number FROM revoked_jtis")
    assert newest["number"] < 2**61


def test_an_empty_database_is_copied(settings: Settings, target_url: str) -> None:
    assert set(copy(settings.database_url, target_url).values()) == {0}


@pytest.mark.parametrize(
    "table",
    ["clients", "revoked_jtis"],
)
def test_a_target_with_rows_is_refused_and_kept(
    source_url: str, target_url: str, table: str
) -> None:
    insert = {
        "clients": "INSERT INTO clients (id, name, created_at) VALUES ('x', 'x', 1)",
        "revoked_jtis": "INSERT INTO revoked_jtis VALUES ('x', 'x', 1, 1, NULL, NULL, NULL)",
    }[table]
    asyncio.run(make_tables(target_url))
    ask(target_url, insert)
    before = rows(target_url)
    with pytest.raises(CopyRefused, match=f"has rows in {table}"):
        copy(source_url, target_url)
    assert rows(target_url) == before


@pytest.mark.parametrize("database_url", ENGINES, indirect=True)
def test_a_database_is_not_copied_into_itself(settings: Settings) -> None:
    with pytest.raises(CopyRefused, match="itself"):
        copy(settings.database_url, settings.database_url)


SPOILS = {
    "another text": "UPDATE clients SET name = name || '!' WHERE id = new.id",
    "another number": "UPDATE client_keys SET expires_at = 1 WHERE client_id = new.id",
    "an order lost": "UPDATE revoked_jtis SET commit_order = NULL WHERE jti = new.jti",
    "a row lost": "DELETE FROM revoked_jtis WHERE jti = new.jti",
    "a row more": "INSERT INTO revoked_jtis VALUES ('more', 'x', 1, 1, NULL, NULL, NULL)"
    " ON CONFLICT DO NOTHING",
}


def spoil(url: str, statement: str) -> None:
    """The target changes what it is given, by a trigger of its own."""
    asyncio.run(make_tables(url))
    table = re.findall(r"clients|client_keys|revoked_jtis", statement)[0]
    statement = statement.replace("client_id = new.id", "id = new.id")
    if url.startswith("sqlite"):
        with opened(url.removeprefix("sqlite:///")) as database:
            # Fires once even for what the trigger itself inserts, since recursion is off.
            database.execute(f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN {statement}; END")
        database.close()
        return
    ask(
        url,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql"
        f" AS $$ BEGIN {statement}; RETURN NULL; END $$",
        f"CREATE TRIGGER t AFTER INSERT ON {table} FOR EACH ROW"
        " WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION f()",
    )


@pytest.mark.parametrize("statement", SPOILS.values(), ids=SPOILS.keys())
def test_a_difference_is_told_and_the_target_is_left_empty(
    source_url: str, target_url: str, statement: str
) -> None:
    spoil(target_url, statement)
    with pytest.raises(CopyRefused, match="differs from the source; the target was left empty"):
        copy(source_url, target_url)
    assert_empty(target_url)


def test_a_fault_of_the_target_is_one_line_without_the_row(
    manage: Manage, source_url: str, postgres: Postgres
) -> None:
    target = postgres.new_database()
    spoil(target, "RAISE EXCEPTION 'no clients here' USING DETAIL = 'a digest'")
    result = manage("copy-database", target, status=2)
    assert result.stderr == "Error: The database cannot be asked: no clients here\n"
    assert_empty(target)


def test_while_a_server_has_the_source_or_the_target_nothing_is_copied(
    source_url: str, tmp_path: Path
) -> None:
    target = tmp_path / "target.db"
    for file in (tmp_path / "auth.db", target):
        for alone in (True, False):
            with server_lock(str(file), alone), pytest.raises(CopyRefused, match=f"serves {file}"):
                copy(source_url, f"sqlite:///{target}")
            assert not target.exists()


class Disturbed(Database):
    """A target; at its first insert, somebody else writes to the source."""

    def __init__(self, url: str, source_url: str) -> None:
        super().__init__(url)
        options: dict[str, Any] = {"busy_seconds": 0.01} if source_url.startswith("sqlite") else {}
        self.other: Database | None = Database(source_url, **options)
        self.is_written = False

    async def fetch_all(self, query: Any, values: dict[str, Any] | None = None) -> Any:
        if self.other is not None and isinstance(query, sa.Insert):
            other, self.other = self.other, None
            async with other:
                with suppress(TemporarilyUnavailable):
                    await other.fetch_all(client_keys.delete())
                    self.is_written = True
        return await super().fetch_all(query, values)


@pytest.mark.parametrize("database_url", ENGINES, indirect=True)
def test_what_is_written_meanwhile_is_kept_out_or_not_seen(
    source_url: str, target_url: str
) -> None:
    target = Disturbed(target_url, source_url)

    async def run() -> dict[str, int]:
        async with Database(source_url) as source:
            return await copying.copy(source, target)

    assert asyncio.run(run())["client_keys"] == 3
    assert target.is_written == source_url.startswith("postgresql")
    assert len(rows(target_url)["client_keys"]) == 3


def log_in(url: str, key: str) -> dict[str, Any]:
    pair: dict[str, Any] = assert_answer(
        request("POST", f"{url}/login", json={"client_key": key}), 200
    )
    return pair


def test_sessions_go_on_in_the_copy_and_what_was_ended_stays_ended(
    manage: Manage, settings: Settings, postgres: Postgres, tmp_path: Path
) -> None:
    environ = {"SECRET_KEY": SECRET}
    key = json.loads(manage("create-client", "billing", "--json").stdout)["client_key"]
    target = postgres.new_database()
    with serve(tmp_path, **environ, DATABASE_URL=settings.database_url) as served:
        alive, ended = log_in(served.url, key), log_in(served.url, key)
        spent = log_in(served.url, key)
        headers = bearer(ended["access_token"])
        assert_answer(request("POST", f"{served.url}/logout", headers=headers), 200)
        refresh = {"refresh_token": spent["refresh_token"]}
        successor = assert_answer(request("POST", f"{served.url}/refresh-token", json=refresh), 200)
        refused = manage("copy-database", target, status=2)
        assert refused.stderr.startswith("Error: A server serves ")
        assert refused.stderr.count("\n") == 1
    report = json.loads(manage("copy-database", target, "--json").stdout)
    assert report == {
        "copied": {
            "clients": 1,
            "kept_answers": 0,
            "client_keys": 1,
            "revoked_jtis": 3,
            "counted_sessions": 0,
        }
    }

    with serve(tmp_path, **environ, DATABASE_URL=target) as served:
        assert_answer(
            request("GET", f"{served.url}/me", headers=bearer(alive["access_token"])), 200
        )
        response = request("GET", f"{served.url}/me", headers=headers)
        assert_refused(response, 401, "invalid_token")
        refresh = {"refresh_token": ended["refresh_token"]}
        response = request("POST", f"{served.url}/refresh-token", json=refresh)
        assert_refused(response, 401, "invalid_grant")
        for token in (alive, successor):
            refresh = {"refresh_token": token["refresh_token"]}
            assert_answer(request("POST", f"{served.url}/refresh-token", json=refresh), 200)
        log_in(served.url, key)


def test_a_postgresql_is_asked_about_since_its_servers_are_not_known(
    postgres: Postgres, tmp_path: Path
) -> None:
    environ = {"SECRET_KEY": SECRET, "DATABASE_URL": postgres.new_database()}
    target = tmp_path / "target.db"

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(tmp_path, "manage.py", *arguments, **environ, **watched())

    assert manage("migrate").returncode == 0
    refused = manage("copy-database", f"sqlite:///{target}")
    assert refused.returncode == 2
    assert refused.stderr == (
        "Error: Are all its servers stopped? What they write meanwhile is not copied."
        " Say --yes, since nobody can be asked here.\n"
    )
    assert not target.exists()
    assert manage("copy-database", f"sqlite:///{target}", "--yes").returncode == 0
    assert target.exists()


PASSWORD = "pa55word-of-the-target"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://auth:{PASSWORD}@127.0.0.1:1/auth",
        f"postgresql://auth:{PASSWORD}/x@127.0.0.1/auth",
        f"postgresql://auth:{PASSWORD}#x@127.0.0.1/auth",
        f"postgresql://auth:{PASSWORD}@[::1/auth",
        f"postgresql://auth:{PASSWORD}@127.0.0.1/",
        f"postgresql://auth:{PASSWORD}@127.0.0.1/auth?max_sizes=1",
        f"postgresql://auth:{PASSWORD}@127.0.0.1/auth?max_size=x",
        f"mysql://auth:{PASSWORD}@127.0.0.1/auth",
        "",
        "sqlite:///:memory:",
    ],
)
def test_a_target_that_cannot_be_is_one_line_without_its_password(manage: Manage, url: str) -> None:
    result = manage("copy-database", url, status=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    if not url.endswith(":1/auth"):  # which is a URL; nobody listens there
        assert result.stderr.startswith("Error: URL: ")
    assert PASSWORD not in result.stderr


def test_the_password_of_a_target_is_not_told(
    manage: Manage, postgres: Postgres, source_url: str
) -> None:
    target = postgres.new_database().replace("postgres@", f"postgres:{PASSWORD}@")
    result = manage("copy-database", target)
    assert PASSWORD not in result.stdout + result.stderr
    assert json.loads(result.stderr)["event"] == "database_copied"
    assert result.stdout == (
        f"Copied, and compared row by row: 3 clients, 1 kept_answers, {ENDED + 2} revoked_jtis,"
        " 3 client_keys, 1 counted_sessions.\n"
    )


KILLED = """
import asyncio, os, signal, sys
from authapi.engines import copying
from authapi.engines.database import Database

class Killed(Database):
    questions = 0
    async def fetch_all(self, query, values=None):
        Killed.questions += 1
        if Killed.questions == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().fetch_all(query, values)

async def run():
    async with Database(sys.argv[1]) as source:
        await copying.copy(source, Killed(sys.argv[2]))

asyncio.run(run())
"""


@pytest.mark.parametrize("question", [5, 8, 12])
def test_a_copy_that_is_killed_leaves_nothing(
    source_url: str, target_url: str, question: int
) -> None:
    """Among the inserts, and among the comparisons; then a copy works as if nothing had been."""
    command = [sys.executable, "-c", KILLED, source_url, target_url, str(question)]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGKILL
    assert_empty(target_url)
    copy(source_url, target_url)
