"""A PostgreSQL as the service sees it, and workers of the real classes beside it, without a wait.

What a snapshot shows, which numbers a crash gives out again and what a connection outlives is
modelled; the rules that have to cope with it are the service's own. Time passes when the model
says so, for the timers of asyncio, too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar, cast

from authapi.clocks import Clocks
from authapi.credentials.claims import Claims, new_database_id
from authapi.credentials.client_keys import ClientKey, new_client_id, new_client_key
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.deadline import ANSWER_SECONDS
from authapi.engines.database import Database
from authapi.errors import InvalidClient, InvalidToken, TemporarilyUnavailable
from authapi.revocation import purging
from authapi.revocation.issuing import Issuing
from authapi.revocation.revocations import TIMER_SECONDS, Revocations
from authapi.rules.assertions import Assertions
from authapi.rules.client_authentication import ClientAuthentication
from authapi.rules.client_cache import ClientCache
from authapi.rules.client_key_uses import ClientKeyUses
from authapi.rules.client_limits import ClientLimits
from authapi.rules.sessions import Sessions
from authapi.store import database_identity
from authapi.store import revocations as endings
from authapi.store import sessions as store
from authapi.store.following import LOAD, POLL
from authapi.throttling.client_logins import ClientLogins
from authapi.throttling.failed_logins import FailedLogins
from authapi.throttling.shared_count import SharedCount

T = TypeVar("T")
Row = Mapping[str, Any]

NOW = 1_800_000_000.0
MAX_AGE = 0.5
ACCESS_SECONDS = 900
SESSION_SECONDS = 7200
LEEWAY = 10
SECRET = "s" * 32


class World:
    """The time that passes, and the true time. `start` and `pass_time` run what is due by then."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.loop = Loop(self)

    def steady(self) -> float:
        return self.elapsed

    def now(self) -> float:
        return NOW + self.elapsed

    def start(self, action: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = self.loop.create_task(action)
        self.settle()
        return task

    def pass_time(self, seconds: float) -> None:
        self.elapsed += seconds
        self.settle()

    def settle(self) -> None:
        """Until each task waits for time, for the database or for nothing."""
        self.loop.run_until_complete(_turns(8))

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.settle()
        self.loop.close()


class Loop(asyncio.SelectorEventLoop):
    """Its timers go by the time of the model."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def time(self) -> float:
        return self._world.elapsed


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Ended(NamedTuple):
    """A row of `revoked_jtis`."""

    jti: str
    reason: str
    revoked_at: float
    access_expires_at: int | None
    expires_at: int
    commit_order: int | None
    ended_by: str | None = None


@dataclass
class Registered:
    """A client with its one key."""

    key: ClientKey
    disabled_at: float | None = None
    revoked_at: float | None = None


@dataclass
class State:
    """What is on the disk."""

    database_id: str = field(default_factory=new_database_id)
    access_purged_until: int = 0
    refresh_purged_until: int = 0
    issued_until: int = 0
    rows: dict[str, Ended] = field(default_factory=dict)
    clients: dict[str, Registered] = field(default_factory=dict)

    def copy(self) -> "State":
        clients = {name: Registered(**vars(client)) for name, client in self.clients.items()}
        until = self.access_purged_until, self.refresh_purged_until, self.issued_until
        return State(self.database_id, *until, dict(self.rows), clients)

    def is_ended(self, claims: Row) -> bool:
        """Of an access token."""
        return self._is_ended_by(claims, ("jti", "sid", "key_id"), self.access_purged_until)

    def _is_ended_by(self, claims: Row, ids: tuple[str, ...], purged_until: int) -> bool:
        """The condition of `endings.is_ended_by`."""
        era = self.rows.get(claims["sub"])
        return (
            self.database_id != claims["database_id"]
            or purged_until >= claims["exp"]
            or any(claims[name] in self.rows for name in ids)
            or (era is not None and era.revoked_at > claims["era"])
        )

    def goes_on(self, claims: Row) -> bool:
        """The condition on which a refresh token is spent."""
        client = self.clients.get(claims["sub"])
        return (
            client is not None
            and client.disabled_at is None
            and client.revoked_at is None
            and not self._is_ended_by(claims, ("sid", "key_id"), self.refresh_purged_until)
        )


class Backend:
    """What serves one connection, and ends with it. `reader` is the setting of its session."""

    def __init__(self) -> None:
        self.reader: str | None = None
        self.is_alive = True


@dataclass
class Transaction:
    """One that is open. What it writes is seen when it is `over`, and not before."""

    ids: set[str]
    write: Callable[[], Any]
    over: "asyncio.Future[Any]"


class Cluster:
    """A primary, and the standby that takes its place with whatever was answered."""

    def __init__(self, world: World, dialect: str) -> None:
        self.world = world
        self.dialect = dialect
        self.state = State()
        self.next_number = 100
        self.last_completed = 99
        self.open: dict[int, Transaction] = {}
        self.held: set[int] = set()
        self.backends: list[Backend] = []

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    def connect(self) -> Backend:
        self.backends.append(Backend())
        return self.backends[-1]

    def hold(self) -> None:
        """A neighbour's transaction takes a number, writes nothing of ours, and stays open."""
        self.held.add(self._take())

    def burn(self, numbers: int) -> None:
        self.next_number += numbers
        self.last_completed = self.next_number - 1

    async def write(self, ids: set[str], write: Callable[[int], T], is_late: bool) -> T:
        """In a transaction of its own, which waits for those that write the same rows."""
        while same := [each for each in self.open.values() if each.ids & ids]:
            await self.answered(same[0])
        number = self._take()
        if not is_late or self.is_sqlite:
            self._complete(number)
            return write(number)
        over = self.world.loop.create_future()
        transaction = self.open[number] = Transaction(ids, lambda: write(number), over)
        return cast(T, await self.answered(transaction))

    def commit(self, number: int) -> None:
        transaction = self.open.pop(number)
        transaction.over.set_result(transaction.write())
        self._complete(number)

    def release(self, number: int) -> None:
        self.held.remove(number)
        self._complete(number)

    def fail_over(self, state: State | None = None, numbers: int = 1) -> None:
        """A crash, or a standby in its place: what is open is lost, and of the numbers what no
        commit kept. Or another `state`, which was restored into a server with numbers of its own.
        """
        orders = [row.commit_order or 0 for row in self.state.rows.values()]
        for transaction in self.open.values():
            transaction.over.set_exception(TemporarilyUnavailable())
            transaction.over.exception()  # nobody may wait for it any more
        self.open, self.held = {}, set()
        for backend in self.backends:
            backend.is_alive = False
        self.backends = []
        self.next_number = min(self.next_number, max([99, *orders]) + 1)
        if state is not None:
            self.state, self.next_number = state.copy(), numbers
        self.last_completed = self.next_number - 1

    def read(self, statement: object, values: Row, backend: Backend) -> list[Row]:
        """The answer to `LOAD` or `POLL`, all of one snapshot."""
        rows = [row for row in self.state.rows.values() if row.commit_order is not None]
        if statement is LOAD[self.dialect]:
            rows = [row for row in rows if (row.access_expires_at or 0) > values["after"]]
            backend.reader = values["reader"]
        else:
            assert statement is POLL[self.dialect]
            rows = [row for row in rows if self._is_news(row.commit_order or 0, values)]
        head: dict[str, Any] = dict.fromkeys(("jti", "revoked_at", "access_expires_at"))
        head |= {
            "database_id": self.state.database_id,
            "access_purged_until": self.state.access_purged_until,
            "snapshot": self._snapshot(),
            "reader": values["reader"] if self.is_sqlite else backend.reader,
            "is_standby": False,
            "clock": None if self.is_sqlite else self.world.now(),
        }
        return [head, *(row._asdict() for row in rows)]

    def _is_news(self, number: int, values: Row) -> bool:
        if self.is_sqlite:
            return bool(number >= values["xmax"])
        is_new = values["xmax"] <= number <= self.last_completed
        return is_new or number in values["still_open"]

    def _snapshot(self) -> str:
        if self.is_sqlite:
            return f":{self._after_the_last()}:"
        xmax = self.last_completed + 1
        still_open = sorted(number for number in {*self.open, *self.held} if number < xmax)
        return f"{min([*still_open, xmax])}:{xmax}:{','.join(map(str, still_open))}"

    def _take(self) -> int:
        if self.is_sqlite:
            return self._after_the_last()
        self.next_number += 1
        return self.next_number - 1

    def _after_the_last(self) -> int:
        return max([0, *(row.commit_order or 0 for row in self.state.rows.values())]) + 1

    def _complete(self, number: int) -> None:
        self.last_completed = max(self.last_completed, number)

    async def answered(self, transaction: Transaction) -> Any:
        try:
            return await asyncio.wait_for(asyncio.shield(transaction.over), ANSWER_SECONDS)
        except TimeoutError:
            raise TemporarilyUnavailable from None


class Dedicated:
    """The end of a connection that a worker holds. Behind a proxy, there may be another backend at
    the other end without a word."""

    def __init__(self, cluster: Cluster, is_proxied: bool) -> None:
        self._cluster = cluster
        self._is_proxied = is_proxied
        self._backend = cluster.connect()
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True

    def is_closed(self) -> bool:
        return self._is_closed or not (self._is_proxied or self._backend.is_alive)

    def backend(self) -> Backend:
        if self.is_closed():
            raise TemporarilyUnavailable
        if not self._backend.is_alive:
            self._backend = self._cluster.connect()
        return self._backend


class Link:
    """What a process has in place of `Database`.

    While it `is_slow`, a reading stops where its question is under way, and once more where its
    answer is; `go_on` lets it pass, or fail. What it writes while it `is_late` is not committed
    before the model says so.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.url = SimpleNamespace(dialect=cluster.dialect)
        self.is_up = True
        self.is_slow = self.is_late = self.is_proxied = False
        self._cluster = cluster
        self._dedicated: Dedicated | None = None
        self._passing: asyncio.Future[None] | None = None
        self._answers = {
            database_identity.RAISE_ISSUED_UNTIL: self._raise_issued_until,
            endings.IS_ENDED: self._is_ended,
            endings.END: self._end,
            endings.END_ALL: self._end_all,
            endings.FIND_ERA: self._find_era,
            database_identity.PURGE: self._purge,
            database_identity.REMEMBER_PURGE: self._remember_purge,
            database_identity.CHANGE_IDENTITY: self._change_identity,
            store.FIND_LOGIN: self._find_login,
            store.SPEND: self._spend,
            store.FIND_SPENT: self._find_spent,
        }

    async def dedicated_connection(self) -> object:
        self._reach()
        if self._dedicated is None or self._dedicated.is_closed():
            self._dedicated = Dedicated(self._cluster, self.is_proxied)
        return self._dedicated

    async def fetch_on(self, connection: Dedicated, query: object, values: Row) -> list[Row]:
        try:
            await self.passing()
            self._reach()
            rows = self._cluster.read(query, values, connection.backend())
            await self.passing()
            return rows
        except BaseException:
            connection.close()
            raise

    @asynccontextmanager
    async def reached(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except OSError:  # the time is over, or the database is not fit
            raise TemporarilyUnavailable from None

    async def fetch_val(self, query: Any, values: Row) -> Any:
        row = await self.fetch_one(query, values)
        return next(iter(row.values())) if row else None

    async def fetch_one(self, query: Any, values: Row) -> Row | None:
        rows = await self.fetch_all(query, values)
        return rows[0] if rows else None

    async def fetch_all(self, query: Any, values: Row) -> list[Row]:
        self._reach()
        return await self._answers[query](values)

    async def atomically(self, action: Callable[[], Awaitable[T]], is_durable: bool = True) -> T:
        """Nothing else happens meanwhile, since none of its statements waits."""
        return await action()

    async def passing(self) -> None:
        if self.is_slow:
            self._passing = self._cluster.world.loop.create_future()
            await self._passing

    @property
    def is_passing(self) -> bool:
        return self._passing is not None

    def go_on(self, fails: bool) -> None:
        passing, self._passing = self._passing, None
        if passing is None or passing.done():
            return
        if fails:
            passing.set_exception(TemporarilyUnavailable())
        else:
            passing.set_result(None)

    def _reach(self) -> None:
        if not self.is_up:
            raise TemporarilyUnavailable

    @property
    def _state(self) -> State:
        return self._cluster.state

    async def _is_ended(self, values: Row) -> list[Row]:
        return [{"is_ended": self._state.is_ended(values)}]

    async def _raise_issued_until(self, values: Row) -> list[Row]:
        # Who ends something shares the identity until that is committed.
        while self._cluster.open:
            await self._cluster.answered(next(iter(self._cluster.open.values())))
        if self._state.database_id == values["expected_id"]:
            self._state.issued_until = max(self._state.issued_until, values["until"])
        return []

    async def _end(self, values: Row) -> list[Row]:
        row = row_of(values, self._state.issued_until)  # what the statement sees as it begins

        def write(number: int) -> list[Row]:
            if row.jti in self._state.rows:
                return []
            self._state.rows[row.jti] = row._replace(commit_order=number)
            return [written(row)]

        return await self._cluster.write({row.jti}, write, self.is_late)

    async def _end_all(self, values: Row) -> list[Row]:
        row = row_of(values, self._state.issued_until)

        def write(number: int) -> list[Row]:
            former = self._state.rows.get(row.jti)
            if self._state.is_ended(values):
                return []
            if former and former.revoked_at > values["era"]:
                return []
            return [written(begin_era(self._state, row, number))]

        return await self._cluster.write({row.jti}, write, self.is_late)

    async def _find_era(self, values: Row) -> list[Row]:
        row = self._state.rows.get(values["sub"])
        return [row._asdict()] if row else []

    async def _purge(self, values: Row) -> list[Row]:
        over = self._over(values["before"])[: values["batch"]]
        return [self._state.rows.pop(jti)._asdict() for jti in over]

    async def _remember_purge(self, values: Row) -> list[Row]:
        for name in ("access_purged_until", "refresh_purged_until"):
            until = max(getattr(self._state, name), values[f"{name}_now"])
            setattr(self._state, name, until)
        return [{"singleton": 1}]

    def _over(self, before: int) -> list[str]:
        rows = self._state.rows.values()
        newest = max((row.commit_order or 0 for row in rows), default=0)
        return [
            row.jti
            for row in rows
            if row.expires_at < before and (row.commit_order is None or row.commit_order < newest)
        ]

    async def _change_identity(self, values: Row) -> list[Row]:
        self._state.database_id = values["database_id"]
        self._state.access_purged_until = values["access_purged_until"]
        self._state.refresh_purged_until = values["refresh_purged_until"]
        self._state.issued_until = values["issued_until"]
        return []

    async def _find_login(self, values: Row) -> list[Row]:
        for client_id, client in self._state.clients.items():
            if client.key.digest == values["digest"]:
                era = self._state.rows.get(client_id)
                return [
                    {
                        "is_known": True,
                        "id": client_id,
                        "scopes": "",
                        "disabled_at": client.disabled_at,
                        "login_limit": None,
                        "session_limit": None,
                        "key_id": client.key.id,
                        "expires_at": None,
                        "revoked_at": client.revoked_at,
                        "era": era.revoked_at if era else 0,
                    }
                ]
        return [{"is_known": False, "id": values["digest"], "era": 0}]

    async def _spend(self, values: Row) -> list[Row]:
        if values["jti"] in self._state.rows or not self._state.goes_on(values):
            return []
        spent = Ended(
            values["jti"], "spent", values["revoked_at"], None, values["expires_at"], None
        )
        self._state.rows[spent.jti] = spent
        return [{"revoked_at": values["revoked_at"], "key_expires_at": None}]

    async def _find_spent(self, values: Row) -> list[Row]:
        row = self._state.rows.get(values["jti"])
        if row is None:
            return []
        return [
            {
                "revoked_at": row.revoked_at,
                "successor_is_spent": values["successor_jti"] in self._state.rows,
                "session_goes_on": self._state.goes_on(values),
                "key_expires_at": None,
            }
        ]


def row_of(values: Row, issued_until: int) -> Ended:
    """So late that it holds for whatever may have been issued."""
    return Ended(
        values["ended_id"],
        values["reason"],
        values["revoked_at"],
        max(values["access_expires_at"], issued_until + values["access_seconds"]),
        max(values["expires_at"], issued_until + values["session_seconds"]),
        commit_order=None,
        ended_by=values["ended_by"],
    )


def written(row: Ended) -> Row:
    return {"revoked_at": row.revoked_at, "access_expires_at": row.access_expires_at}


def begin_era(state: State, row: Ended, number: int) -> Ended:
    """The insert or update of an era, as `endings` writes it."""
    row = row._replace(commit_order=number)
    if former := state.rows.get(row.jti):
        row = row._replace(
            revoked_at=max(row.revoked_at, former.revoked_at + endings.ERA_STEP),
            access_expires_at=max(row.access_expires_at or 0, former.access_expires_at or 0),
            expires_at=max(row.expires_at, former.expires_at),
        )
    state.rows[row.jti] = row
    return row


@dataclass(frozen=True)
class Parts:
    """The classes that are put together; a mutant of one lacks a rule."""

    clocks: type[Clocks] = Clocks
    revocations: type[Revocations] = Revocations
    client_cache: type[ClientCache] = ClientCache
    sessions: type[Sessions] = Sessions
    issuing: type[Issuing] = Issuing
    purge: Callable[[Database, float, float], Awaitable[int]] = purging.purge


class Worker:
    """A process that serves. `lead` is by how much its wall clock is ahead of the true time."""

    def __init__(
        self, cluster: Cluster, parts: Parts, lead: float = 0, is_shared: bool = True
    ) -> None:
        self.link = Link(cluster)
        self.lead = lead
        self.reading: asyncio.Task[None] | None = None
        self._cluster = cluster
        self.tokens = Tokens(
            [SECRET], "auth-api", "auth-api", ACCESS_SECONDS, SESSION_SECONDS, LEEWAY, self.wall
        )
        self.clocks = parts.clocks(self.wall, cluster.world.steady)
        self.database = cast(Database, self.link)
        self.revocations = parts.revocations(
            self.database,
            ACCESS_SECONDS,
            LEEWAY,
            MAX_AGE,
            is_shared=is_shared,
            clocks=self.clocks,
            serve=self.tokens.serve,
            tell=lambda: None,
            late_seconds=0,  # else what is asked here and now would have to wait
        )
        count, unlimited = SharedCount("memory://"), "1000000000/second"
        self.client_authentication = ClientAuthentication(
            parts.client_cache(self.database, self.revocations),
            self.revocations,
            FailedLogins(count, unlimited, unlimited),
            Assertions(self.database, self.clocks, {"auth-api"}, LEEWAY),
        )
        self.sessions = parts.sessions(
            self.database,
            self.tokens,
            self.revocations,
            self.client_authentication,
            ClientKeyUses(self.database),
            ClientLimits(self.database, ClientLogins(count, unlimited)),
            parts.issuing(self.database),
            grace_seconds=10,
        )

    def wall(self) -> float:
        return self._cluster.world.now() + self.lead

    async def read(self) -> None:
        """As the service does it again and again: a fault is left to the next time."""
        try:
            await self.revocations.read()
        except TemporarilyUnavailable:
            pass

    def accepts(self, access_token: str) -> bool:
        """Whether a request with it would be let in now; a 503 does not."""
        try:
            at_once(self.sessions.check(access_token))
        except (InvalidToken, TemporarilyUnavailable):
            return False
        return True

    def would_refresh(self, refresh_token: str) -> bool:
        try:
            claims = self.tokens.verify(REFRESH, refresh_token)
        except InvalidToken:
            return False
        return claims.exp > self.wall() and self._cluster.state.goes_on(claims._asdict())

    def would_log_in(self, client_key: str) -> bool:
        try:
            at_once(self.client_authentication.judge(client_key, self.wall()))
        except (InvalidClient, TemporarilyUnavailable):
            return False
        return True

    def claims_of(self, access_token: str) -> Claims:
        return self.tokens.read(ACCESS, access_token)


def at_once(action: Coroutine[Any, Any, T]) -> T:
    """The result of what has nothing to wait for."""
    try:
        action.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    action.close()
    raise AssertionError("it waits")


class Operator:
    """Runs commands, by the clock of a machine that is ahead of the true time by `lead`."""

    def __init__(self, cluster: Cluster) -> None:
        self.link = Link(cluster)
        self.lead = 0.0
        self._cluster = cluster

    def wall(self) -> float:
        return self._cluster.world.now() + self.lead

    def register(self) -> str:
        client_id = new_client_id()
        self._cluster.state.clients[client_id] = Registered(new_client_key())
        return client_id

    async def close(self, client_id: str, whole: bool) -> None:
        """Disable the client, or revoke its key, as `registry` and `key_registry` do."""
        now = self.wall()
        registered = self._cluster.state.clients[client_id]
        ended_id = client_id if whole else registered.key.id

        issued_until = self._cluster.state.issued_until
        told = endings.Ending(endings.REGISTRY_VERSION, "changed", now, 0, 0)
        ending = endings.ending_by_operator(ended_id, "by the operator", now)
        tells, ends = (row_of(each.values(), issued_until) for each in (told, ending))

        def write(number: int) -> None:
            state = self._cluster.state
            state.rows[tells.jti] = tells._replace(commit_order=number)
            client = state.clients[client_id]
            if whole:
                client.disabled_at = now
                begin_era(state, ends, number)
            else:
                client.revoked_at = now
                state.rows.setdefault(ended_id, ends._replace(commit_order=number))

        await self._cluster.write(
            {endings.REGISTRY_VERSION, ended_id}, write, is_late=self.link.is_late
        )
        await settled()

    async def end_all_sessions(self) -> None:
        database = cast(Database, self.link)
        await database_identity.change_identity(database, new_database_id(), int(self.wall()))
        await settled()


async def settled() -> None:
    """What every command waits for before it says that it is done."""
    await asyncio.sleep(MAX_AGE + TIMER_SECONDS)
