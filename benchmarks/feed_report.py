"""The figures of the feed as tables."""

import statistics
from collections import Counter
from typing import Any

from report import table

Report = dict[str, Any]


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def without_answer(row: Report) -> str:
    """How many polls were refused, or their connections closed."""
    counts: Counter[str] = Counter()
    for name in ("idle", "log_outs"):
        counts.update(row[name]["statuses"])
    return f"{counts.total() - counts['200']:,} of {counts.total():,}"


def show(found: Report) -> str:
    """As Markdown."""
    latencies = []
    for setup, values in found["latency_ms"].items():
        milliseconds = [statistics.median(values), percentile(values, 0.99), values[-1]]
        late = sum(value > 0 for value in values)
        cells = [f"{each:.0f} ms" for each in milliseconds]
        latencies.append([setup, *cells, f"{late} of {len(values)}"])
    costs = [
        [
            f"{row['held']:,}",
            *(f"{row[name]['core']:.0%} of a core" for name in ("idle", "log_outs")),
            f"{row['rss_mb']:.0f} MB",
            without_answer(row),
        ]
        for row in found["cpu"]
    ]
    load, checks = found["first_load"], found["check"]
    facts = {
        "a check of a token that verified before": f"{checks['remembered_us']:.1f} us",
        "a check of a token never seen": f"{checks['new_us']:.0f} us",
        f"first load of {load['entries']:,} entries": f"{load['bytes'] / 1e6:.1f} MB",
        "the same with gzip": f"{load['gzip_bytes'] / 1e6:.1f} MB",
        "the download": f"{load['seconds']:.2f} s",
        "a verifier from its start until it accepts": f"{load['fresh_after_seconds']:.2f} s",
        "memory of the worker with them": f"{load['server_rss_mb']:.0f} MB",
    }
    latency_head = ["answered log-out to refusal elsewhere", "p50", "p99", "at most"]
    cost_head = [
        "polls held by one worker",
        "idle",
        "50 log-outs a second",
        "memory",
        "without an answer",
    ]
    tables = [
        table([*latency_head, "after the answer"], latencies),
        table(cost_head, costs),
        table(["of the verifier in Python", ""], [[*fact] for fact in facts.items()]),
    ]
    noise = f"{found['cores']} cores, load average {found['load_before']} to {found['load_after']}"
    measured = f"Measured on {found['date']}: {noise}, server and load together."
    return "\n\n".join([*tables, measured]) + "\n"
