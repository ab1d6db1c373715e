"""What is asked of each peer, and what one measurement of it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice

import wrk
from minting import forge
from peer import Running
from progress import say
from service import Stalled, Void
from wrk import Call

from authapi.credentials.tokens import ACCESS, REFRESH

GUESS = 20_000
"""Lines for each second of the first load, when nobody knows how fast the peer is."""
WARM_UP, WARM_UP_SECONDS = 200, 30
"""Answers before each measurement whose lines come again, or as many as there are lines: whoever
remembers a token has met it then, and since the last round others may have pushed it out. The other
scenarios are warmed up for a second, once."""
ATTEMPTS = 3
MARGIN = 2
"""Lines for how many times as many requests as the peer's best round had. A load whose lines must
not come twice ends with the last of them."""

Measured = dict[str, float]
KEPT = ("rate", "cpu_us", "p50_ms", "p99_ms")
Send = Callable[..., Measured]
"""As `wrk.send`."""
Lines = Callable[[Running, int], list[str]]
"""What the requests carry, for at most so many of them."""


@dataclass(frozen=True)
class Scenario:
    """`once`: no line may be sent twice, as with a token that is spent by it."""

    name: str
    call: Call
    lines: Lines
    once: bool = False
    status: int = 200
    connections: int = wrk.CONNECTIONS


def _one_token(server: Running, number: int) -> list[str]:
    return [server.peer.mint(ACCESS, server.callers[0], 0)]


def _tokens_in_turn(server: Running, number: int) -> list[str]:
    return [server.peer.mint(ACCESS, caller, 0) for caller in server.callers]


def _keys(server: Running, number: int) -> list[str]:
    return [caller.key for caller in server.callers]


def _fresh(typ: str) -> Lines:
    def lines(server: Running, number: int) -> list[str]:
        callers = islice(cycle(server.callers), number)
        return [server.peer.mint(typ, caller, 0) for caller in callers]

    return lines


def _forged(server: Running, number: int) -> list[str]:
    return [forge(token) for token in _fresh(ACCESS)(server, number)]


SCENARIOS = [
    Scenario("secure-data, one token", wrk.SECURE_DATA, _one_token),
    Scenario("secure-data, 1,000 tokens in turn", wrk.SECURE_DATA, _tokens_in_turn),
    Scenario("secure-data, tokens never seen before", wrk.SECURE_DATA, _fresh(ACCESS), once=True),
    Scenario("/me", wrk.ME, _tokens_in_turn),
    Scenario("login", wrk.LOGIN, _keys),
    Scenario("refresh, durable", wrk.REFRESH, _fresh(REFRESH), once=True),
    Scenario("log-out, durable", wrk.LOGOUT, _fresh(ACCESS), once=True),
    Scenario("forged", wrk.SECURE_DATA, _forged, once=True, status=401),
]


@dataclass
class Measuring:
    """Measures one peer with one scenario, round after round."""

    server: Running
    scenario: Scenario
    seconds: float
    send: Send = wrk.send
    _best: float = field(default=0, init=False)

    def warm_up(self) -> None:
        """As long as what runs the peer may still be compiling it."""
        if self.server.peer.warm_up:
            self._unless_stalled(self._warm_up)

    def round(self) -> Measured:
        """Raises `Void` if an answer is not what it must be, or if time and again there is none."""
        return self._unless_stalled(self._round)

    def _unless_stalled(self, measure: Callable[[], Measured]) -> Measured:
        for _ in range(ATTEMPTS - 1):
            try:
                return measure()
            except Stalled as reason:
                say(f"once more: {reason}")
        return measure()

    def _warm_up(self) -> Measured:
        number = self.server.peer.warm_up
        lines = self.scenario.lines(self.server, number + wrk.CONNECTIONS + 1)
        return self._send(lines, WARM_UP_SECONDS, number)

    def _round(self) -> Measured:
        # To `bare` all tokens are one.
        if self.scenario.once and not self.server.peer.is_bare:
            if not self._best:
                self._measure_once(1)
            return self._measure_once(self.seconds)
        lines = self.scenario.lines(self.server, len(self.server.callers))
        self._send(lines, WARM_UP_SECONDS, max(WARM_UP, len(lines)))
        return self._measure(lines, self.seconds)

    def _measure_once(self, seconds: float) -> Measured:
        number = int((MARGIN * self._best or GUESS) * seconds)
        # wrk asks for one more as it starts, and each connection has one under way as it ends.
        lines = self.scenario.lines(self.server, number + wrk.CONNECTIONS + 1)
        return self._measure(lines, seconds, number)

    def _measure(self, lines: list[str], seconds: float, answers: int | None = None) -> Measured:
        report = self._send(lines, seconds, answers)
        self._best = max(self._best, report["rate"])
        kept = {name: report[name] for name in KEPT if name in report}
        return kept | {"memory_mb": self.server.service.memory_mb()}

    def _send(self, lines: list[str], seconds: float, answers: int | None) -> Measured:
        peer, scenario = self.server.peer, self.scenario
        path = self.server.note(lines)
        status = 200 if peer.is_bare else scenario.status
        try:
            report = self.send(
                self.server.service,
                scenario.call,
                path,
                seconds,
                status=status,
                answers=answers,
                connections=scenario.connections,
            )
        except Void as reason:
            raise type(reason)(f"{peer.name}, {scenario.name}: {reason}") from None
        if scenario.once and not peer.is_bare and report["sent"] > len(lines):
            raise Void(f"{peer.name}, {scenario.name}: a token was sent twice")
        return report
