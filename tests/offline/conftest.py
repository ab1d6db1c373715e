"""A feed of the tests' own, and verifiers that follow it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests import signing
from tests.npm import install
from tests.offline.driving import LANGUAGES, PACKAGES, Driver, drive
from tests.offline.feed import Feed, serve_feed
from tests.offline.installed import make_environment, make_modules, once, shared_folder


@pytest.fixture(scope="session")
def key() -> signing.ES256:
    return signing.ES256()


@pytest.fixture
def feed(key: signing.ES256) -> Iterator[Feed]:
    with serve_feed(key) as feed:
        yield feed


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "node":
        install(PACKAGES["node"])
    return name


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The Python of an environment that has the verifier, and of the rest what it needs."""
    folder = shared_folder(tmp_path_factory, worker_id) / "verifier-python"
    return str(once(folder, make_environment) / "bin" / "python")


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The Node verifier, installed as a module."""
    folder = once(shared_folder(tmp_path_factory, worker_id) / "verifier-node", make_modules)
    return str(folder / "node_modules" / "auth-api-verifier" / "index.js")


Start = Callable[..., Driver]


@pytest.fixture
def start(feed: Feed, language: str) -> Iterator[Start]:
    """Begin a verifier of this feed. It waits for nothing, unless `patience` says otherwise."""
    with ExitStack() as stack:

        def start(**options: Any) -> Driver:
            options = {"patience": 0} | options
            return stack.enter_context(drive(language, feed.url, **options))

        yield start
