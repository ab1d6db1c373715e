"""The wall clock beside a steady one, which tells when the former was set.

A wall clock starts wrong, is set in both directions, and may stay wrong for minutes. So nothing
is forgotten for its word alone, and whoever depends on it asks here whether it can be trusted.
"""

import math
import time
from collections.abc import Callable
from functools import partial

Clock = Callable[[], float]

STEP_SECONDS = 3.0
"""The two clocks part by less where the time is only kept right (NTP, a leap second)."""
SETTLE_SECONDS = 600.0
"""For so long they have to agree, after a start too, before a row is deleted."""

steady_clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that go on in a suspended machine, where the system can count them."""


class Clocks:
    """`wall` in epoch seconds, `steady` in seconds since anything."""

    def __init__(self, wall: Clock = time.time, steady: Clock = steady_clock) -> None:
        self.wall = wall
        self.steady = steady
        self._apart = self._apart_trusted = wall() - steady()
        self._started_at = steady()
        self._stepped_at = -math.inf

    def step(self) -> float:
        """By how many seconds the wall clock was set since it last was; 0 if it was not."""
        apart = self.wall() - self.steady()
        step = apart - self._apart
        if abs(step) < STEP_SECONDS:
            if self.are_settled:
                self._apart_trusted = self._apart
            return 0
        self._apart, self._stepped_at = apart, self.steady()
        return step

    def earliest(self) -> float:
        """The lesser of what the wall clock shows, and of what it would if it had not been set
        since it last was settled."""
        return min(self.wall(), self.steady() + self._apart_trusted)

    @property
    def are_settled(self) -> bool:
        """Whether they have agreed for long enough that something may be deleted."""
        return self.steady() - max(self._started_at, self._stepped_at) >= SETTLE_SECONDS
