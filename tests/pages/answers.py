"""Compares what a command printed with what the page shows under it."""

import json
import re
from typing import Any

from tests.pages.running import RUN_SECONDS

MOMENT = 1_000_000_000
"""What is shown as an epoch time may be any."""


def assert_as_shown(script: str, printed: list[str]) -> list[dict[str, Any]]:
    """Each line that is printed is like the comment under its command. Returns what was printed."""
    shown = re.findall(r"^# (\{.*)$", script, re.MULTILINE)
    assert len(printed) == len(shown), printed
    read = [json.loads(line) for line in printed]
    for answer, like in zip(read, map(json.loads, shown), strict=True):
        assert_like(answer, like)
    return read


def assert_like(answer: dict[str, Any], shown: dict[str, Any]) -> None:
    """As shown, but for what differs from one run to the next: `...` and times."""
    assert list(answer) == list(shown)
    for name, value in shown.items():
        if isinstance(value, str) and value.endswith("..."):
            assert answer[name].startswith(value.removesuffix("..."))
        elif name.endswith("_in"):  # a session has grown older before it is refreshed
            assert value - RUN_SECONDS <= answer[name] <= value
        elif isinstance(value, int) and value > MOMENT:
            assert answer[name] > MOMENT
        else:
            assert answer[name] == value
