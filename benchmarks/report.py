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
DURABLE = "refresh, durable"
FORGETFUL = {"fastify", "flask"}
"""Peers whose refresh writes nothing, so that their figure is of something else."""
COLUMNS = 5
"""Of peers, in one table."""


def values(rounds: Iterable[Round], scenario: str, peer: str, what: str) -> list[float]:
    return [each[scenario][peer][what] for each in rounds]


def costs(rounds: list[Round]) -> Ratios:
    """`bare`'s CPU time per request as a share of a peer's in the same round, by scenario and by
    peer: so much would be left of its speed."""
    return _paired(rounds, "bare", lambda peer, bare: bare["cpu_us"] / peer["cpu_us"])


def against_ours(rounds: list[Round]) -> Ratios:
    """A peer's CPU time per request over ours in the same round."""
    found = _paired(rounds, "ours", lambda peer, ours: peer["cpu_us"] / ours["cpu_us"])
    for by_peer in found.values():
        del by_peer["bare"]
    return found


def rates(rounds: list[Round]) -> Ratios:
    """Requests per second as a share of `bare`'s in the same round."""
    return _paired(rounds, "bare", lambda peer, bare: peer["rate"] / bare["rate"])


def _paired(
    rounds: list[Round], with_peer: str, ratio: Callable[[Measurement, Measurement], float]
) -> Ratios:
    return {
        scenario: {
            peer: [ratio(each[scenario][peer], each[scenario][with_peer]) for each in rounds]
            for peer in peers
            if peer != with_peer
        }
        for scenario, peers in rounds[0].items()
    }


def spread(found: list[float]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def show_ratios(found: Ratios, title: str) -> str:
    """A table, or several where the peers are too many for a page."""
    peers = list(next(iter(found.values())))
    parts = [peers[start : start + COLUMNS] for start in range(0, len(peers), COLUMNS)]
    return "\n\n".join(
        table(
            [title, *part],
            (
                [scenario, *(_cell(scenario, peer, by_peer[peer]) for peer in part)]
                for scenario, by_peer in found.items()
            ),
        )
        for part in parts
    )


def _cell(scenario: str, peer: str, found: list[float]) -> str:
    shown = spread(found)
    return f"*{shown}*" if scenario == DURABLE and peer in FORGETFUL else shown


def show_ours(rounds: list[Round]) -> str:
    """For whoever reads one row."""
    medians = {name: statistics.median(each["ours"]) for name, each in costs(rounds).items()}
    cells = [f"{median:.2f}" for median in medians.values()]
    return table(["CPU per request", *medians], [["`bare`'s as a share of ours", *cells]])


def show_details(rounds: list[Round]) -> str:
    """Medians, a line for each scenario and peer."""
    rows = []
    for scenario, peers in rounds[0].items():
        for peer in peers:

            def median(what: str, scenario: str = scenario, peer: str = peer) -> float:
                return statistics.median(values(rounds, scenario, peer, what))

            cells = [f"{median('cpu_us'):,.0f}", f"{median('rate'):,.0f}"]
            cells += [f"{median('p50_ms'):.1f}", f"{median('p99_ms'):.1f}"]
            rows.append([scenario, peer, *cells])
    head = ["", "", "CPU, us/request", "requests/s", "p50, ms", "p99, ms"]
    return table(head, rows)


def show_memory(rounds: list[Round]) -> str:
    last = list(rounds[-1].values())[-1]
    return table(
        ["resident after the last round", *last],
        [["MB", *(f"{measured['memory_mb']:.0f}" for measured in last.values())]],
    )


def show_workers(found: dict[str, dict[int, list[float]]]) -> str:
    rows = []
    for peer, by_number in found.items():
        one, *more = by_number.values()
        gains = [[b / a for a, b in zip(one, rates, strict=True)] for rates in more]
        medians = [f"{statistics.median(rates):,.0f}" for rates in (one, *more)]
        rows.append([peer, *medians, *(spread(gain) for gain in gains)])
    head = ["requests/s, workers and wrk on the same cores", "1 worker", "2 workers", "gain"]
    return table(head, rows)


def show_machine(report: dict[str, Any]) -> str:
    load = f"load average {report['load_before']} to {report['load_after']}"
    return (
        f"{len(report['rounds'])} rounds, {report['seconds']} s each, {report['cores']} cores,"
        f" {load}, {report['date']}; medians, with the lowest and the highest of the rounds. Each"
        " ratio is of two figures of one round. Whoever else uses the machine takes from the"
        " requests per second of the one that is measured, and less from its CPU time per request,"
        " which is that of its whole process, the kernel's part included. In italics: a refresh"
        " that writes nothing."
    )


def show(report: dict[str, Any]) -> str:
    rounds: list[Round] = report["rounds"]
    shown = [
        show_machine(report),
        show_ratios(costs(rounds), "CPU per request: `bare`'s as a share of theirs"),
    ]
    if {"ours", "bare"} < set(next(iter(rounds[0].values()))):
        shown.append(show_ratios(against_ours(rounds), "CPU per request: theirs over ours"))
        shown.insert(1, show_ours(rounds))
    shown += [
        show_ratios(rates(rounds), "requests/s as a share of `bare`'s"),
        show_details(rounds),
        show_memory(rounds),
    ]
    if CHECK in rounds[0] and "ours" in rounds[0][CHECK]:
        check_us = statistics.median(values(rounds, CHECK, "ours", "cpu_us"))
        shown.append(counting.show(report["counting_us"], check_us))
    if report["workers"]:
        shown.append(show_workers(report["workers"]))
    shown += [
        f"{who}: {', '.join(f'{name} {version}' for name, version in what.items())}"
        for who, what in report["versions"].items()
    ]
    return "\n\n".join(shown) + "\n"
