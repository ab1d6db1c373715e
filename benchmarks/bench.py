"""How fast are we beside what people would pick instead, and beside a service that does nothing?

Each peer of `peers/` does the same work as we do, and is checked for it first. `bare` does none:
every figure is compared with its in the same round. Run by `make bench`; for a quick look,
`.venv/bin/python benchmarks/bench.py --only ours --rounds 1`, which keeps no result.
"""

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import counting
import honesty
import report
import versions
import workers
import wrk
from peer import Clients, Peer, Running, all_peers
from progress import say
from scenarios import SCENARIOS, Measuring, Scenario
from service import SERVER_CORE

RESULTS = Path(__file__).parent / "results"


def measure(
    servers: list[Running], scenarios: list[Scenario], rounds: int, seconds: int
) -> list[report.Round]:
    """The peers take turns, and begin with another one each round: no slow minute is one's own."""
    measurings = {
        scenario.name: [Measuring(server, scenario, seconds) for server in servers]
        for scenario in scenarios
    }
    for name, row in measurings.items():
        say(f"warm up for {name}")
        for measuring in row:
            measuring.warm_up()
    done: list[report.Round] = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        done.append({})
        for name, row in measurings.items():
            start = number % len(row)
            found = {
                measuring.server.peer.name: measuring.round()
                for measuring in row[start:] + row[:start]
            }
            done[-1][name] = {server.peer.name: found[server.peer.name] for server in servers}
    return done


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement")
    parser.add_argument("--only", help="peers, comma-separated; bare is always among them")
    parser.add_argument("--scenarios", help="comma-separated words, each of them part of a name")
    return parser.parse_args()


def chosen_peers(only: str | None) -> list[Peer]:
    names = only.split(",") if only else [peer.name for peer in all_peers()]
    return [peer for peer in all_peers() if peer.is_bare or peer.name in names]


def chosen_scenarios(words: str | None) -> list[Scenario]:
    parts = words.split(",") if words else [""]
    return [each for each in SCENARIOS if any(part in each.name for part in parts)]


def main() -> None:
    wrk.demand()
    options = arguments()
    peers, scenarios = chosen_peers(options.only), chosen_scenarios(options.scenarios)
    is_whole = not options.only and not options.scenarios
    if is_whole and "go" not in {peer.name for peer in peers}:
        say("Go is not installed: its peer, the ceiling, is left out")
    clients = Clients()
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "seconds": options.seconds,
        "versions": versions.find([peer.name for peer in peers]),
    }
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for peer in peers:
            if peer.promises:
                say(f"kill {peer.name}")
                honesty.check_durable(peer, folder / f"{peer.name}, killed", clients)
        with ExitStack() as stack:
            servers = [
                stack.enter_context(peer.start(folder / peer.name, clients, SERVER_CORE))
                for peer in peers
            ]
            for server in servers:
                say(f"check {server.peer.name}")
                honesty.check(server)
            found["rounds"] = measure(servers, scenarios, options.rounds, options.seconds)
        found["load_after"] = round(os.getloadavg()[0], 1)
        found["counting_us"] = counting.measure(options.rounds)
        found["workers"] = {}
        if is_whole:
            say("1 and 2 workers")
            pair = [peer for peer in peers if peer.is_bare or peer.name == "ours"]
            found["workers"] = workers.measure(
                pair, folder, clients, options.rounds, options.seconds
            )
    text = report.show(found)
    print(text)
    if is_whole:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "bench.md").write_text(text)


if __name__ == "__main__":
    main()
