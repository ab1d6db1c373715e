"""Draws what `bench.py`, `scale.py` and `feed.py` have measured, with matplotlib."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import matplotlib as mpl  # type: ignore[import-not-found]  # it is in benchmarks/.venvs/peers
import report
from matplotlib import pyplot as plt
from matplotlib.ticker import (  # type: ignore[import-not-found]
    PercentFormatter,
    StrMethodFormatter,
)

RESULTS = Path(__file__).parent / "results"
COLORS = {
    "ours": "#2563eb",
    "fastify": "#f59e0b",
    "promises": "#b45309",
    "batched": "#d97706",
    "tuned": "#fbbf24",
    "go": "#10b981",
}
# On a ground of its own, so that it is read alike on a light page and on a dark one.
STYLE = {
    "figure.facecolor": "#fbfbfc",
    "axes.facecolor": "#fbfbfc",
    "axes.edgecolor": "#c4c9d0",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "text.color": "#24292f",
    "axes.labelcolor": "#24292f",
    "xtick.color": "#57606a",
    "ytick.color": "#24292f",
    "font.size": 11,
    "legend.frameon": False,
}
ROOM = 0.82
"""Of the room of a scenario, what its bars take."""


def draw_bench(measured: dict[str, Any], path: Path) -> None:
    found = report.costs(measured["rounds"])
    peers = [peer for peer in next(iter(found.values())) if peer in COLORS]
    height = ROOM / len(peers)
    figure, axes = plt.subplots(figsize=(10, 1.6 + 0.19 * len(peers) * len(found)))
    for number, peer in enumerate(peers):
        for place, by_peer in enumerate(found.values()):
            ratios = by_peer[peer]
            median = statistics.median(ratios)
            y = place + (number + 0.5) * height - ROOM / 2
            error = [[median - min(ratios)], [max(ratios) - median]]
            label = peer if place == 0 else None
            bar = {"height": height * 0.9, "color": COLORS[peer], "label": label}
            axes.barh(y, median, **bar, xerr=error, error_kw={"ecolor": "#57606a", "lw": 1})
            axes.text(max(ratios) + 0.008, y, f"{median:.0%}", va="center", fontsize=8)
    axes.set_yticks(range(len(found)), found)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.axvline(1, color="#24292f", lw=1, ls="--")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title("Speed by CPU per request: Starlette with nothing to do is 100 %", pad=30)
    axes.legend(ncols=len(peers), loc="lower left", bbox_to_anchor=(-0.01, 1), columnspacing=1.4)
    axes.set_xlabel(
        f"median of {len(measured['rounds'])} rounds, with the lowest and the highest;"
        " one worker, 32 connections"
    )
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.25)


def draw_scale(measured: dict[str, Any], path: Path) -> None:
    calls = {"secure_data": "/secure-data", "me": "/me", "login": "/login"}
    variants = {"week": "an ordinary week", "burst": "all ended in the last ten minutes"}
    figure, panels = plt.subplots(1, len(variants), figsize=(10, 4), sharey=True)
    for axes, (variant, title) in zip(panels, variants.items(), strict=True):
        sizes = [
            each
            for each in measured["sizes"]
            if each["engine"] == "SQLite" and each["variant"] == variant and each["rounds"]
        ]
        for (call, label), color in zip(calls.items(), COLORS.values(), strict=False):
            by_size = [[each[call]["rate"] for each in size["rounds"]] for size in sizes]
            medians = [statistics.median(rates) for rates in by_size]
            low = [median - min(rates) for median, rates in zip(medians, by_size, strict=True)]
            high = [max(rates) - median for median, rates in zip(medians, by_size, strict=True)]
            axes.errorbar(
                [size["size"] for size in sizes],
                medians,
                yerr=[low, high],
                label=label,
                color=color,
                marker="o",
                capsize=3,
                lw=2,
                elinewidth=1,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("revoked rows, and as many clients")
    panels[0].set_ylabel("requests per second")
    panels[0].legend(ncols=len(calls), loc="lower left", bbox_to_anchor=(-0.02, 1.08))
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.25)


def draw_feed(measured: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(10, 3.6))
    for (setup, values), color in zip(
        measured["latency_ms"].items(), COLORS.values(), strict=False
    ):
        shares = [(number + 1) / len(values) for number in range(len(values))]
        axes.step(values, shares, where="post", label=setup, color=color, lw=2)
    axes.axvline(0, color="#24292f", lw=1, ls="--")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(0, 1.02)
    axes.set_title("Log-outs that a verifier elsewhere refuses by then", pad=30)
    axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.01, 1))
    axes.set_xlabel("milliseconds after the answer of the log-out")
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.25)


def main() -> None:
    mpl.use("agg")
    plt.rcParams.update(STYLE)
    drawings = {"bench": draw_bench, "scale": draw_scale, "feed": draw_feed}
    for name, draw in drawings.items():
        source = RESULTS / f"{name}.json"
        if source.exists():
            draw(json.loads(source.read_text()), RESULTS / f"{name}.png")


if __name__ == "__main__":
    main()
