"""`make check` is the core of the tests, and `make test` is all of them: none is in neither."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import LONGEST, UNWATCHED
from tests.serving import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
NOT_IN_CORE = {
    "tests/attacks/test_http.py": "waits for a socket, case by case",
    "tests/clients": "runs the clients of others, each a process, on Node too",
    "tests/commands/test_file_rights.py": "real processes, one for each command",
    "tests/commands/test_mistakes.py": "real processes, one for each command",
    "tests/engines/test_copying.py": "copies between whole databases, from each engine to each",
    "tests/examples": "hashes passwords, and runs real processes",
    "tests/deploy/test_container.py": "builds an image, and runs it",
    "tests/deploy/test_nginx.py": "real processes, nginx among them",
    "tests/deploy/test_scraped.py": "runs Prometheus",
    "tests/deploy/test_systemd.py": "boots a machine",
    "tests/faults": "real processes, under load, which are killed",
    "tests/fuzz": "thousands of examples",
    "tests/html/test_browser.py": "runs Chromium, and Node",
    "tests/offline": "runs verifiers as processes, on Node too, and waits for leases to end",
    "tests/pages": "types every command that the pages show",
    "tests/project/test_benchmarks.py": "starts what is measured by",
    "tests/project/test_make.py": "makes a virtual environment",
    "tests/project/test_postman.py": "runs newman",
    "tests/server/test_feed.py": "real processes, one for each test",
    "tests/server/test_listening.py": "real processes, one for each test",
    "tests/server/test_nginx.py": "real processes, nginx among them",
    "tests/server/test_served.py": "real processes, one for each test",
    "tests/server/test_signing_key_rotation.py": "waits for keys to become due",
    "tests/server/test_slow_clients.py": "waits for who is slow",
    "tests/verifiers": "runs Node, and a server for each algorithm",
}


def core() -> list[str]:
    """As the Makefile names it."""
    match = re.search(r"^CORE := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert match is not None
    return match[1].replace("\\\n", " ").split()


def is_in(file: Path, places: list[str]) -> bool:
    return any(file.is_relative_to(place) for place in places)


FILES = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("test_*.py"))]


def test_each_file_is_in_the_core_or_is_left_out_for_a_reason() -> None:
    assert len(FILES) > 60
    counts = {file: is_in(file, core()) + is_in(file, [*NOT_IN_CORE]) for file in FILES}
    assert not {str(file): count for file, count in counts.items() if count != 1}


def test_no_two_tests_have_one_name(request: pytest.FixtureRequest) -> None:
    """Of those that have, only one is run where several processes share the work."""
    names = Counter(test.nodeid for test in request.session.items)
    assert not {name: count for name, count in names.items() if count > 1}


def test_the_core_names_nothing_that_is_not_there() -> None:
    assert not [place for place in core() if not (ROOT / place).exists()]


def test_what_is_begun_first_or_not_watched_is_there() -> None:
    assert not [place for place in (*LONGEST, *UNWATCHED) if not (ROOT / place).exists()]


def test_make_test_leaves_nothing_out() -> None:
    """Neither by a path, nor by a name or a mark."""
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    options = re.search(r"^PYTEST := (.*)$", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    assert options is not None
    assert "coverage run $(PYTEST)\n" in recipe[1]
    assert options[1].split() == [
        "-m",
        "pytest",
        "--numprocesses",
        "5",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
    ]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests"]
    assert settings["addopts"] == "--strict-markers -q"


def test_no_test_imports_from_another() -> None:
    """What two of them need is a helper's, which is read without its tests."""
    line = re.compile(r"^\s*from tests(?:\.\w+)*\.test_\w+ import", re.MULTILINE)
    found = [str(path) for path in FILES if line.search((ROOT / path).read_text())]
    assert set(found) <= MAY_IMPORT_FROM_TESTS


MAY_IMPORT_FROM_TESTS = {
    "tests/pages/test_contributing.py",  # the map is that of the house
}
