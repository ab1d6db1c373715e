"""A request is judged from the copy while that is fresh, else by the database, else not at all."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from authapi.clocks import steady_clock
from authapi.credentials.claims import Claims
from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.revocations import LATE_SECONDS, Revocations
from authapi.store import database_identity
from authapi.store import sessions as store
from authapi.store.following import Ended
from settings import Settings
from tests.conftest import DATABASE_ID, NOW, Clock
from tests.copies import copy_of, end
from tests.counting import CountingDatabase
from tests.sqlite import opened

MAX_AGE = 0.5
TOKEN_SECONDS = 910
KEEP = TOKEN_SECONDS + MARGIN_SECONDS
CLAIMS = Claims(
    "client", "session", "token", "key", "", NOW - 5, int(NOW), int(NOW) + 900, DATABASE_ID
)

Action = Callable[[Database, Revocations], Awaitable[None]]


@pytest.fixture
def steady() -> Clock:
    return Clock()


@pytest.fixture
def run(settings: Settings, clock: Clock, steady: Clock) -> Callable[[Action], None]:
    def run(action: Action) -> None:
        async def with_copy() -> None:
            async with Database(settings.database_url) as database:
                copy = copy_of(database, clock, steady)
                await copy.read()
                await action(database, copy)

        asyncio.run(with_copy())

    return run


def ending(ended_id: str, revoked_at: float) -> Ended:
    return Ended(ended_id, revoked_at, int(revoked_at) + 900)


def write(database_file: Path, jti: str, revoked_at: float, order: int | None = 1) -> None:
    with opened(database_file) as database:
        over = int(revoked_at) + 900
        row = (jti, "by hand", revoked_at, over, order, over)
        database.execute("INSERT INTO revoked_jtis VALUES (?, ?, ?, ?, ?, ?, NULL)", row)


def test_a_fresh_copy_asks_nothing(
    run: Callable[[Action], None], database_file: Path, steady: Clock
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        write(database_file, "session", NOW)
        steady.advance(MAX_AGE - 0.001)
        assert not await copy.is_ended(CLAIMS)
        database_file.unlink()
        assert not await copy.is_ended(CLAIMS)

    run(action)


def test_a_stale_copy_asks_the_database(
    run: Callable[[Action], None], database_file: Path, steady: Clock
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        steady.advance(MAX_AGE)
        assert not await copy.is_ended(CLAIMS)
        write(database_file, "session", NOW)
        assert await copy.is_ended(CLAIMS)

    run(action)


class Late(CountingDatabase):
    """Its readings wait until they may go on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def fetch_on(self, *arguments: Any) -> Any:
        await self.goes_on.wait()
        return await super().fetch_on(*arguments)


@pytest.mark.parametrize("ends", [True, False], ids=["that ends", "that hangs"])
def test_who_comes_while_a_late_reading_goes_on_waits_for_it(
    settings: Settings, clock: Clock, steady: Clock, ends: bool
) -> None:
    """And asks the database only where that does not end soon."""

    async def act() -> None:
        async with Late(settings.database_url) as database:
            copy = copy_of(database, clock, steady)
            await copy.read()
            await end(database, "session")
            steady.advance(MAX_AGE)
            database.goes_on.clear()
            database.asked.clear()
            reading = asyncio.create_task(copy.read())
            await asyncio.sleep(0)
            check = asyncio.create_task(copy.is_ended(CLAIMS))
            await asyncio.sleep(LATE_SECONDS / 5)
            assert not check.done()
            if ends:
                database.goes_on.set()
            assert await check
            assert len(database.asked) == (0 if ends else 1)
            database.goes_on.set()
            await reading

    asyncio.run(asyncio.wait_for(act(), 30))


def test_a_late_reading_that_finds_another_database_ends_who_waits_for_it(
    settings: Settings, clock: Clock, steady: Clock
) -> None:
    """The token was verified before, as one of the database that there was."""

    async def act() -> None:
        async with Late(settings.database_url) as database:
            copy = copy_of(database, clock, steady)
            await copy.read()
            await database_identity.change_identity(database, "f" * 16, int(NOW))
            steady.advance(MAX_AGE)
            database.goes_on.clear()
            reading = asyncio.create_task(copy.read())
            await asyncio.sleep(0)
            check = asyncio.create_task(copy.is_ended(CLAIMS))
            await asyncio.sleep(0)
            database.goes_on.set()
            assert await check
            await reading
            assert copy.are_fresh()

    asyncio.run(asyncio.wait_for(act(), 30))


def test_a_stale_copy_without_its_database_judges_nobody(
    run: Callable[[Action], None], database_file: Path, steady: Clock
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        write(database_file, "session", NOW)
        await copy.read()
        database_file.unlink()
        steady.advance(MAX_AGE)
        for claims in (CLAIMS, Claims("c", "s", "t", "k", "", 0, 1, 2, DATABASE_ID)):
            with pytest.raises(TemporarilyUnavailable):
                await copy.is_ended(claims)
        with pytest.raises(TemporarilyUnavailable):
            await copy.read()

    run(action)


def test_the_age_of_the_copy_counts_from_when_its_poll_began(
    run: Callable[[Action], None], database_file: Path, steady: Clock
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        poll = asyncio.create_task(copy.read())
        await asyncio.sleep(0)
        steady.advance(MAX_AGE)  # while the question is under way
        await poll
        write(database_file, "session", NOW)
        assert await copy.is_ended(CLAIMS)

    run(action)


@pytest.mark.parametrize(
    ("jti", "revoked_at", "ends"),
    [
        ("token", NOW, True),
        ("session", NOW, True),
        ("key", NOW, True),
        ("client", NOW - 4.9, True),
        ("client", NOW - 5, False),
        ("client", NOW - 6, False),
        ("other", NOW, False),
    ],
)
@pytest.mark.parametrize("source", ["load", "poll", "own write", "database"])
def test_a_row_ends_a_token_by_its_ids_or_its_era(
    run: Callable[[Action], None],
    database_file: Path,
    steady: Clock,
    jti: str,
    revoked_at: float,
    ends: bool,
    source: str,
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        if source == "own write":
            await copy.enforce(ending(jti, revoked_at))
        else:
            write(database_file, jti, revoked_at)
        if source == "load":
            await copy.read()
        if source == "poll":
            await copy.read()
        if source == "database":
            steady.advance(MAX_AGE)
        assert await copy.is_ended(CLAIMS) == ends

    run(action)


def test_a_start_loads_only_what_can_still_matter(
    run: Callable[[Action], None], database_file: Path, settings: Settings
) -> None:
    write(database_file, "old", NOW - KEEP)
    write(database_file, "recent", NOW - KEEP + 2)
    write(database_file, "spent", NOW, None)

    async def action(database: Database, copy: Revocations) -> None:
        assert len(copy.entries) == 1

    run(action)


def test_a_poll_reads_what_was_committed_since_and_no_spent_token(
    run: Callable[[Action], None], settings: Settings
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        for number in range(10):
            await end(database, f"session-{number}")
            await copy.read()
            assert len(copy.entries) == number + 1
        claims = Claims("client", "session", "spent", "key", "", 0, 1, int(NOW) + 9, DATABASE_ID)
        await store.spend(database, claims, NOW)
        await copy.read()
        assert len(copy.entries) == 10

    run(action)


def test_a_row_is_forgotten_once_no_token_can_match_it(
    run: Callable[[Action], None], clock: Clock, steady: Clock
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        for seconds, jti in ((0, "first"), (5, "second"), (10, "first")):
            for each in (clock, steady):
                each.now = NOW + seconds
            await copy.enforce(ending(jti, clock.now))
        for seconds, left in ((KEEP + 4, 2), (KEEP + 5, 1), (KEEP + 9, 1), (KEEP + 10, 0)):
            for each in (clock, steady):
                each.now = NOW + seconds
            await copy.read()
            assert len(copy.entries) == left, seconds

    run(action)


def test_a_poll_does_not_bring_back_an_earlier_era(
    run: Callable[[Action], None], database_file: Path
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        await copy.enforce(ending("client", NOW))
        write(database_file, "client", NOW - 6)
        await copy.read()
        assert await copy.is_ended(CLAIMS)

    run(action)


def test_what_is_ended_during_a_whole_reading_is_not_lost_by_it(
    settings: Settings, clock: Clock, steady: Clock
) -> None:
    """Though the reading may have begun before that was committed."""

    async def run() -> None:
        async with Database(settings.database_url) as database:
            copy = copy_of(database, clock, steady)
            reading = asyncio.create_task(copy.read())
            await asyncio.sleep(0)  # it has begun
            await copy.enforce(ending("session", NOW))
            await reading
            assert await copy.is_ended(CLAIMS)

    asyncio.run(run())


def test_a_log_out_waits_for_the_copies_of_others(settings: Settings) -> None:
    async def run() -> None:
        database = Database(settings.database_url)
        for is_shared, max_age in ((False, 60), (True, 0.05)):
            copy = copy_of(database, Clock(), Clock(), max_age, is_shared)
            began = asyncio.get_running_loop().time()
            await copy.enforce(ending("session", NOW))
            took = asyncio.get_running_loop().time() - began
            assert took >= 0.05 if is_shared else took < 30

    asyncio.run(run())


def test_the_steady_clock_goes_on() -> None:
    assert 0 <= steady_clock() - steady_clock() + 1 <= 1


def test_a_database_without_an_identity_is_not_judged_by(
    run: Callable[[Action], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def action(database: Database, copy: Revocations) -> None:
        await database.fetch_all("DELETE FROM identity")
        with pytest.raises(TemporarilyUnavailable) as refused:
            await copy.read()
        assert "end-all-sessions" in str(refused.value.__cause__)
        assert [record.message for record in caplog.records] == ["database_unreachable"]
        await database_identity.change_identity(database, DATABASE_ID, int(NOW))
        await copy.read()

    run(action)


class Standby(Database):
    """Of a primary that has become one under its connections."""

    async def fetch_on(self, *asked: Any) -> list[Mapping[str, Any]]:
        rows = await super().fetch_on(*asked)
        return [{**dict(row), "is_standby": row["jti"] is None} for row in rows]


def test_a_standby_is_not_read_from(settings: Settings) -> None:
    async def act() -> None:
        async with Standby(settings.database_url) as database:
            with pytest.raises(TemporarilyUnavailable) as refused:
                await copy_of(database, Clock(), Clock()).read()
            assert "standby" in str(refused.value.__cause__)

    asyncio.run(act())
