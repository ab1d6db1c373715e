"""What does each trick for speed buy? Each is taken out of a copy of the code, and measured.

The code as it is and the code without the trick take turns: once without sockets, which shows what
Python saves, and once behind them, as wrk sees it. A trick that buys less than 3 % of an endpoint
is to go. Run by `make ledger`; `--tricks endpoint,garbage --rounds 1` tries some.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import interpreter
import ledger_report
import service
import tricks
import wrk
from ledger_report import Bought
from peer import Clients, Running
from progress import say
from scenarios import SCENARIOS, Measuring, Scenario
from tricks import Trick
from variants import Variant, behind_sockets, without_sockets

from tests.serving import copy_code

RESULTS = Path(__file__).parent / "results"
Start = Callable[[Path, Path, Clients], AbstractContextManager[Variant]]
WORLDS: dict[str, Start] = {"without sockets": without_sockets, "behind sockets": behind_sockets}


def _wrong_keys(server: Running, number: int) -> list[str]:
    return [caller.key[:-8] + "00000000" for caller in server.callers]


REFUSED = Scenario("refused key", wrk.LOGIN, _wrong_keys, status=401, connections=1)
"""One after the other: with more, whoever waits gives way to work."""


class Ledger:
    """Both copies begin anew for each trick: whose database is the fuller one would pay for it."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder = folder
        self._rounds = rounds
        self._clients = Clients()
        self._whole = folder / "as-it-is"
        copy_code(self._whole)

    def measure(self, trick: Trick) -> dict[str, Bought]:
        """By world and scenario: CPU per request without the trick over that with it, a ratio for
        each pair."""
        code = self._folder / f"{trick.name}.code"
        trick.take_out(code)
        found = {}
        for world, start in WORLDS.items():
            place = self._folder / f"{trick.name}, {world}"
            place.mkdir()
            with (
                start(self._whole, place / "with", self._clients) as whole,
                start(code, place / "without", self._clients) as without,
            ):
                found[world] = {
                    scenario.name: self._ratios(whole, without, scenario)
                    for scenario in [*SCENARIOS, REFUSED]
                    if trick.touches_scenario(scenario.name)
                }
        return found

    def _ratios(self, whole: Variant, without: Variant, scenario: Scenario) -> list[float]:
        pair = [
            Measuring(variant.server, scenario, variant.seconds, variant.send)
            for variant in (whole, without)
        ]
        ratios = []
        for number in range(self._rounds * whole.repeats):
            turn = pair if number % 2 else pair[::-1]
            cost = {id(each): each.round()["cpu_us"] for each in turn}
            ratios.append(cost[id(pair[1])] / cost[id(pair[0])])
        return ratios


def chosen(words: str | None) -> list[Trick]:
    """Raises `Outdated` before anything is measured if a diff no longer fits the code."""
    names = words.split(",") if words else []
    found = [trick for trick in tricks.all_tricks() if not names or trick.name in names]
    for trick in found:
        with TemporaryDirectory(prefix="ledger-") as folder:
            trick.take_out(Path(folder))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tricks", help="comma-separated names; keeps no result")
    options = parser.parse_args()
    wrk.demand()
    try:
        taken = chosen(options.tricks)
    except tricks.Outdated as reason:
        sys.exit(str(reason))
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "python": interpreter.describe_other(service.PYTHON),
        "rounds": options.rounds,
        "tricks": {},
    }
    with TemporaryDirectory(prefix="ledger-") as name:
        ledger = Ledger(Path(name), options.rounds)
        for number, trick in enumerate(taken, 1):
            say(f"{trick.name}, {number} of {len(taken)}")
            about = {"says": trick.says, "lines": trick.lines()}
            found["tricks"][trick.name] = about | {"bought": ledger.measure(trick)}
    text = ledger_report.show(found)
    print(text)
    if not options.tricks:
        (RESULTS / "ledger.json").write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "ledger.md").write_text(text)


if __name__ == "__main__":
    main()
