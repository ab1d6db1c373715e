"""What an operator types and reads at a terminal: durations, moments and tables."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from authapi.errors import InvalidRequest
from authapi.managing.validation import MAX_LIFE_SECONDS, RATE, is_rate
from authapi.web.managing_schemas import MAX_SESSIONS

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_DAYS = MAX_LIFE_SECONDS // SECONDS["d"]


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


class Rate(click.ParamType[str]):
    """So often in a time, like 600/hour; `none` is read as empty."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> str:
        if value == "none":
            return ""
        if not is_rate(value):
            self.fail(RATE, param, context)
        return str(value)


class AtMost(click.ParamType[int]):
    """A number from 1 on; `none` is read as 0."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        if value == "none":
            return 0
        if not re.fullmatch("[1-9][0-9]*", value) or int(value) > MAX_SESSIONS:
            self.fail(f"A limit is a number from 1 to {MAX_SESSIONS}.", param, context)
        return int(value)


NOTE = "NAME=TEXT"


def read_notes(typed: Sequence[str]) -> dict[str, str]:
    """Each as `NOTE` says. Raises `InvalidRequest`."""
    notes: dict[str, str] = {}
    for note in typed:
        name, equals, text = note.partition("=")
        if not equals or name in notes:
            raise InvalidRequest(f"{note!r} is no {NOTE}, or names what another one does.")
        notes[name] = text
    return notes


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
