"""Whatever is committed late, lost, restored or told a wrong time: what was answered is in force.

A machine of hypothesis drives two workers and an operator over a model of PostgreSQL, and after
each step shows every token that an answer has ended to both workers. What the answers promise:

- A log-out ends what was issued before it was asked for, whatever the clocks showed then and now.
- An operator's command ends what was issued by then.
- Nothing else is ended for good: with clocks that are right, every other token opens.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import Phase, seed
from hypothesis.stateful import (
    RULE_MARKER,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from authapi.clocks import Clocks
from authapi.credentials.claims import Claims
from authapi.engines.database import Database, Row
from authapi.errors import InvalidClient, InvalidGrant, InvalidToken, TemporarilyUnavailable
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.issuing import Issuing
from authapi.revocation.revocations import Revocations
from authapi.rules.client_cache import ClientCache
from authapi.rules.sessions import Sessions
from authapi.store import database_identity
from authapi.store.following import Ended, Follower, Reading
from authapi.store.revocations import Ending
from tests.exploring import explore
from tests.faults.model import (
    Cluster,
    Operator,
    Parts,
    State,
    Worker,
    World,
)
from tests.faults.services import SOAK, scaled

LONG = 10**9
EXAMPLES = scaled(25, 500)
STEPS = scaled(40, 80)

MOMENTS = [0.1, 0.3, 0.6, 0.6]
PAUSES = [40.0, 700.0, 1000.0, 1000.0, 3000.0, 8000.0]
STEPPED = [-3600.0, -700.0, 0.0, 700.0, 3600.0]
"""By how much a clock is ahead of the true time."""

workers = st.integers(0, 1)
polled = st.sampled_from([(), (0,), (1,), (0, 1), (0, 1)])
rarely = st.sampled_from([False, False, True])
places = st.integers(0, 5)
"""Which of those that there are, modulo their number."""


@dataclass
class Issued:
    """A pair of tokens."""

    access: str
    refresh: str
    claims: Claims
    ended_by: str = ""
    may_be_ended: bool = False


@dataclass
class Asked:
    """What was asked of a worker or an operator, and what is true once it is answered."""

    what: str
    task: "asyncio.Task[Any]"
    answered: Callable[[str], None]
    failed: Callable[[Exception], None] = lambda fault: None


@dataclass
class Backup:
    state: State
    closed: list[str] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """The steps, and what holds after each of them."""

    parts = Parts()
    dialect = "postgresql"
    is_alone = False
    is_proxied = False

    def __init__(self, logins: int = 4) -> None:
        super().__init__()
        self.world = World()
        self.cluster = Cluster(self.world, self.dialect)
        self.operator = Operator(self.cluster)
        self.issued: list[Issued] = []
        self.asked: list[Asked] = []
        self.closed: list[str] = []
        self.former_ids: set[str] = set()
        self.eras: dict[str, float] = {}
        self.backups: list[Backup] = []
        # What is alone is both workers at once.
        self.workers = [self._start() for _ in range(1 if self.is_alone else 2)] * 2
        self.workers = self.workers[:2]
        self.clients = [self.operator.register() for _ in range(2)]
        for worker in self.workers:
            self._poll(worker)
        for number in range(logins):
            self._log_in(self.workers[number // 2], self.clients[number % 2])

    # What clients do

    @rule(at=workers, whose=places)
    def log_in(self, at: int, whose: int) -> None:
        self._log_in(self.workers[at], self.clients[whose % len(self.clients)])

    @precondition(lambda self: self.issued)
    @rule(at=workers, which=places)
    def refresh(self, at: int, which: int) -> None:
        self._refresh(self.workers[at], self._one_issued(which))

    @precondition(lambda self: self.issued)
    @rule(at=workers, which=places, everywhere=rarely, is_late=rarely)
    def log_out(self, at: int, which: int, everywhere: bool, is_late: bool) -> None:
        worker, pair = self.workers[at], self._one_issued(which)
        worker.link.is_late = is_late
        ended_id = pair.claims.sub if everywhere else pair.claims.sid
        self._may_end(ended_id)
        before = self._promised(pair, ended_id)

        def answered(what: str) -> None:
            # A session has not gone on meanwhile; a client may have begun another.
            self._end(before if everywhere else self._promised(pair, ended_id))(what)
            if everywhere and ended_id in self.cluster.state.rows:
                self.eras[ended_id] = self.cluster.state.rows[ended_id].revoked_at

        what = f"log-out{' everywhere' * everywhere} of #{self.issued.index(pair)} at {at}"
        self._ask(what, worker.sessions.log_out(pair.access, everywhere), answered)
        worker.link.is_late = False

    # What the database does

    @precondition(lambda self: self.cluster.open)
    @rule(which=places)
    def commit(self, which: int) -> None:
        self._commit(sorted(self.cluster.open)[which % len(self.cluster.open)])

    @precondition(lambda self: not self.cluster.is_sqlite)
    @rule()
    def neighbour_begins(self) -> None:
        """Another database of the cluster has transactions, too."""
        self.cluster.hold()

    @precondition(lambda self: self.cluster.held)
    @rule()
    def neighbour_ends(self) -> None:
        self.cluster.release(min(self.cluster.held))

    @precondition(lambda self: not self.cluster.is_sqlite)
    @rule()
    def fail_over(self) -> None:
        self.cluster.fail_over()
        self.world.settle()

    @rule()
    def back_up(self) -> None:
        self.backups.append(Backup(self.cluster.state.copy(), list(self.closed)))

    @precondition(lambda self: self.backups and not self.cluster.is_sqlite)
    @rule(which=places, numbers=st.sampled_from([1, 100, 1000]))
    def restore(self, which: int, numbers: int) -> None:
        backup = self.backups[which % len(self.backups)]
        self.former_ids.add(self.cluster.state.database_id)
        self.cluster.fail_over(backup.state, numbers)
        self.closed = list(backup.closed)
        self.asked.clear()  # what was asked of the one before is not promised of this one
        self.eras.clear()
        self.end_all_sessions()

    @rule()
    def end_all_sessions(self) -> None:
        self.former_ids.add(self.cluster.state.database_id)
        former_ids = set(self.former_ids)

        def answered(what: str) -> None:
            former = [each for each in self.issued if each.claims.database_id in former_ids]
            self._end(former)(what)

        self._ask("end-all-sessions", self.operator.end_all_sessions(), answered)
        for each in self.issued:
            each.may_be_ended |= each.claims.database_id in former_ids

    # What workers do

    @rule(at=workers)
    def poll(self, at: int) -> None:
        self._poll(self.workers[at])

    @rule(at=workers, is_answered=st.booleans())
    def poll_slowly(self, at: int, is_answered: bool) -> None:
        """It stops while its question is under way, or its answer."""
        worker = self.workers[at]
        if worker.reading is None or worker.reading.done():
            worker.link.is_slow = True
            worker.reading = self.world.start(worker.read())
            if is_answered:
                self.poll_goes_on(at, fails=False)

    @rule(at=workers, fails=rarely)
    def poll_goes_on(self, at: int, fails: bool) -> None:
        """To where its answer is under way, or to its end; or it is cut off."""
        self.workers[at].link.go_on(fails)
        self.world.settle()

    @rule(at=workers, is_up=st.booleans(), is_proxied=st.booleans())
    def network(self, at: int, is_up: bool, is_proxied: bool) -> None:
        """A connection from now on may be one to a proxy."""
        self.workers[at].link.is_up = is_up
        self.workers[at].link.is_proxied = is_proxied

    @rule(at=workers)
    def restart(self, at: int) -> None:
        former = self.workers[at]
        worker = self._start(former.lead)
        self.workers = [worker if each is former else each for each in self.workers]
        worker.link.is_proxied = former.link.is_proxied
        former.link.is_up = False
        self._poll(worker)

    # What operators do

    @rule(whose=places, whole=st.booleans(), is_late=rarely)
    def close_client(self, whose: int, whole: bool, is_late: bool) -> None:
        """Disable a client, or revoke its key; another takes its place."""
        client_id = self.clients.pop(whose % len(self.clients))
        self.clients.append(self.operator.register())
        if client_id not in self.cluster.state.clients:
            return  # one that came after the back-up which was restored
        key = self.cluster.state.clients[client_id].key.text
        self._may_end(client_id)
        end = self._end([each for each in self.issued if each.claims.sub == client_id])

        def answered(what: str) -> None:
            end(what)
            self.closed.append(key)

        self.operator.link.is_late = is_late
        what = f"{'disable-client' if whole else 'revoke-key'} of {client_id}"
        self._ask(what, self.operator.close(client_id, whole), answered)
        self.operator.link.is_late = False

    @rule(at=workers)
    def purge_by_worker(self, at: int) -> None:
        worker = self.workers[at]
        if worker.clocks.are_settled:
            purge = self.parts.purge(worker.database, worker.clocks.earliest(), 10)
            self._ask("purge", purge, lambda what: None)

    @rule(ahead=st.sampled_from([0.0, 40.0, 3600.0, 7200.0, 20000.0]))
    def purge_by_hand(self, ahead: float) -> None:
        """On a machine whose clock may be ahead."""
        database = cast(Database, self.operator.link)
        purge = self.parts.purge(database, self.world.now() + ahead, 10)
        self._ask("purge", purge, lambda what: None)

    @rule(lead=st.sampled_from(STEPPED))
    def set_clock_of_operator(self, lead: float) -> None:
        self.operator.lead = lead

    # What time does

    @rule(at=workers, lead=st.sampled_from(STEPPED))
    def set_clock(self, at: int, lead: float) -> None:
        self.workers[at].lead = lead

    @rule(seconds=st.sampled_from(MOMENTS), polled=polled, numbers=st.sampled_from([0, 60]))
    def pass_a_moment(self, seconds: float, polled: tuple[int, ...], numbers: int) -> None:
        """Meanwhile a neighbour burns numbers."""
        self.cluster.burn(numbers)
        self._pass_time(seconds, polled)

    @rule(seconds=st.sampled_from(PAUSES), polled=polled)
    def pass_long(self, seconds: float, polled: tuple[int, ...]) -> None:
        self._pass_time(seconds, polled)

    # What always holds

    @invariant()
    def what_was_answered_is_in_force(self) -> None:
        self._collect()
        for number, each in enumerate(self.issued):
            for at, worker in enumerate(self.workers):
                if each.ended_by:
                    said = f"#{number} is accepted at {at} after {each.ended_by}"
                    assert not worker.accepts(each.access), said
                    assert not worker.would_refresh(each.refresh), "refresh: " + said
        for at, worker in enumerate(self.workers):
            for key in self.closed[-3:]:
                assert not worker.would_log_in(key), f"a closed client logs in at {at}"

    def teardown(self) -> None:
        try:
            self._what_nothing_ended_is_accepted()
        finally:
            self.world.close()

    def _what_nothing_ended_is_accepted(self) -> None:
        for number in list(self.cluster.open):
            self._commit(number)
        for worker in self.workers:
            worker.lead, worker.link.is_up = 0, True
            self._poll(worker)
        for client_id in self.clients:
            if client_id in self.cluster.state.clients:
                self._log_in(self.workers[0], client_id)
        self.what_was_answered_is_in_force()
        for number, each in enumerate(self.issued):
            if each.may_be_ended or each.claims.exp <= self.cluster.state.access_purged_until:
                continue
            for at, worker in enumerate(self.workers):
                try:
                    worker.tokens.verify("at+jwt", each.access)
                except InvalidToken:
                    continue  # its time is over, or has not come
                assert worker.accepts(each.access), f"#{number} is refused at {at} for nothing"

    def _pass_time(self, seconds: float, polled: tuple[int, ...]) -> None:
        self.world.pass_time(seconds)
        for worker in {self.workers[at]: None for at in polled}:
            if not worker.link.is_passing:  # one poll at a time
                self._poll(worker)

    def _start(self, lead: float = 0) -> Worker:
        worker = Worker(self.cluster, self.parts, lead, is_shared=not self.is_alone)
        worker.link.is_proxied = self.is_proxied
        return worker

    def _one_issued(self, which: int) -> Issued:
        return self.issued[-1 - which % min(6, len(self.issued))]

    def _promised(self, shown: Issued, ended_id: str) -> list[Issued]:
        """What an answer to this log-out will have ended; to repeat one spares later sessions."""
        return [
            each
            for each in self.issued
            if each is shown
            or (
                ended_id in (each.claims.sid, each.claims.sub)
                and each.claims.era <= shown.claims.era
            )
        ]

    def _end(self, pairs: list[Issued]) -> Callable[[str], None]:
        def end(what: str) -> None:
            for each in pairs:
                each.ended_by = each.ended_by or what

        return end

    def _may_end(self, *ids: str) -> None:
        for each in self.issued:
            own = (each.claims.sub, each.claims.sid, each.claims.key_id)
            each.may_be_ended |= any(name in ids for name in own)

    def _commit(self, number: int) -> None:
        self._may_end(*self.cluster.open[number].ids)  # also what was issued since it was asked
        self.cluster.commit(number)
        self.world.settle()

    def _log_in(self, worker: Worker, client_id: str) -> None:
        client = self.cluster.state.clients.get(client_id)
        if client is not None:
            task = self.world.start(worker.sessions.log_in(client.key.text, "192.0.2.1"))
            if task.done():
                self._issue(worker, task, None)
            else:  # it waits for a log-out to be committed
                self._wait("login", worker, task, None)

    def _refresh(self, worker: Worker, pair: Issued) -> None:
        task = self.world.start(worker.sessions.refresh(pair.refresh))
        if task.done() and task.exception() is None:
            self._issue(worker, task, pair)
        else:  # if it is a theft, the answer waits until no worker takes the session's tokens
            self._may_end(pair.claims.sid)
            self._wait("refresh", worker, task, pair)

    def _wait(
        self, what: str, worker: Worker, task: "asyncio.Task[Any]", former: Issued | None
    ) -> None:
        def answered(what: str) -> None:
            self._issue(worker, task, former, has_waited=True)

        def failed(fault: Exception) -> None:
            if former and isinstance(fault, InvalidGrant) and str(fault) == "reused":
                what = f"the reuse of #{self.issued.index(former)}"
                self._end(self._promised(former, former.claims.sid))(what)

        self.asked.append(Asked(what, task, answered, failed))

    def _issue(
        self,
        worker: Worker,
        task: "asyncio.Task[Any]",
        former: Issued | None,
        has_waited: bool = False,
    ) -> None:
        try:
            pair = task.result()
        except (InvalidClient, InvalidGrant, TemporarilyUnavailable):
            return
        try:
            claims = worker.claims_of(pair["access_token"])
        except InvalidToken:
            return  # it was born dead
        issued = Issued(pair["access_token"], pair["refresh_token"], claims)
        # A copy may still have an era whose row was purged since, so that a login begins none.
        latest = max(each.revocations.era_of(claims.sub) for each in self.workers)
        is_ended = self.cluster.state.is_ended(claims._asdict())
        issued.may_be_ended = is_ended or latest > claims.era or has_waited
        if former is not None:
            issued.may_be_ended |= former.may_be_ended
            assert not former.ended_by, "a session that was ended goes on"
        elif not has_waited and {claims.sub} <= self.eras.keys() & self.cluster.state.rows.keys():
            assert claims.era >= self.eras[claims.sub], "a login is ended by what was before it"
        self.issued.append(issued)

    def _poll(self, worker: Worker) -> None:
        """A whole poll, after the one that may be under way."""
        worker.link.is_slow = False
        while worker.reading is not None and not worker.reading.done():
            worker.link.go_on(False)
            self.world.settle()
        worker.reading = self.world.start(worker.read())

    def _ask(self, what: str, action: Any, answered: Callable[[str], None]) -> None:
        self.asked.append(Asked(what, self.world.start(action), answered))

    def _collect(self) -> None:
        """What was answered meanwhile is promised from now on. No fault is of another kind."""
        for worker in self.workers:
            if worker.reading is not None and worker.reading.done():
                worker.reading.result()
        for asked in [each for each in self.asked if each.task.done()]:
            self.asked.remove(asked)
            fault = asked.task.exception()
            if fault is None:
                asked.answered(asked.what)
            elif isinstance(fault, InvalidToken | InvalidGrant | TemporarilyUnavailable):
                asked.failed(fault)
            else:
                raise fault


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hundred thousand lines of log would be kept for a report that nobody reads."""
    monkeypatch.setattr(logging.getLogger("auth.audit"), "disabled", True)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def explore_model(machine: type[Machine], examples: int, **options: Any) -> None:
    explore(machine, examples, STEPS, derandomize=not SOAK, **options)


ALONE = {"dialect": "sqlite", "is_alone": True}


@pytest.mark.parametrize("service", [{}, {"dialect": "sqlite"}, ALONE], ids=str)
def test_what_was_answered_is_in_force(service: dict[str, Any]) -> None:
    explore_model(type("Model", (Machine,), service), EXAMPLES)


class CursorOfNoConnection(Follower):
    """It goes on where it was, on whichever connection."""

    async def read(self, after: int) -> Reading:
        if self._database_id:
            self._connection = await self._database.dedicated_connection()
        return await super().read(after)

    # The mark alone would tell another connection, too.
    def _goes_on(self, head: Row) -> bool:
        return super()._goes_on({**head, "reader": self._reader})


class CursorOfNoBackend(Follower):
    """A proxy can exchange what is at the other end of the connection."""

    def _goes_on(self, head: Row) -> bool:
        return super()._goes_on({**head, "reader": self._reader})


class CursorOfNoDatabase(Follower):
    def _goes_on(self, head: Row) -> bool:
        same = self._database_id or head["database_id"]
        return super()._goes_on({**head, "database_id": same})


class BlindToLateCommits(Follower):
    """As if all that is open had numbers past the end of the snapshot."""

    async def _ask(
        self, statements: Mapping[str, sa.TextClause], values: Row, seconds: float
    ) -> tuple[Row, list[Ended]]:
        return await super()._ask(statements, {**values, "still_open": []}, seconds)


def follows(follower: type[Follower]) -> Parts:
    class Follows(Revocations):
        def __init__(self, database: Database, *arguments: Any, **options: Any) -> None:
            super().__init__(database, *arguments, **options)
            self._follower = follower(database)

    return Parts(revocations=Follows)


class NeverOver(Revocations):
    """Without the latest `exp` up to which no token counts."""

    async def is_ended(self, claims: Claims) -> bool:
        self.entries.over = 0
        return await super().is_ended(claims)


class WithoutSteps(Clocks):
    def step(self) -> float:
        return 0


class ForgetsByTheWall(Revocations):
    """As soon as the wall clock says that it is over, however lately it was learnt, and without a
    note of up to where that ended tokens."""

    def _forget(self) -> None:
        over = self.clocks.wall() - self._leeway_seconds - MARGIN_SECONDS
        noted = self.entries.over
        self.entries.forget(math.inf, 0, math.floor(over))
        self.entries.over = noted


class ForgetsItsOwn(Revocations):
    def _start_over(self, reading: Reading, after: int) -> None:
        self._own = []
        super()._start_over(reading, after)


class LeaseFromTheAnswer(Revocations):
    async def read(self) -> None:
        await super().read()
        self.read_at = self.clocks.steady()


class LeaseWithoutEnd(Revocations):
    def are_fresh(self) -> bool:
        return bool(self.database_id)


class AnswersAtOnce(Revocations):
    async def enforce(self, ended: Ended) -> None:
        self.enforce_seconds = 0
        await super().enforce(ended)


class WithoutChanges(Revocations):
    """To have loaded anew is no change of the registry, nor is what it brings."""

    def _take(self, reading: Reading, after: int) -> None:
        changes = self.registry_version
        super()._take(reading, after)
        if reading.is_whole:
            self.registry_version = changes


class CacheThatStays(ClientCache):
    """Whatever changes."""

    def get(self, name: str) -> Row | None:
        self._version = self._revocations.registry_version
        return super().get(name)


class CacheWithoutLease(ClientCache):
    def get(self, name: str) -> Row | None:
        good = super().get(name)
        answer, until = self._answers.get(name, (None, 0))
        return good or (answer if self._revocations.clocks.steady() < until else None)


class OfWhatItKnows(Ending):
    def values(self) -> dict[str, Any]:
        return super().values() | {"access_seconds": -LONG, "session_seconds": -LONG}


class EndsWhatItKnows(Sessions):
    """Without a look at how late the tokens are that others may have issued."""

    def _ending(
        self, ended_id: str, reason: str, claims: Claims, now: float, shown_exp: int = 0
    ) -> Ending:
        return OfWhatItKnows(*super()._ending(ended_id, reason, claims, now, shown_exp))


class TellsNobody(Issuing):
    async def allow(self, database_id: str, iat: int) -> None:
        pass


async def purge_and_forget(database: Database, now: float, leeway_seconds: float) -> int:
    """Delete what is over, and not remember up to where tokens may lack their rows."""
    values = {"before": int(now - leeway_seconds - MARGIN_SECONDS), "batch": 500}
    return len(await database.fetch_all(database_identity.PURGE, values))


class Mutant(NamedTuple):
    """What lacks a rule, and the kinds of steps that it takes: with fewer it is found sooner.

    By another seed some take a thousand examples, and half a minute; by this one each took a tenth
    of a second as it was written.
    """

    parts: Parts
    steps: str
    seed: int
    service: dict[str, Any] = {}


MUTANTS = {
    "a cursor lives for one connection": Mutant(
        follows(CursorOfNoConnection), "log_in log_out pass_a_moment fail_over", 5
    ),
    "a cursor lives for one backend": Mutant(
        follows(CursorOfNoBackend),
        "log_in log_out pass_a_moment fail_over",
        5,
        {"is_proxied": True},
    ),
    "a cursor lives for one database": Mutant(
        follows(CursorOfNoDatabase), "end_all_sessions pass_a_moment", 1
    ),
    "what was open is read": Mutant(
        follows(BlindToLateCommits), "log_in log_out commit pass_a_moment", 1
    ),
    # It leaves refused for good what a clock that was ahead held for over.
    "a step begins anew": Mutant(Parts(WithoutSteps), "log_in restart set_clock pass_a_moment", 3),
    # Either alone is covered by the other.
    "the steady clock forgets, and notes it": Mutant(
        Parts(revocations=ForgetsByTheWall), "log_in log_out set_clock poll", 2, ALONE
    ),
    "what is over stays so": Mutant(
        Parts(revocations=NeverOver), "log_in log_out set_clock pass_long", 17, ALONE
    ),
    # Where others wait for leases, these cover for it.
    "own writes outlive a reading": Mutant(
        Parts(revocations=ForgetsItsOwn),
        "log_in log_out set_clock poll_slowly poll_goes_on",
        7,
        ALONE,
    ),
    "a lease counts from the question": Mutant(
        Parts(revocations=LeaseFromTheAnswer),
        "log_out poll_slowly poll_goes_on pass_a_moment",
        28,
    ),
    "a lease ends": Mutant(Parts(revocations=LeaseWithoutEnd), "log_out pass_a_moment", 2),
    "an answer waits for the leases": Mutant(Parts(revocations=AnswersAtOnce), "log_out", 1),
    # Of an operator whose clock is behind, a whole reading would not bring what tells a change;
    # but it lasts for all that was issued.
    "to load anew ends what was looked up": Mutant(
        Parts(revocations=WithoutChanges, issuing=TellsNobody),
        "log_in close_client set_clock_of_operator fail_over pass_a_moment",
        1,
    ),
    "a change ends what was looked up": Mutant(
        Parts(client_cache=CacheThatStays), "log_in close_client pass_a_moment", 2
    ),
    "a lookup has the lease of the copy": Mutant(
        Parts(client_cache=CacheWithoutLease), "log_in close_client pass_a_moment", 1
    ),
    # Either alone is covered by the other.
    "a row lasts for all that was issued": Mutant(
        Parts(sessions=EndsWhatItKnows), "log_in log_out set_clock poll", 6, ALONE
    ),
    "it is told before it is issued": Mutant(
        Parts(issuing=TellsNobody), "log_in log_out set_clock poll", 6, ALONE
    ),
    "a purge is remembered": Mutant(
        Parts(purge=purge_and_forget), "log_in log_out purge_by_hand pass_a_moment", 1
    ),
}


def mutated(mutant: Mutant) -> type[Machine]:
    """The machine without the other kinds of steps."""
    mine = set(mutant.steps.split())
    names = {name for name, each in vars(Machine).items() if hasattr(each, RULE_MARKER)}
    changed = dict.fromkeys(names - mine) | {"parts": mutant.parts} | mutant.service
    machine = type("Model", (Machine,), changed)
    return machine if SOAK else seed(mutant.seed)(machine)


@pytest.mark.parametrize("without", MUTANTS)
def test_each_rule_taken_out_is_found(without: str) -> None:
    with pytest.raises(AssertionError):
        explore_model(mutated(MUTANTS[without]), EXAMPLES * 80, phases=[Phase.generate])


@pytest.mark.parametrize("without", MUTANTS)
def test_what_finds_it_finds_nothing_in_the_service(without: str) -> None:
    mutant = MUTANTS[without]._replace(parts=Parts())
    explore_model(mutated(mutant), EXAMPLES // 5, phases=[Phase.generate])


Step = Callable[[Machine], None]


def set_clock(at: int, lead: float, notices: bool = True) -> Step:
    """What does not notice it has not polled since."""

    def step(machine: Machine) -> None:
        machine.set_clock(at=at, lead=lead)
        if notices:
            machine.poll(at=at)

    return step


def log_in(machine: Machine) -> None:
    machine.log_in(at=0, whose=0)


def refresh(machine: Machine) -> None:
    machine.refresh(at=0, which=len(machine.issued) - 1)


def restart(machine: Machine) -> None:
    machine.restart(at=0)


def log_out(number: int, at: int = 0, everywhere: bool = False) -> Step:
    def step(machine: Machine) -> None:
        which = len(machine.issued) - 1 - number
        machine.log_out(at=at, which=which, everywhere=everywhere, is_late=False)

    return step


def wait(seconds: float) -> Step:
    return lambda machine: machine.pass_long(seconds=seconds, polled=(0, 1))


def purge(machine: Machine) -> None:
    machine.purge_by_hand(ahead=0.0)


def test_a_session_that_goes_on_while_it_is_ended_is_over() -> None:
    """A refresh finds that the log-out is not committed, and is told of too late for its row."""
    machine = Machine(logins=1)
    try:
        machine.log_out(at=1, which=0, everywhere=False, is_late=True)
        machine.set_clock(at=0, lead=3600.0)
        machine.refresh(at=0, which=0)
        machine.commit(which=0)
        machine.pass_long(seconds=0.6, polled=(0, 1))
        machine.set_clock(at=0, lead=0.0)
        for seconds in (3000.0, 700.0):
            machine.pass_long(seconds=seconds, polled=(0, 1))
            machine.what_was_answered_is_in_force()
    finally:
        machine.world.close()


# Token #0 is of the first worker; #1 is issued while its clock is ahead, or it is behind after.
CLOCKS: dict[str, list[Step]] = {
    "a step back that no poll has noticed yet": [
        *(set_clock(0, 3600), refresh, wait(700), set_clock(0, 0, notices=False)),
        *(log_out(0), wait(0.6), wait(3000)),
    ],
    "a step back long ago": [
        *(set_clock(0, 3600), log_in, set_clock(0, 0), wait(700)),
        *(log_out(0, everywhere=True), wait(0.6), wait(3000)),
    ],
    "a clock that is behind for long": [
        *(wait(700), log_in, set_clock(0, -1300), wait(700)),
        *(log_out(0, everywhere=True), wait(0.6), set_clock(0, 0)),
    ],
    "a restart since": [
        *(set_clock(0, 3600), refresh, set_clock(0, 0), restart),
        *(log_out(0), wait(0.6), wait(3000), wait(700)),
    ],
    "a log-out of the later token itself, after one of an earlier": [
        *(set_clock(0, 3600), refresh, set_clock(0, 0)),
        *(log_out(0, at=1), wait(0.6), log_out(1), wait(0.6), Machine.fail_over),
        *(wait(3000), wait(700)),
    ],
    "a purge of the era of a session that began while the clock was ahead": [
        *(set_clock(0, 3600), log_in, set_clock(0, 0), log_out(0, everywhere=True), wait(0.6)),
        *(log_in, log_out(2), wait(0.6), wait(8000), purge, wait(0.6)),
    ],
}


@pytest.mark.parametrize("after", CLOCKS)
def test_what_was_answered_is_in_force_after(after: str) -> None:
    """What the machine, or who drew it, found by way of earlier rules."""
    machine = Machine(logins=1)
    try:
        for step in CLOCKS[after]:
            step(machine)
            machine.what_was_answered_is_in_force()
        assert machine.issued[1].ended_by
    finally:
        machine.world.close()
