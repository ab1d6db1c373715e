"""What an operator types and reads at a terminal: durations, moments and tables."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_DAYS = 3650


class Duration(click.ParamType[int]):
    """A number and its unit, like 90d; read as seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        match = re.fullmatch("([0-9]{1,9})([smhd])", value)
        seconds = int(match[1]) * SECONDS[match[2]] if match else 0
        if not 1 <= seconds <= MAX_DAYS * SECONDS["d"]:
            self.fail(
                f"A time from 1s to {MAX_DAYS}d is a number and s, m, h or d, like 90d.",
                param,
                context,
            )
        return seconds


def moment(epoch_seconds: float | None) -> str:
    """In UTC; `never` for a time that is not set."""
    if epoch_seconds is None:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(epoch_seconds))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under their header, in columns as wide as they need to be."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
