"""Services that several tests share, and the judge of what they answered."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.conftest import FIGURES
from tests.faults.client import Recorder
from tests.faults.history import check
from tests.faults.services import GRACE_SECONDS, Service, serve_file, serve_nodes
from tests.postgres import Postgres

Judge = Callable[..., None]


@pytest.fixture(scope="package")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("workers") / "auth.db"
    grace = str(GRACE_SECONDS)
    with serve_file(file, REFRESH_GRACE_SECONDS=grace, MANAGEMENT="on") as service:
        yield service


@pytest.fixture(scope="package")
def nodes(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Service]:
    urls = [postgres.new_database()] * 3
    folder = tmp_path_factory.mktemp("nodes")
    grace = str(GRACE_SECONDS)
    with serve_nodes(folder, urls, REFRESH_GRACE_SECONDS=grace, MANAGEMENT="on") as service:
        yield service


@pytest.fixture(params=["two workers on SQLite", "three nodes on PostgreSQL"])
def service(request: pytest.FixtureRequest) -> Service:
    fixture = "workers" if "SQLite" in request.param else "nodes"
    service: Service = request.getfixturevalue(fixture)
    return service


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """Let the one checker look at the history, and tell what there was to look at."""

    def judge(
        recorder: Recorder,
        services: Sequence[Service] = (),
        grace_seconds: float = GRACE_SECONDS,
        max_age_seconds: float = 0.5,
        is_shared: bool = True,
        **figures: int,
    ) -> None:
        violations = check(recorder.events, grace_seconds, max_age_seconds, is_shared=is_shared)
        figures |= {
            "sessions": len(recorder.sessions),
            "events": len(recorder.events),
            "503": recorder.count(503),
            "violations": len(violations),
        }
        told = ", ".join(f"{name} {figure}" for name, figure in figures.items())
        request.node.user_properties.append((FIGURES, f"{request.node.name}: {told}"))
        assert not violations, "\n".join(violations[:20])
        for service in services:
            service.assert_silent(recorder)

    return judge
