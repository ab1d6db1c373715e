"""What a second worker brings, to us and to `bare`.

Here nobody has a core alone: the workers take every core of the machine, and wrk shares one.
"""

from contextlib import ExitStack
from pathlib import Path

from peer import Clients, Peer
from scenarios import SCENARIOS, Measuring
from service import CORES

WORKERS = (1, 2)
SCENARIO = SCENARIOS[1]

Rates = dict[str, dict[int, list[float]]]
"""Requests per second in each round, by peer and by number of workers."""


def measure(peers: list[Peer], folder: Path, clients: Clients, rounds: int, seconds: int) -> Rates:
    cores = ",".join(map(str, CORES))
    rates: Rates = {peer.name: {number: [] for number in WORKERS} for peer in peers}
    with ExitStack() as stack:
        measurings = {
            (peer.name, number): Measuring(
                stack.enter_context(
                    peer.with_workers(number).start(
                        folder / f"{peer.name}-{number}", clients, cores
                    )
                ),
                SCENARIO,
                seconds,
            )
            for peer in peers
            for number in WORKERS
        }
        for _ in range(rounds):
            for (name, number), measuring in measurings.items():
                rates[name][number].append(measuring.round()["rate"])
    return rates
