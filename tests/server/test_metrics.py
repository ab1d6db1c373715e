"""What Prometheus is told: the counts of all workers, whoever of them is gone."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from authapi.server.metrics import FOLDER, Reporter, Workers
from authapi.telemetry.counting import MAX_REASONS, SECONDS, Counts, Distribution
from authapi.telemetry.version import VERSION
from tests.conftest import SECRET, Registered
from tests.serving import create_client, free_port, request, run, serve, watched

GAUGES = {"age": 0.25, "entries": 3.0, "held": 0.0}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def counted() -> Counts:
    counts = Counts()
    counts.requests["/me", "GET", 200].observe(0.002)
    counts.requests["/me", "GET", 200].observe(9.0)
    counts.events["login"] += 3
    counts.refuse("login_refused", "unknown key")
    counts.commits.observe(3)
    return counts


def write(counts: Counts, gauges: dict[str, float] = GAUGES) -> None:
    asyncio.run(Reporter(counts, lambda: gauges).write())


def read(folder: Path, collector: Workers | None = None) -> dict[str, float]:
    """By the name and the labels of each sample."""
    registry = CollectorRegistry()
    registry.register(collector or Workers(folder))
    return samples(generate_latest(registry).decode())


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def named(name: str, **labels: str) -> str:
    return f"{name}{sorted(labels.items()) or ''}"


ME = {"route": "/me", "method": "GET", "status": "200"}
TOOK = "auth_http_request_duration_seconds"


def test_the_counts_of_all_workers_are_added_up(folder: Path) -> None:
    write(counted())
    write(counted(), {"age": 7.5, "entries": 1.0, "held": 2.0})
    told = read(folder)
    assert told[named(f"{TOOK}_count", **ME)] == 4
    assert told[named(f"{TOOK}_sum", **ME)] == pytest.approx(18.004)
    assert told[named(f"{TOOK}_bucket", **ME, le="0.001")] == 0
    assert told[named(f"{TOOK}_bucket", **ME, le="0.0025")] == 2
    assert told[named(f"{TOOK}_bucket", **ME, le="5.0")] == 2
    assert told[named(f"{TOOK}_bucket", **ME, le="+Inf")] == 4
    assert told[named("auth_events_total", event="login")] == 6
    refused = named("auth_refusals_total", event="login_refused", reason="unknown key")
    assert told[refused] == 2
    assert told[named("auth_group_commit_statements_sum")] == 6
    assert told["auth_workers"] == 2
    assert told["auth_revocations_age_seconds"] == 7.5
    assert told["auth_revocations_entries"] == 3
    assert told["auth_revocations_polls_held"] == 2
    assert told[named("auth_build_info", version=VERSION)] == 1


def test_a_worker_that_is_gone_takes_no_count_along(folder: Path) -> None:
    write(counted())
    (file,) = folder.glob("*.json")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    file.rename(folder / f"{gone.pid}-0.json")
    write(counted())
    collector = Workers(folder)
    for _ in range(2):
        told = read(folder, collector)
        assert told[named("auth_events_total", event="login")] == 6
        assert told[named(f"{TOOK}_count", **ME)] == 4
        assert told["auth_workers"] == 1
    assert len(list(folder.glob("*.json"))) == 1


def test_a_worker_writes_whole_counts_each_time(folder: Path) -> None:
    counts = counted()
    reporter = Reporter(counts, lambda: GAUGES)
    asyncio.run(reporter.write())
    counts.events["login"] += 1
    asyncio.run(reporter.write())
    assert read(folder)[named("auth_events_total", event="login")] == 4
    assert len(list(folder.iterdir())) == 1


def test_before_anything_was_counted_all_names_are_there(folder: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Workers(folder))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert {family.name for family in families} == {
        "auth_events",
        "auth_refusals",
        TOOK,
        "auth_database_question_duration_seconds",
        "auth_group_commit_statements",
        "auth_revocations_age_seconds",
        "auth_revocations_entries",
        "auth_revocations_polls_held",
        "auth_workers",
        "auth_build_info",
    }


def test_names_and_units_are_as_prometheus_wants_them(folder: Path) -> None:
    """As `promtool check metrics` does."""
    write(counted())
    registry = CollectorRegistry()
    registry.register(Workers(folder))
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        assert re.fullmatch("[a-z][a-z_]*[a-z]", family.name)
        assert family.documentation.endswith(".")
        assert not re.search("milli|micro|minutes|hours|kilo|_ms$", family.name)
        assert not re.search(r"_(count|sum|bucket|total|counter|gauge|histogram)$", family.name)
        if family.type == "counter":
            assert {sample.name for sample in family.samples} <= {f"{family.name}_total"}
        for sample in family.samples:
            assert not {"job", "instance", "quantile"} & set(sample.labels)


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    write(counted())
    monkeypatch.setenv(FOLDER, str(tmp_path / "gone"))
    write(counted())
    assert list(tmp_path.iterdir()) == []


def test_reasons_take_no_room_without_end() -> None:
    counts = Counts()
    for number in range(2 * MAX_REASONS):
        counts.refuse("token_refused", f"reason {number}")
    assert len(counts.refusals) == MAX_REASONS + 1
    assert counts.refusals["token_refused", "other"] == MAX_REASONS


def test_a_value_is_counted_at_the_first_bound_that_it_does_not_pass() -> None:
    for value, place in ((0.0, 0), (SECONDS[0], 0), (SECONDS[1], 1), (5.0, 12), (5.1, 13)):
        counts = Distribution(SECONDS)
        counts.observe(value)
        assert counts.counts.index(1) == place
        assert counts.total == value


@pytest.fixture
def since(api: TestClient) -> Iterator[Counts]:
    """The counts of this process, which are there once, as at the start of the test."""
    from authapi.telemetry import counting

    before = counting.counts.snapshot()
    yield counting.counts
    assert before != counting.counts.snapshot()


def test_requests_are_counted_by_route_and_not_by_path(
    api: TestClient, registered: Registered, since: Counts
) -> None:
    def count(*kind: object) -> int:
        return sum(since.requests[kind].counts) if kind in since.requests else 0

    kinds: list[tuple[object, ...]] = [
        ("/login", "POST", 200),
        ("/login", "POST", 401),
        ("other", "GET", 404),
        ("other", "other", 405),
        ("other", "GET", 405),
    ]
    before = [count(*kind) for kind in kinds]
    api.post("/login", json={"client_key": registered.key})
    api.post("/login", json={"client_key": "x"})
    for path in ("/a", "/b"):
        api.get(path)
    api.request("BREW", "/login")
    api.get("/login")
    after = [count(*kind) for kind in kinds]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 2, 1, 1]


def test_two_workers_are_told_of_on_a_port_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    environ = {"SECRET_KEY": SECRET, "WORKERS": "2"} | watched()
    environ |= {"DATABASE_URL": f"sqlite:///{tmp_path}/auth.db"}
    key = create_client(tmp_path, **environ)
    with serve(tmp_path, **environ, METRICS_PORT=str(port)) as served:
        for _ in range(20):
            request("POST", f"{served.url}/login", json={"client_key": key})
        give_up = time.monotonic() + 20
        told: dict[str, float] = {}
        login = named("auth_events_total", event="login")
        while told.get(login) != 20 or told["auth_workers"] != 2:
            assert time.monotonic() < give_up, told
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                told = samples(answer.read().decode())
        assert told["auth_revocations_age_seconds"] < 5
        assert request("GET", f"{served.url}/metrics").status_code == 404
        taken = run(tmp_path, "app.py", **environ, PORT=str(free_port()), METRICS_PORT=str(port))
        assert taken.returncode == 2
        assert taken.stderr == (
            f"METRICS_PORT={port} is taken on METRICS_HOST=127.0.0.1: "
            "stop what has it, or set another METRICS_PORT.\n"
        )
        for secret in (key, SECRET, "billing"):
            assert secret not in str(told)
