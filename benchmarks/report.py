"""From the measurements to ratios, and to the tables of the report."""

import statistics
from collections.abc import Callable, Iterable
from typing import Any

import counting

Measurement = dict[str, float]
Round = dict[str, dict[str, Measurement]]
"""By scenario, then by peer."""
Ratios = dict[str, dict[str, list[float]]]
CHECK = "secure-data, one token"
"""The scenario of a check and of nothing else."""


def values(rounds: Iterable[Round], scenario: str, peer: str, what: str) -> list[float]:
    return [each[scenario][peer][what] for each in rounds]


def rates(rounds: list[Round]) -> Ratios:
    """Requests per second as a share of `bare`'s in the same round, by scenario and by peer."""
    return _paired(rounds, lambda peer, bare: peer["rate"] / bare["rate"])


def costs(rounds: list[Round]) -> Ratios:
    """`bare`'s CPU time per request as a share of a peer's: so much would be left of its speed."""
    return _paired(rounds, lambda peer, bare: bare["cpu_us"] / peer["cpu_us"])


def _paired(rounds: list[Round], ratio: Callable[[Measurement, Measurement], float]) -> Ratios:
    return {
        scenario: {
            peer: [ratio(each[scenario][peer], each[scenario]["bare"]) for each in rounds]
            for peer in peers
            if peer != "bare"
        }
        for scenario, peers in rounds[0].items()
    }


def spread(found: list[float]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def show_ratios(found: Ratios, title: str) -> str:
    peers = list(next(iter(found.values())))
    rows = [
        [scenario, *(spread(by_peer[peer]) for peer in peers)]
        for scenario, by_peer in found.items()
    ]
    return table([title, *peers], rows)


def show_details(rounds: list[Round]) -> str:
    """Medians, a line for each scenario and peer."""
    rows = []
    for scenario, peers in rounds[0].items():
        for peer in peers:

            def median(what: str, scenario: str = scenario, peer: str = peer) -> float:
                return statistics.median(values(rounds, scenario, peer, what))

            cells = [f"{median('rate'):,.0f}", f"{median('cpu_us'):,.0f}"]
            cells += [f"{median('p50_ms'):.1f}", f"{median('p99_ms'):.1f}"]
            rows.append([scenario, peer, *cells])
    head = ["", "", "requests/s", "CPU, us/request", "p50, ms", "p99, ms"]
    return table(head, rows)


def show_memory(rounds: list[Round]) -> str:
    last = list(rounds[-1].values())[-1]
    return table(
        ["resident after the last round", *last],
        [["MB", *(f"{measured['memory_mb']:.0f}" for measured in last.values())]],
    )


def show_cost_of_forged(rounds: list[Round]) -> str:
    """What a stranger can make us spend, against what a caller costs."""
    kinds = {
        "a forged token": "forged tokens",
        "a good one, never seen before": "secure-data, tokens never seen before",
        "a good one, seen before": "secure-data, 1,000 tokens in turn",
    }
    measured = {
        kind: values(rounds, scenario, "ours", "cpu_us")
        for kind, scenario in kinds.items()
        if scenario in rounds[0]
    }
    cells = [f"{statistics.median(found):.0f}" for found in measured.values()]
    return table(["ours, CPU per request", *measured], [["us", *cells]])


def show_workers(found: dict[str, dict[int, list[float]]]) -> str:
    rows = []
    for peer, by_number in found.items():
        one, *more = by_number.values()
        gains = [[b / a for a, b in zip(one, rates, strict=True)] for rates in more]
        medians = [f"{statistics.median(rates):,.0f}" for rates in (one, *more)]
        rows.append([peer, *medians, *(spread(gain) for gain in gains)])
    head = ["requests/s, workers and wrk on the same cores", "1 worker", "2 workers", "gain"]
    return table(head, rows)


def show(report: dict[str, Any]) -> str:
    rounds: list[Round] = report["rounds"]
    shown = [
        f"{len(rounds)} rounds, {report['seconds']} s each, {report['cores']} cores;"
        " medians, with the lowest and the highest of the rounds. Whoever else uses the machine"
        " takes from the requests per second of the one that is measured, and hardly from its"
        " CPU time per request.",
        show_ratios(rates(rounds), "requests/s as a share of `bare`'s"),
        show_ratios(costs(rounds), "CPU per request: `bare`'s as a share of theirs"),
        show_details(rounds),
        show_memory(rounds),
    ]
    if "ours" in next(iter(rounds[0].values())):
        shown.append(show_cost_of_forged(rounds))
        if CHECK in rounds[0]:
            check_us = statistics.median(values(rounds, CHECK, "ours", "cpu_us"))
            shown.append(counting.show(report["counting_us"], check_us))
    if report["workers"]:
        shown.append(show_workers(report["workers"]))
    shown += [
        f"{who}: {', '.join(f'{name} {version}' for name, version in what.items())}"
        for who, what in report["versions"].items()
    ]
    return "\n\n".join(shown) + "\n"
