"""Holds the questions of verifiers until there is news, which goes out to all of them together.

A storm of log-outs so costs each verifier a few answers a second, and not one for each of them.
"""

import asyncio
import math
from collections.abc import Callable
from functools import partial

from authapi.clocks import Clock
from authapi.errors import TemporarilyUnavailable

PAUSE_SECONDS = 0.1
PAUSE_SECONDS_EACH = 0.0004
"""Between two times when news goes out: the more are held, the longer, as each takes half of it."""
BATCH = 50
"""So many are let go in a turn of the loop. A thousand take a quarter of a second, in which no
log-out would be answered, and the copy not be read anew."""

_Turn = asyncio.Future[None]


class Pacing:
    """Of one worker. `held` is how many questions wait here, and `is_due` whether there is news
    that has not gone out yet. News waits for a quarter of `lease_seconds` at most."""

    def __init__(self, lease_seconds: float, max_held: int, steady: Clock) -> None:
        self._max_pause_seconds = lease_seconds / 4
        self._max_held = max_held
        self._steady = steady
        self.held = 0
        self.is_due = False
        self._went_out_at = -math.inf
        self._went_to = 0
        self._waiting: dict[_Turn, Callable[[], bool]] = {}

    def tell(self) -> None:
        """Let news go out: at once, or together with what else comes in the pause."""
        if self.is_due:
            return
        # Those whom the last news went to may be on their way back.
        pause = max(PAUSE_SECONDS, PAUSE_SECONDS_EACH * max(self.held, self._went_to))
        wait = self._went_out_at + min(pause, self._max_pause_seconds) - self._steady()
        if wait > 0:
            self.is_due = True
            asyncio.get_running_loop().call_later(wait, self._let_out)
        else:
            self._let_out()

    def _let_out(self) -> None:
        self.is_due = False
        self._went_out_at, self._went_to = self._steady(), self.held
        self._wake([*self._waiting.items()])

    def _wake(self, waiting: list[tuple[_Turn, Callable[[], bool]]]) -> None:
        """Those of them who lack what has gone out."""
        for turn, lacks in waiting[:BATCH]:
            if lacks():
                _end(turn)
        if waiting[BATCH:]:
            asyncio.get_running_loop().call_soon(self._wake, waiting[BATCH:])

    async def hold(
        self, seconds: float, lacks: Callable[[], bool], gone: asyncio.Future[None]
    ) -> None:
        """Return when news has gone out that the one who asks `lacks`, or is `gone`, or after so
        many seconds.

        Raises `TemporarilyUnavailable` where as many are held as may be.
        """
        if self.held >= self._max_held:
            raise TemporarilyUnavailable("too many held polls")
        loop = asyncio.get_running_loop()
        turn: _Turn = loop.create_future()
        end = partial(_end, turn)
        timer = loop.call_later(seconds, end)
        gone.add_done_callback(end)
        self._waiting[turn] = lacks
        self.held += 1
        try:
            await turn
        finally:
            self.held -= 1
            del self._waiting[turn]
            gone.remove_done_callback(end)
            timer.cancel()


def _end(turn: _Turn, *_: object) -> None:
    if not turn.done():
        turn.set_result(None)
