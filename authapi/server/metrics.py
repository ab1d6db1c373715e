"""Metrics for Prometheus, on a port of their own: each worker writes what it has counted into a
file, and the process that started them adds the files up when it is asked."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from authapi.telemetry.counting import SECONDS, STATEMENTS, Counts
from authapi.telemetry.version import VERSION

FOLDER = "AUTH_API_METRICS_FOLDER"
"""The variable that tells a worker where to write."""

COUNTERS = {
    "events": ("auth_events", "Security events, as in the audit trail.", ["event"]),
    "refusals": ("auth_refusals", "Refused logins, refreshes and tokens.", ["event", "reason"]),
}
HISTOGRAMS: dict[str, tuple[str, str, list[str], Sequence[float]]] = {
    "requests": (
        "auth_http_request_duration_seconds",
        "Requests by route, method and status, from the handler's start to the answer.",
        ["route", "method", "status"],
        SECONDS,
    ),
    "database": (
        "auth_database_question_duration_seconds",
        "Questions to the database, with the wait for a connection.",
        [],
        SECONDS,
    ),
    "commits": (
        "auth_group_commit_statements",
        "Statements that SQLite has committed together.",
        [],
        STATEMENTS,
    ),
}
GAUGES = {
    "age": (
        "auth_revocations_age_seconds",
        "Since the oldest copy of the revocations was last read, of all workers.",
    ),
    "entries": ("auth_revocations_entries", "Entries of the largest copy of the revocations."),
    "held": ("auth_revocations_polls_held", "Polls of verifiers that one worker holds, at most."),
}


class Reporter:
    """Of a worker: writes its counts, which are whole each time."""

    def __init__(self, counts: Counts, gauges: Callable[[], dict[str, float]]) -> None:
        folder = os.environ.get(FOLDER, "")
        name = f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._path = Path(folder) / name if folder else None
        self._counts = counts
        self._gauges = gauges

    async def write(self) -> None:
        """Once a second. A reader sees the old file or the new one."""
        if self._path is None:
            return
        content = orjson.dumps({**self._counts.snapshot(), "gauges": self._gauges()})
        new = self._path.with_suffix(".new")
        with suppress(FileNotFoundError):  # the folder goes first when all stops
            new.write_bytes(content)
            new.replace(self._path)


class Totals:
    """By metric and labels: a count, or the counts of a histogram and their total."""

    def __init__(self) -> None:
        self.values: dict[str, dict[tuple[str, ...], list[Any]]] = {}

    def add(self, snapshot: dict[str, Any]) -> None:
        for name in (*COUNTERS, *HISTOGRAMS):
            kind = self.values.setdefault(name, {})
            for labels, *values in snapshot[name]:
                before = kind.get(tuple(labels))
                kind[tuple(labels)] = values if before is None else _sum(before, values)


def _sum(one: list[Any], other: list[Any]) -> list[Any]:
    return [
        [a + b for a, b in zip(x, y, strict=True)] if isinstance(x, list) else x + y
        for x, y in zip(one, other, strict=True)
    ]


class Workers(Collector):
    """What Prometheus is told, made anew each time it asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gone = Totals()

    def collect(self) -> Iterator[Metric]:
        totals, gauges = self._read()
        for name, (title, says, labels) in COUNTERS.items():
            counter = CounterMetricFamily(title, says, labels=labels)
            for of, (count,) in totals.values.get(name, {}).items():
                counter.add_metric(of, count)
            yield counter
        for name, (title, says, labels, bounds) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(title, says, labels=labels)
            for of, (counts, total) in totals.values.get(name, {}).items():
                histogram.add_metric(of, _cumulative(bounds, counts), total)
            yield histogram
        for name, (title, says) in GAUGES.items():
            largest = max((each[name] for each in gauges), default=0)
            yield GaugeMetricFamily(title, says, value=largest)
        yield GaugeMetricFamily("auth_workers", "Workers that serve.", value=len(gauges))
        yield InfoMetricFamily("auth_build", "Which version this is.", value={"version": VERSION})

    def _read(self) -> tuple[Totals, list[dict[str, float]]]:
        totals, gauges = Totals(), []
        for path in self._folder.glob("*.json"):
            snapshot = orjson.loads(path.read_bytes())
            if _is_alive(int(path.name.partition("-")[0])):
                totals.add(snapshot)
                gauges.append(snapshot["gauges"])
            else:
                self._gone.add(snapshot)
                path.unlink()
        for name, kind in self._gone.values.items():
            totals.add({**_EMPTY, name: [[labels, *values] for labels, values in kind.items()]})
        return totals, gauges


_EMPTY: dict[str, list[Any]] = {name: [] for name in (*COUNTERS, *HISTOGRAMS)}


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """As Prometheus wants it: of each bound, all that was at most as large."""
    total, buckets = 0, []
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def expose(host: str, port: int, folder: Path) -> None:
    """Serve the metrics until the process ends. Raises `OSError` where nobody can listen."""
    registry = CollectorRegistry()
    registry.register(Workers(folder))
    start_http_server(port, host, registry)
    os.environ[FOLDER] = str(folder)
