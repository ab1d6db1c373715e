"""From any worker and any cursor a verifier hears all that it lacks, in whatever order it asks.

Workers of the real classes read a table of the model, whole or what is new, in any order; they
restart, load anew, forget, and go by clocks that are wrong. A verifier asks any of them, a page at
a time, forgets by the rules of the contract, and by its own wrong clock. Once an answer holds, it
refuses every token that was ended before that worker's last reading. What the answers to the
verifier depend on is taken out, rule by rule, and each time a history shows a token that lives.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from operator import methodcaller
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from authapi.clocks import Clocks
from authapi.errors import TemporarilyUnavailable, UnknownCursor
from authapi.revocation import cursors
from authapi.revocation.cursors import Cursor
from authapi.revocation.entries import MARGIN_SECONDS, Entries, Entry
from authapi.revocation.feed import Feed, Page
from authapi.revocation.pacing import Pacing
from authapi.revocation.revocations import Revocations
from authapi.store.following import Ended, Follower, Reading
from tests.exploring import explore

NOW = 1_800_000_000.0
ACCESS_SECONDS, LEEWAY, LEASE = 900, 10, 1.5
PAGE_SIZE = 2
EXAMPLES, STEPS = 60, 40

WORKERS = st.integers(0, 1)
IDS = st.sampled_from("abcdef")
LEADS = st.sampled_from([0.0, -3600.0, 3600.0, 50.0])


class Table:
    """The rows of one database, and each commit in its order."""

    def __init__(self, number: int) -> None:
        self.database_id = f"{number:016x}"
        self.number = number
        self.purged_until = 0
        self.rows: dict[str, Ended] = {}
        self.log: list[Ended] = []

    def commit(self, ended: Ended) -> Ended:
        """With the later times of what is there."""
        former = self.rows.get(ended.jti, ended)
        over = max(ended.access_expires_at, former.access_expires_at)
        ended = Ended(ended.jti, max(ended.revoked_at, former.revoked_at), over)
        self.rows[ended.jti] = ended
        self.log.append(ended)
        return ended

    def purge(self, before: float) -> None:
        over = [ended for ended in self.rows.values() if ended.access_expires_at < before]
        for ended in over:
            del self.rows[ended.jti]
            self.purged_until = max(self.purged_until, ended.access_expires_at + MARGIN_SECONDS)


class TableFollower(Follower):
    """Reads the table of the moment; `seen` is how much of its log that covers."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._table: Table | None = None
        self.seen = 0

    def start_over(self) -> None:
        self._table = None

    async def read(self, after: int) -> Reading:
        table, is_whole = self._machine.table, self._table is not self._machine.table
        found = table.log[self.seen :]
        if is_whole:
            found = [ended for ended in table.rows.values() if ended.access_expires_at > after]
            self._machine.random.shuffle(found)
        self._table, self.seen = table, len(table.log)
        return Reading(table.database_id, table.purged_until, None, is_whole, found)


class Parts(NamedTuple):
    """The classes that answer a verifier."""

    revocations: type[Revocations] = Revocations
    feed: type[Feed] = Feed


class Worker:
    def __init__(self, machine: "Machine") -> None:
        self.lead = 0.0
        clocks = Clocks(lambda: machine.now() + self.lead, machine.steady)
        pacing = Pacing(LEASE, 10, machine.steady)
        self.copy = machine.parts.revocations(
            cast(Any, SimpleNamespace(url=SimpleNamespace(dialect="sqlite"))),
            *(ACCESS_SECONDS, LEEWAY, 0.5, False),
            clocks=clocks,
            serve=lambda database_id: None,
            tell=pacing.tell,
        )
        self.follower = TableFollower(machine)
        vars(self.copy)["_follower"] = self.follower
        feed = machine.parts.feed
        self.feed = feed(self.copy, pacing, LEASE, ACCESS_SECONDS, LEEWAY, page_size=PAGE_SIZE)


class Verifier:
    """By the contract. What is `known` has when it was ended, and the two times by which it is
    over: by the steady clock and by the wall clock, which is wrong."""

    def __init__(self) -> None:
        self.lead = 0.0
        self.known: dict[str, tuple[float, float, float]] = {}
        self.cursor: str | None = None
        self.purged_until = 0.0
        self.table: Table | None = None
        self.promised = 0

    def merge(self, told: dict[str, Any], steady: float) -> None:
        for ended_id, when in told["revoked"].items():
            former = self.known.get(ended_id, (when, 0.0, 0.0))
            over = steady + told["keep"], max(when, former[0]) + told["keep"]
            self.known[ended_id] = max(when, former[0]), *map(max, over, former[1:])
        self.purged_until = max(self.purged_until, told["purged_until"])
        self.cursor = told["cursor"]

    def forget(self, steady: float, wall: float) -> None:
        for ended_id, (_, by_steady, by_wall) in list(self.known.items()):
            if by_steady < steady and by_wall < wall + self.lead:
                del self.known[ended_id]
                self.purged_until = max(self.purged_until, by_wall)

    def refuses(self, ended: Ended) -> bool:
        """The latest token that this has ended, whether by its own id or by its client's era."""
        when, *_ = self.known.get(ended.jti, (0.0,))
        return when >= ended.revoked_at or ended.access_expires_at <= self.purged_until


class Machine(RuleBasedStateMachine):
    parts = Parts()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.elapsed = 0.0
        self.random = Random(0)
        self.table = Table(0)
        self.workers = [Worker(self), Worker(self)]
        self.verifier = Verifier()
        for worker in self.workers:
            self._do(worker.copy.read())

    def steady(self) -> float:
        return self.elapsed

    def now(self) -> float:
        return NOW + self.elapsed

    def teardown(self) -> None:
        self.loop.close()

    def _do(self, action: Any) -> Any:
        return self.loop.run_until_complete(action)

    @rule(ended_id=IDS, life=st.sampled_from([30, 900, 3000]), at=st.none() | WORKERS)
    def end(self, ended_id: str, life: int, at: int | None) -> None:
        """By a worker, which knows its own, or by a command. Times of clocks may be far off."""
        lead = 0.0 if at is None else self.workers[at].lead
        now = self.now() + lead
        ended = self.table.commit(Ended(ended_id, now, int(max(now, self.now())) + life))
        if at is not None and self.workers[at].copy.database_id == self.table.database_id:
            self._do(self.workers[at].copy.enforce(ended))

    @rule(at=WORKERS, seed=st.integers(0, 99), is_whole=st.booleans())
    def read(self, at: int, seed: int, is_whole: bool) -> None:
        self.random = Random(seed)
        if is_whole:
            self.workers[at].follower.start_over()
        self._do(self.workers[at].copy.read())

    @rule(at=WORKERS, seed=st.integers(0, 99))
    def restart(self, at: int, seed: int) -> None:
        self.random = Random(seed)
        self.workers[at] = Worker(self)
        self._do(self.workers[at].copy.read())

    @rule(seconds=st.sampled_from([0.1, 0.7, 400.0, 1000.0, 4000.0]))
    def pass_time(self, seconds: float) -> None:
        self.elapsed += seconds
        self.verifier.forget(self.elapsed, self.now())

    @rule(at=st.none() | WORKERS, lead=LEADS)
    def set_clock(self, at: int | None, lead: float) -> None:
        (self.verifier if at is None else self.workers[at]).lead = lead

    @rule()
    def purge(self) -> None:
        self.table.purge(self.now() - LEEWAY - MARGIN_SECONDS)

    @rule()
    def change_database(self) -> None:
        self.elapsed += 0.001  # it is later than any reading of the former one
        self.table = Table(self.table.number + 1)

    @rule(at=WORKERS, reads=st.booleans())
    def ask(self, at: int, reads: bool) -> None:
        worker, verifier = self.workers[at], self.verifier
        if reads:
            self._do(worker.copy.read())
        try:
            told = self._do(self._poll(worker, verifier.cursor))
        except TemporarilyUnavailable:
            return
        except UnknownCursor:
            assert not (verifier.cursor or "").startswith(self.table.database_id)
            self.verifier = Verifier()
            return
        verifier.merge(told, self.elapsed)
        if "fresh_for" not in told:
            assert len(told["revoked"]) == PAGE_SIZE
            return
        assert 0 < told["fresh_for"] <= LEASE
        verifier.forget(self.elapsed, self.now())
        if worker.copy.database_id == self.table.database_id:
            is_other = verifier.table is not self.table
            verifier.promised = max(0 if is_other else verifier.promised, worker.follower.seen)
            verifier.table = self.table
        assert self._do(self._poll(worker, verifier.cursor))["revoked"] == {}, "it is told twice"

    async def _poll(self, worker: Worker, text: str | None) -> dict[str, Any]:
        """Whoever lags reads when it is time, while it is asked."""
        cursor = None if text is None else cursors.read(text)
        poll = asyncio.create_task(worker.feed.poll(cursor))
        for _ in range(3):
            await asyncio.sleep(0)
        if not poll.done():
            await worker.copy.read()
        return await poll

    @invariant()
    def what_is_promised_is_refused(self) -> None:
        if self.verifier.table is self.table:
            for ended in self.table.log[: self.verifier.promised]:
                is_over = ended.access_expires_at + LEEWAY < self.now()
                assert is_over or self.verifier.refuses(ended), f"{ended} lives"


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_verifier_holds_at_least_what_is_live() -> None:
    explore(Machine, EXAMPLES, STEPS)


def with_entries(kind: type[Entries]) -> Parts:
    class Holds(Revocations):
        def _start_over(self, reading: Reading, after: int) -> None:
            super()._start_over(reading, after)
            self.entries.__class__ = kind

    return Parts(revocations=Holds)


class KeepsItsRun(Revocations):
    """Over a whole load, whose rows come in any order."""

    def _start_over(self, reading: Reading, after: int) -> None:
        run = self.entries.run
        super()._start_over(reading, after)
        self.entries.run = run


class LeavesOneOut(Entries):
    def since(self, position: int) -> list[tuple[str, Entry]]:
        return super().since(position + 1 if position else 0)


class TellsTheLastAgain(Entries):
    def since(self, position: int) -> list[tuple[str, Entry]]:
        return super().since(position - 1)


class ForgetsUnsaid(Entries):
    """As soon as the wall clock says so, and tells nobody up to where tokens are dead."""

    def forget(self, now: float, keep_seconds: float, over: int) -> None:
        said = self.over
        super().forget(now, 0, over)
        self.over = said


class InOldPlaces(Entries):
    """What is learnt anew keeps its position."""

    def _put(self, ended_id: str, revoked_at: float, access_expires_at: int, now: float) -> None:
        former = self._by_id.get(ended_id)
        super()._put(ended_id, revoked_at, access_expires_at, now)
        if former:
            entry = self._by_id[ended_id]._replace(position=former.position)
            self._by_id = {**self._by_id, ended_id: entry}


class PageForTheWhole(Feed):
    """A cursor past all that there is, while there are more pages."""

    def _make_page(self, run: str, since: int, last: int) -> Page:
        return super()._make_page(run, since, last)._replace(reached=last)


class OneOrderForAll(Cursor):
    """As if the positions of one worker were those of each."""

    __slots__ = ()

    def moved(self, run: str, position: int) -> Cursor:
        moved = super().moved(run, position)
        return Cursor(moved.database_id, dict.fromkeys(moved.positions, position))


class AnswersForAll(Feed):
    def _answer(self, cursor: Cursor | None, came: float) -> dict[str, Any]:
        return super()._answer(cursor and OneOrderForAll(*cursor), came)


class NeverPurged(Feed):
    """Says nothing of what was over before it could be told."""

    def _answer(self, cursor: Cursor | None, came: float) -> dict[str, Any]:
        return {**super()._answer(cursor, came), "purged_until": 0}


class KeptForTheUsualLife(Feed):
    """However long the tokens live that an entry has ended."""

    def _answer(self, cursor: Cursor | None, came: float) -> dict[str, Any]:
        return {**super()._answer(cursor, came), "keep": ACCESS_SECONDS + LEEWAY + MARGIN_SECONDS}


Step = Callable[[Machine], None]


class Break(NamedTuple):
    """Parts that lack a rule, and a history that shows it."""

    parts: Parts
    history: list[Step]


def end(ended_id: str, life: int = 30, at: int | None = None) -> Step:
    return methodcaller("end", ended_id, life, at)


def ask(at: int, reads: bool = True) -> Step:
    return methodcaller("ask", at, reads)


def read(at: int) -> Step:
    return methodcaller("read", at, 0, False)


def pass_time(seconds: float) -> Step:
    return methodcaller("pass_time", seconds)


change_database: Step = methodcaller("change_database")
# A worker whose clock is an hour ahead believes it after a while.
FORGOTTEN: list[Step] = [
    end("a", 3000),
    methodcaller("set_clock", 1, 3600.0),
    read(1),
    pass_time(1000.0),
    ask(1),
]
BREAKS = {
    "a whole load begins an order of its own": Break(
        Parts(revocations=KeepsItsRun),
        [
            change_database,
            end("a"),
            read(1),
            change_database,
            ask(1, reads=False),
            ask(0, reads=False),
            end("a"),
            ask(1),
        ],
    ),
    "what comes right after a position is past it": Break(
        with_entries(LeavesOneOut), [end("a"), ask(0), end("b"), ask(0)]
    ),
    "a position itself is not past it": Break(with_entries(TellsTheLastAgain), [end("a"), ask(0)]),
    "what is forgotten is said to be dead": Break(with_entries(ForgetsUnsaid), FORGOTTEN),
    "what changes moves to the end": Break(
        with_entries(InOldPlaces), [end("a"), ask(0), pass_time(0.7), end("a"), ask(0)]
    ),
    "a page ends where it ends": Break(
        Parts(feed=PageForTheWhole), [end("a"), end("b"), end("c"), ask(0), ask(0)]
    ),
    "a position is of one worker": Break(
        Parts(feed=AnswersForAll),
        [ask(0, reads=False), end("a"), ask(1), end("b", at=0), ask(0)],
    ),
    "what was purged unseen is said to be dead": Break(Parts(feed=NeverPurged), FORGOTTEN),
    "an entry is kept while its tokens live": Break(
        Parts(feed=KeptForTheUsualLife), [end("a", 3000), ask(0), pass_time(1000.0)]
    ),
}


def play(parts: Parts, history: list[Step]) -> None:
    """Raises what a step or the invariant does."""
    machine = type("Model", (Machine,), {"parts": parts})()
    try:
        for step in history:
            step(machine)
            machine.what_is_promised_is_refused()
    finally:
        machine.teardown()


@pytest.mark.parametrize("without", BREAKS)
def test_each_rule_taken_out_is_found(without: str) -> None:
    parts, history = BREAKS[without]
    play(Parts(), history)
    with pytest.raises(AssertionError):
        play(parts, history)
