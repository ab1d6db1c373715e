"""A feed of the tests' own, and verifiers that follow it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import signing
from tests.offline.driving import (
    LANGUAGES,
    Driver,
    Process,
    drive,
    node_process,
    python_process,
)
from tests.offline.feed import Feed, serve_feed
from tests.offline.installed import EXAMPLE, make_environment, make_modules, once


@pytest.fixture(scope="session")
def key() -> signing.ES256:
    return signing.ES256()


@pytest.fixture
def feed(key: signing.ES256) -> Iterator[Feed]:
    with serve_feed(key) as feed:
        yield feed


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def python(shared_folder: Path) -> str:
    """The Python of an environment that has the verifier, and of the rest what examples need."""
    return str(once(shared_folder / "verifier-python", make_environment) / "bin" / "python")


@pytest.fixture(scope="session")
def modules(shared_folder: Path) -> Path:
    """The folder of the example, with its modules, the verifier among them."""
    return once(shared_folder / "verifier-node", make_modules) / EXAMPLE


@pytest.fixture(scope="session")
def node(modules: Path) -> Iterator[Process]:
    process = node_process(str(modules / "node_modules" / "auth-api-verifier" / "index.js"))
    yield process
    process.end()


@pytest.fixture(scope="session")
def from_here() -> Iterator[Process]:
    """Verifiers in Python as they are in this repository, whose coverage counts."""
    process = python_process()
    yield process
    process.end()


@pytest.fixture(scope="session")
def installed(python: str, node: Process) -> Iterator[dict[str, Process]]:
    """By their languages."""
    process = python_process(python)
    yield {"python": process, "node": node}
    process.end()


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


Start = Callable[..., Driver]


@pytest.fixture
def start(request: pytest.FixtureRequest, feed: Feed, language: str) -> Iterator[Start]:
    """Begin a verifier of this feed. It waits for nothing, unless `patience` says otherwise."""
    process = request.getfixturevalue({"python": "from_here", "node": "node"}[language])
    with ExitStack() as stack:

        def start(**options: Any) -> Driver:
            options = {"patience": 0} | options
            return stack.enter_context(drive(process, feed.url, **options))

        yield start
