"""The table of the ledger: what each trick buys, and which are to go."""

import statistics
from typing import Any

from report import table

Bought = dict[str, list[float]]
"""By scenario, the ratio of each pair."""
ENOUGH = 1.03
"""A trick stays if it saves so much of an endpoint's CPU, behind sockets or without them."""


def show(found: dict[str, Any]) -> str:
    shown = [
        f"What each trick buys: the CPU time of a request without it over that with it, less 1."
        f" Medians of pairs that took turns in {found['rounds']} rounds, with the lowest and the"
        f" highest; {found['python']}, {found['date']}. An empty cell is a scenario that it cannot"
        f" touch.",
    ]
    worlds = list(next(iter(found["tricks"].values()))["bought"])
    for world in worlds:
        bought = {name: trick["bought"][world] for name, trick in found["tricks"].items()}
        shown.append(_table(world, bought))
    shown.append(_verdicts(found["tricks"]))
    return "\n\n".join(shown) + "\n"


def _table(world: str, bought: dict[str, Bought]) -> str:
    scenarios = list(dict.fromkeys(name for each in bought.values() for name in each))
    rows = [
        [trick, *(_cell(each.get(scenario)) for scenario in scenarios)]
        for trick, each in bought.items()
    ]
    return table([world, *scenarios], rows)


def _cell(ratios: list[float] | None) -> str:
    if ratios is None:
        return ""
    low, median, high = (
        round(100 * (each - 1)) for each in (min(ratios), statistics.median(ratios), max(ratios))
    )
    return f"{median} % ({low}..{high})"


def _verdicts(tricks: dict[str, Any]) -> str:
    rows = []
    for name, trick in tricks.items():
        bought = {
            f"{scenario}, {world}": ratios
            for world, by_scenario in trick["bought"].items()
            for scenario, ratios in by_scenario.items()
        }
        where = max(bought, key=lambda each: statistics.median(bought[each]))
        most = f"{round(100 * (statistics.median(bought[where]) - 1))} % of {where}"
        stays = "stays" if any(map(is_enough, bought.values())) else "goes"
        rows.append([name, trick["says"], str(trick["lines"]), most, stays])
    return table(["trick", "what it is", "lines", "buys at the most", ""], rows)


def is_enough(ratios: list[float]) -> bool:
    """Of the many scenarios one is always ahead by chance: so it counts only if it was ahead in
    three pairs of four."""
    return statistics.median(ratios) >= ENOUGH and sorted(ratios)[len(ratios) // 4] > 1
