"""What it costs to count a request for the metrics: the lines that `Endpoint` runs, in a loop."""

import statistics
import time

from authapi.telemetry.counting import Counts

REQUESTS = 100_000


def measure(rounds: int) -> list[float]:
    """CPU microseconds per request, one for each round."""
    return [_round() for _ in range(rounds)]


def _round() -> float:
    counts, path, scope = Counts(), "/secure-data", {"method": "GET"}
    started = time.process_time()
    for _ in range(REQUESTS):
        began = time.perf_counter()
        kind = (path, scope["method"], 200)
        counts.requests[kind].observe(time.perf_counter() - began)
    return (time.process_time() - started) / REQUESTS * 1e6


def show(found: list[float], check_us: float) -> str:
    cost = statistics.median(found)
    return (
        f"To count a request for the metrics costs {cost:.2f} us of CPU"
        f" ({min(found):.2f}-{max(found):.2f}), {cost / check_us:.1%} of a check's {check_us:.0f}."
    )
