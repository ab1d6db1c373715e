"""By when the request that is served has to be answered, however often it asks the database."""

import asyncio
import math
from contextvars import ContextVar

ANSWER_SECONDS = 2.5
"""Whatever the database does, a request waits for it no longer than that, all in all."""

_NOT_ASKED = -math.inf
# What runs beside the requests has no deadline.
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


def begin() -> None:
    """For a request that has just come. Its time runs from its first question, since the caller
    may take long to send it."""
    _deadline.set(_NOT_ASKED)


def end() -> None:
    """The request is answered: what this task does from now on has no deadline."""
    _deadline.set(math.inf)


def after(seconds: float) -> float:
    """So many seconds from now, or the deadline if that is earlier, by the clock of the loop."""
    now = asyncio.get_running_loop().time()
    if _deadline.get() == _NOT_ASKED:
        _deadline.set(now + ANSWER_SECONDS)
    return min(now + seconds, _deadline.get())


def left() -> float | None:
    """Seconds until the deadline; None for what runs beside the requests, which has none."""
    by = after(math.inf)
    return None if by == math.inf else by - asyncio.get_running_loop().time()
