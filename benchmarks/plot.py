"""Draws what `bench.py`, `scale.py` and `feed.py` have measured, with matplotlib."""

import json
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import growth
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
LINES = ("#2563eb", "#10b981", "#f59e0b", "#a78bfa")
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
    sizes = [one for one in measured["sizes"] if one["engine"] == "SQLite"]
    kinds = {
        "an ordinary week": ("week", 1),
        "all ended in the last ten minutes": ("burst", 1),
        "an ordinary week, 2 workers": ("week", 2),
    }
    figure, panels = plt.subplots(2, 2, figsize=(10, 8), sharey=True)
    for axes, (title, kind) in zip(panels.flat, kinds.items(), strict=False):
        shown = [
            one for one in sizes if (one["variant"], one["workers"]) == kind and not one["beside"]
        ]
        _draw_growth(axes, sizes, shown, [one["size"] for one in shown])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("revoked rows, and as many clients")
        axes.set_title(title, fontsize=11)
    axes, beside = panels[1, 1], [one for one in sizes if one["beside"]]
    _draw_growth(axes, sizes, beside, list(range(len(beside))), linestyle="none")
    axes.set_xticks(range(len(beside)), [textwrap.fill(one["beside"], 20) for one in beside])
    axes.set_xlim(-0.5, len(beside) - 0.5)
    axes.tick_params(axis="x", labelsize=9)
    axes.set_title("1,000 rows, and beside that", fontsize=11)
    axes.set_ylim(bottom=0)  # of all, since they share it
    for axes in panels[:, 0]:
        axes.set_ylabel("CPU per request; with 1,000 rows it is 1")
    figure.tight_layout()
    names = {"ncols": len(growth.CALLS), "loc": "lower left", "bbox_to_anchor": (0.04, 1)}
    figure.legend(*panels[0, 0].get_legend_handles_labels(), **names)
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.25)


def _draw_growth(
    axes: Any, sizes: list[Any], shown: list[Any], places: list[float], linestyle: str = "-"
) -> None:
    """A line for each call, with the range over the rounds."""
    for number, ((call, label), color) in enumerate(zip(growth.CALLS.items(), LINES, strict=True)):
        ratios = [growth.growth(one, growth.base_of(sizes, one), call) for one in shown]
        medians = [statistics.median(each) for each in ratios]
        low = [median - min(each) for median, each in zip(medians, ratios, strict=True)]
        high = [max(each) - median for median, each in zip(medians, ratios, strict=True)]
        beside = 0.08 * (number - 1.5) if linestyle == "none" else 0
        axes.errorbar(
            [place + beside for place in places],
            medians,
            yerr=[low, high],
            label=label.replace("`", ""),
            color=color,
            marker="o",
            capsize=3,
            lw=2,
            elinewidth=1,
            linestyle=linestyle,
        )
    axes.axhline(1, color="#24292f", lw=1, ls="--")


def draw_feed(measured: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(10, 3.6))
    for (setup, values), color in zip(measured["latency_ms"].items(), LINES, strict=False):
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
