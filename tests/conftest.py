"""What the tests share: a clock that they move, and the service with one registered client."""

import asyncio
import dataclasses
import fcntl
import gc
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from coverage import Coverage
from starlette.testclient import TestClient

from app import create_app
from authapi.credentials.client_keys import new_client_id, new_client_key
from authapi.engines.database import Database
from authapi.store import clients as registry
from authapi.store import database_identity
from authapi.telemetry.logs import JSONFormatter
from manage import cli
from settings import Settings, load_settings
from tests.inline import Client
from tests.postgres import MIGRATED, Postgres, make_files, memory, run_postgres
from tests.serving import ROOT, make_tables, stop_watching

SECRET = "correct-horse-battery-staple-for-the-tests"  # nothing else uses it
NOW = 1_800_000_000.25
DATABASE_ID = "0123456789abcdef"
"""Of the databases that `settings` makes, so that a token for them can be made by hand."""
FIGURES = "figures"
"""The property of a test that holds what it has counted, to be told at the end."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclasses.dataclass
class Registered:
    """A client as its operator knows it."""

    id: str
    key: str
    key_id: str


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """A command that runs in this process sets the level of all logging."""
    before = logging.root.level
    yield
    logging.root.setLevel(before)


Trail = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def trail(caplog: pytest.LogCaptureFixture) -> Trail:
    """The lines of the audit trail since the last time, as a machine reads them."""
    caplog.set_level(logging.INFO, "auth.audit")

    def trail() -> list[dict[str, Any]]:
        records = [record for record in caplog.records if record.name == "auth.audit"]
        caplog.clear()
        return [json.loads(JSONFormatter().format(record)) for record in records]

    return trail


UNWATCHED = (
    "tests/attacks",
    "tests/clients",
    "tests/commands/test_file_rights.py",
    "tests/commands/test_manage.py",
    "tests/commands/test_mistakes.py",
    "tests/credentials/test_base64url.py",
    "tests/deploy",
    "tests/endpoints/test_app.py",
    "tests/endpoints/test_login.py",
    "tests/endpoints/test_refresh_token.py",
    "tests/endpoints/test_scopes.py",
    "tests/engines/test_log_size.py",
    "tests/examples/test_fresh_key.py",
    "tests/examples/test_users_served.py",
    "tests/faults",
    "tests/fuzz",
    "tests/html/test_browser.py",
    "tests/managing/test_who_may.py",
    "tests/offline/test_catalogue.py",
    "tests/offline/test_clocks.py",
    "tests/offline/test_examples.py",
    "tests/offline/test_polling.py",
    "tests/offline/test_states.py",
    "tests/pages",
    "tests/project",
    "tests/revocation/test_feed_model.py",
    "tests/rules/test_client_key_uses.py",
    "tests/server/test_feed.py",
    "tests/server/test_limits.py",
    "tests/server/test_served.py",
    "tests/server/test_signing_key_rotation.py",
    "tests/server/test_slow_clients.py",
    "tests/store/test_indexes.py",
    "tests/verifiers",
)
"""Tests of lines that others reach as well. While lines are noted for coverage, all takes twice as
long: so not here, but in processes that are `watched`."""
COVERAGE = Coverage.current()


def import_all() -> None:
    """Each module of ours, while what that runs is noted."""
    for package in ("authapi", "auth_api_verifier"):
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)


if COVERAGE is not None:
    import_all()


@pytest.fixture(autouse=True, scope="module")
def noting(request: pytest.FixtureRequest) -> Iterator[None]:
    if COVERAGE is None or any(is_in(request.path, place) for place in UNWATCHED):
        yield
        return
    COVERAGE.start()
    stop_watching()  # which it has begun again
    yield
    COVERAGE.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "auth.db"


@pytest.fixture
def max_age() -> float:
    """How old a copy of the revocations may be; with 0, every request asks the database."""
    return 60


@pytest.fixture(scope="session")
def postgres_files(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What each PostgreSQL begins with, made by whichever process of the test run is the first."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder if worker_id == "master" else folder.parent
    files = shared / "postgres"
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not files.exists():
            make_files(files, lambda url: asyncio.run(make_database(url)))
    return files


@pytest.fixture(scope="session")
def postgres(postgres_files: Path) -> Iterator[Postgres]:
    with run_postgres(postgres_files) as postgres:
        yield postgres


ENGINES = ["sqlite", "postgresql"]


def new_url(request: pytest.FixtureRequest, engine: str, file: Path) -> str:
    """Of a database without tables, or of a file that is not there."""
    return _new_url(request, engine, file, "template1")


def url_for_settings(request: pytest.FixtureRequest, engine: str, file: Path) -> str:
    """Of a database with tables, or of a file that is not there: `settings` copies one."""
    return _new_url(request, engine, file, MIGRATED)


def _new_url(request: pytest.FixtureRequest, engine: str, file: Path, template: str) -> str:
    if engine == "sqlite":
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("postgres").new_database(template)
    return url


@pytest.fixture
def database_url(database_file: Path) -> str:
    return f"sqlite:///{database_file}"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file to copy, with the identity that the tests know."""
    file = tmp_path_factory.mktemp("migrated") / "auth.db"
    asyncio.run(make_database(f"sqlite:///{file}"))
    return file


@pytest.fixture
def settings(database_url: str, max_age: float, migrated: Path) -> Settings:
    return settings_of(database_url, max_age, migrated)


def settings_of(database_url: str, max_age: float, migrated: Path) -> Settings:
    """Of a file that is made by that, or of a PostgreSQL."""
    settings = dataclasses.replace(
        _settings(), database_url=database_url, revocation_max_age_seconds=max_age
    )
    if settings.database_url.startswith("sqlite"):
        shutil.copy(migrated, settings.database_url.removeprefix("sqlite:///"))
    return settings


@cache
def _settings() -> Settings:
    return load_settings(
        {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": "sqlite:///of-each-test.db",
            "LOGIN_FAILURES_BY_ADDRESS": "1000000/second",
        }
    )


async def make_database(url: str) -> None:
    """With the schema, and with the identity that the tests know."""
    await make_tables(url)
    async with Database(url) as database:
        await database_identity.change_identity(database, DATABASE_ID, int(NOW))


Register = Callable[[str], Registered]


@pytest.fixture
def register(settings: Settings) -> Register:
    return lambda name: new_client(settings, name)


def new_client(settings: Settings, name: str) -> Registered:
    client_id, key = new_client_id(), new_client_key()

    async def create() -> None:
        async with Database(settings.database_url) as database:
            assert await registry.create_client(database, client_id, name, key, int(NOW))

    asyncio.run(create())
    return Registered(client_id, key.text, key.id)


@pytest.fixture
def registered(register: Register) -> Registered:
    return register("reporting")


@pytest.fixture
def api(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with Client(create_app(settings, clock)) as client:
        yield client


class Shared(NamedTuple):
    """One service for all tests of a file, of which none changes what another one sees."""

    api: TestClient
    registered: Registered


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Shared]:
    file = tmp_path_factory.mktemp("shared") / "auth.db"
    settings = settings_of(f"sqlite:///{file}", 60, migrated)
    registered = new_client(settings, "reporting")
    with Client(create_app(settings, Clock())) as api:
        yield Shared(api, registered)


@pytest.fixture
def restart(
    api: TestClient, settings: Settings, clock: Clock
) -> Iterator[Callable[[], TestClient]]:
    """Stop the service, and start it on the same database as another process would."""
    with ExitStack() as stack:
        stack.push(api.__exit__)

        def restart() -> TestClient:
            stack.close()
            return stack.enter_context(Client(create_app(settings, clock)))

        yield restart


@pytest.fixture
def login(api: TestClient, registered: Registered) -> Callable[[], dict[str, str]]:
    """Log the registered client in, and return the answer."""

    def login() -> dict[str, str]:
        response = api.post("/login", json={"client_key": registered.key})
        assert response.status_code == 200, response.text
        pair: dict[str, str] = response.json()
        return pair

    return login


Do = Callable[[Callable[[Database], Any]], Any]


@pytest.fixture
def do(settings: Settings) -> Do:
    """What an operator does, as if from another process."""

    def do(action: Callable[[Database], Any]) -> Any:
        async def run() -> Any:
            async with Database(settings.database_url) as database:
                return await action(database)

        return asyncio.run(run())

    return do


Manage = Callable[..., Result]


@pytest.fixture
def manage(settings: Settings) -> Manage:
    """Types a command."""

    def manage(*arguments: str, status: int = 0) -> Result:
        environ = {"SECRET_KEY": SECRET, "DATABASE_URL": settings.database_url}
        result = CliRunner().invoke(cli, arguments, env=environ)
        assert result.exit_code == status, result.output
        return result

    return manage


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as fault:
        pytest.skip(f"no small disk can be mounted here: {fault}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=20)


LONGEST = (
    "tests/faults/test_workers.py",
    "tests/pages",
    "tests/commands/test_file_rights.py",
    "tests/deploy/test_container.py",
    "tests/engines/test_copying.py",
    "tests/commands/test_running.py",
    "tests/server/test_slow_clients.py",
    "tests/faults",
    "tests/examples",
    "tests/html/test_browser.py",
    "tests/server/test_served.py",
    "tests/offline",
    "tests/deploy",
    "tests/project/test_postman.py",
    "tests/fuzz",
    "tests/clients",
    "tests/verifiers",
    "tests/server",
    "tests/commands",
    "tests/attacks",
    "tests/endpoints/test_own_keys.py",
)
"""Begun first, or else one of them is left over at the end, and all but one process are idle."""


def pytest_configure(config: pytest.Config) -> None:
    """Where the folders of the tests are, unless whoever runs them says so; and that compiled code
    is kept: a process takes a third less to start. To find the tests takes twice as long while
    lines are noted, and a quarter longer while garbage is looked for: there is none yet."""
    if folder := memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if COVERAGE is not None:
        COVERAGE.stop()
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Not called where the tests run in other processes, which are started to be watched."""
    stop_watching()
    gc.enable()
    gc.freeze()  # all that was found stays: to look for garbage in it takes a third of a second
    items.sort(key=rank)


def rank(item: pytest.Item) -> int:
    return rank_of(item.path)


@cache
def rank_of(file: Path) -> int:
    places = (number for number, place in enumerate(LONGEST) if is_in(file, place))
    return next(places, len(LONGEST))


def is_in(file: Path, place: str) -> bool:
    return file.relative_to(ROOT).is_relative_to(place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """From the reports, since the tests may have run in other processes."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [text for report in reports for name, text in report.user_properties if name == FIGURES]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(str(line))
