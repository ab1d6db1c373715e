"""A verifier is told what it lacks, and for how long it may believe that."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from authapi.credentials.signing_keys import from_jwk, new_jwk
from authapi.engines.database import Database
from authapi.errors import TemporarilyUnavailable, UnknownCursor
from authapi.revocation import cursors
from authapi.revocation.cursors import Cursor
from authapi.revocation.entries import MARGIN_SECONDS
from authapi.revocation.feed import MANY, Feed
from authapi.revocation.pacing import PAUSE_SECONDS, Pacing
from authapi.revocation.revocations import Revocations
from authapi.store import database_identity
from authapi.store.following import Ended
from settings import Settings
from tests.conftest import DATABASE_ID, NOW, Clock
from tests.copies import copy_of, end

LEASE = 1.5
LONG = 60.0
KEEP = 900 + 10 + MARGIN_SECONDS


@dataclass
class Node:
    """A worker that serves verifiers, with a page of three ids."""

    database: Database
    wall: Clock = field(default_factory=Clock)
    steady: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.pacing = Pacing(LEASE, 10, self.steady)
        self.copy: Revocations = copy_of(
            self.database, self.wall, self.steady, tell=self.pacing.tell
        )
        self.feed = Feed(self.copy, self.pacing, LEASE, 900, 10, page_size=3)

    async def revoke(self, *ended_ids: str) -> None:
        for ended_id in ended_ids:
            await self.copy.enforce(Ended(ended_id, NOW, int(NOW) + 900))

    async def cursor(self) -> Cursor:
        return cursors.read((await self.feed.poll(None))["cursor"])


@pytest.fixture
def run(settings: Settings) -> Callable[[Callable[[Node], Awaitable[None]]], None]:
    def run(action: Callable[[Node], Awaitable[None]]) -> None:
        async def act() -> None:
            async with Database(settings.database_url) as database:
                node = Node(database)
                await node.copy.read()
                await action(node)

        asyncio.run(asyncio.wait_for(act(), 30))

    return run


Run = Callable[[Callable[[Node], Awaitable[None]]], None]


def test_without_a_cursor_all_that_is_held_is_told(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.revoke("one", "two")
        told = await node.feed.poll(None)
        assert told.pop("cursor") == f"{DATABASE_ID}-{node.copy.entries.run}.2"
        assert told == {
            "revoked": {"one": NOW, "two": NOW},
            "keys": [],
            "purged_until": int(NOW) - 10,
            "keep": KEEP,
            "lease": LEASE,
            "fresh_for": LEASE,
        }

    run(action)


def test_with_one_only_what_came_since(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.revoke("one")
        cursor = await node.cursor()
        await node.revoke("two")
        told = await node.feed.poll(cursor)
        assert told["revoked"] == {"two": NOW}
        told = await node.feed.poll(cursors.read(told["cursor"]))
        assert told["revoked"] == {}
        assert told["fresh_for"] == LEASE

    run(action)


def test_a_log_out_is_news_once_though_the_next_reading_brings_it_again(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.copy.enforce(await end(node.database, "one"))
        cursor = await node.cursor()
        await node.copy.read()
        assert (await node.feed.poll(cursor))["revoked"] == {}

    run(action)


def test_a_cursor_of_another_worker_is_answered_with_all(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.revoke("one", "two")
        told = await node.feed.poll(Cursor(DATABASE_ID, {"another000": 77}))
        assert told["revoked"] == {"one": NOW, "two": NOW}
        assert told["cursor"] == f"{DATABASE_ID}-{node.copy.entries.run}.2-another000.77"

    run(action)


def test_to_load_anew_tells_all_anew(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.copy.enforce(await end(node.database, "one"))
        cursor = await node.cursor()
        node.wall.advance(100)  # the clock was set
        await node.copy.read()
        told = await node.feed.poll(cursor)
        assert list(told["revoked"]) == ["one"]
        assert len(cursors.read(told["cursor"]).positions) == 2

    run(action)


def test_what_is_too_much_for_an_answer_comes_in_pages_and_holds_for_nothing_till_the_last(
    run: Run,
) -> None:
    async def action(node: Node) -> None:
        await node.revoke(*"abcdefgh")
        cursor, pages = None, []
        for is_last in (False, False, True):
            told = await node.feed.poll(cursor)
            assert ("fresh_for" in told) == is_last
            pages.append("".join(told["revoked"]))
            cursor = cursors.read(told["cursor"])
        assert pages == ["abc", "def", "gh"]
        assert cursor is not None
        assert cursor.positions == {node.copy.entries.run: 8}

    run(action)


def test_a_full_page_that_is_the_last_says_so(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.revoke(*"abc")
        assert "fresh_for" in await node.feed.poll(None)

    run(action)


@pytest.mark.parametrize("database_id", [DATABASE_ID, "f" * 16])
def test_what_this_database_never_said_is_unknown(run: Run, database_id: str) -> None:
    async def action(node: Node) -> None:
        await node.revoke("one")
        position = 2 if database_id == DATABASE_ID else 1
        with pytest.raises(UnknownCursor):
            await node.feed.poll(Cursor(database_id, {node.copy.entries.run: position}))

    run(action)


def test_a_worker_that_lags_reads_before_it_calls_another_database_unknown(run: Run) -> None:
    """Else who heard of it elsewhere would begin anew with what is over."""

    async def action(node: Node) -> None:
        await database_identity.change_identity(node.database, "f" * 16, int(NOW))
        await end(node.database, "one")
        node.steady.advance(0.05)
        poll = asyncio.create_task(node.feed.poll(Cursor("f" * 16, {"another000": 77})))
        await asyncio.sleep(0.01)
        assert not poll.done()
        await node.copy.read()
        assert list((await poll)["revoked"]) == ["one"]

    run(action)


def test_a_worker_that_cannot_read_calls_no_database_unknown(run: Run) -> None:
    async def action(node: Node) -> None:
        feed = Feed(node.copy, node.pacing, 0.02, 900, 10)
        node.steady.advance(0.005)
        with pytest.raises(TemporarilyUnavailable):
            await feed.poll(Cursor("f" * 16, {"another000": 77}))

    run(action)


def test_what_several_lack_is_put_together_once(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.revoke("one")
        told, other = await node.feed.poll(None), await node.feed.poll(None)
        assert told["revoked"] is other["revoked"]
        await node.revoke("two")
        assert len((await node.feed.poll(None))["revoked"]) == 2

    run(action)


def test_the_lease_counts_from_when_the_last_reading_began(run: Run) -> None:
    async def action(node: Node) -> None:
        node.steady.advance(0.5004)
        assert (await node.feed.poll(None))["fresh_for"] == 0.999  # never rounded up
        node.steady.advance(LEASE / 2 - 0.5004)
        assert (await node.feed.poll(None))["fresh_for"] == LEASE / 2
        node.steady.advance(0.001)
        with pytest.raises(TemporarilyUnavailable):
            await node.feed.poll(None)
        await node.copy.read()
        assert (await node.feed.poll(None))["fresh_for"] == LEASE

    run(action)


def test_a_poll_that_was_held_is_worth_what_was_read_meanwhile(run: Run) -> None:
    async def action(node: Node) -> None:
        poll = asyncio.create_task(node.feed.poll(await node.cursor(), LONG))
        await asyncio.sleep(0)
        assert node.feed.held == 1
        node.steady.advance(1)
        await end(node.database, "one")
        await node.copy.read()
        node.steady.advance(0.25)
        told = await poll
        assert list(told["revoked"]) == ["one"]
        assert told["fresh_for"] == LEASE + 1

    run(action)


def test_a_poll_that_was_held_while_readings_failed_is_refused(run: Run) -> None:
    async def action(node: Node) -> None:
        poll = asyncio.create_task(node.feed.poll(await node.cursor(), 0.01))
        await asyncio.sleep(0)
        node.steady.advance(LEASE / 2 + 0.001)
        with pytest.raises(TemporarilyUnavailable):
            await poll

    run(action)


def test_without_a_wait_or_a_cursor_nobody_is_held(run: Run) -> None:
    async def action(node: Node) -> None:
        assert (await node.feed.poll(await node.cursor(), 0))["revoked"] == {}
        assert (await node.feed.poll(None, LONG))["revoked"] == {}

    run(action)


def test_who_lacks_what_has_gone_out_is_not_held(run: Run) -> None:
    async def action(node: Node) -> None:
        cursor = await node.cursor()
        node.steady.advance(PAUSE_SECONDS)
        await node.revoke("one")
        assert not node.pacing.is_due
        assert (await node.feed.poll(cursor, LONG))["revoked"] == {"one": NOW}

    run(action)


def test_who_lacks_what_is_to_go_out_is_held_till_then(run: Run) -> None:
    """Else each log-out of a storm would be an answer to each who asks again at once."""

    async def action(node: Node) -> None:
        await node.revoke("one")
        cursor = await node.cursor()
        for number in range(5):
            await node.revoke(f"more-{number}")
        began = asyncio.get_running_loop().time()
        told = await node.feed.poll(cursor, LONG)
        assert len(told["revoked"]) == 3
        assert asyncio.get_running_loop().time() - began > PAUSE_SECONDS / 2

    run(action)


def test_the_keys_in_force_are_told_and_a_change_of_them_is_news(run: Run) -> None:
    async def action(node: Node) -> None:
        one, two = from_jwk(new_jwk("ES256")), from_jwk(new_jwk("Ed25519"))
        node.feed.use([one, two])
        kids = [f"{key.kid}.{DATABASE_ID}" for key in (one, two)]
        assert (await node.feed.poll(None))["keys"] == kids
        poll = asyncio.create_task(node.feed.poll(await node.cursor(), LONG))
        await asyncio.sleep(0)
        node.feed.use([two])
        assert (await poll)["keys"] == kids[1:]

    run(action)


def test_who_waits_learns_at_once_that_the_database_is_another_one(run: Run) -> None:
    async def action(node: Node) -> None:
        poll = asyncio.create_task(node.feed.poll(await node.cursor(), LONG))
        await asyncio.sleep(0)
        await database_identity.change_identity(node.database, "f" * 16, int(NOW))
        await node.copy.read()
        with pytest.raises(UnknownCursor):
            await poll
        assert (await node.feed.poll(None))["cursor"].startswith("f" * 16)

    run(action)


def test_an_entry_is_kept_as_long_as_the_latest_token_that_it_ends(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.copy.enforce(Ended("long", NOW, int(NOW) + 2_000))
        assert (await node.feed.poll(None))["keep"] == 2_000 + 10 + MARGIN_SECONDS
        cursor = await node.cursor()
        assert (await node.feed.poll(cursor))["keep"] == KEEP

    run(action)


def test_what_the_copy_forgets_stays_dead_by_its_time(run: Run) -> None:
    async def action(node: Node) -> None:
        await node.revoke("one")
        for clock in (node.wall, node.steady):
            clock.advance(KEEP + 1)
        await node.copy.read()
        told = await node.feed.poll(None)
        assert told["revoked"] == {}
        assert told["purged_until"] == int(NOW) + 900 + MARGIN_SECONDS

    run(action)


def test_a_poll_of_who_is_gone_ends(run: Run) -> None:
    async def action(node: Node) -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        poll = asyncio.create_task(node.feed.poll(await node.cursor(), LONG, gone))
        await asyncio.sleep(0)
        assert node.feed.held == 1
        gone.set_result(None)
        await poll
        assert node.feed.held == 0

    run(action)


def test_a_reading_that_is_late_is_waited_for(run: Run) -> None:
    """And not asked for again and again, by who must not judge by an old copy either."""

    async def action(node: Node) -> None:
        cursor = await node.cursor()
        node.steady.advance(LEASE)
        poll = asyncio.create_task(node.feed.poll(cursor))
        await asyncio.sleep(0.01)
        assert not poll.done()
        await end(node.database, "one")
        await node.copy.read()
        assert list((await poll)["revoked"]) == ["one"]

    run(action)


def test_all_who_load_much_at_once_are_answered_the_same(run: Run) -> None:
    """To the byte, so that it is compressed once; and nobody may believe it for longer."""

    async def action(node: Node) -> None:
        feed = Feed(node.copy, node.pacing, LEASE, 900, 10)
        await node.revoke(*(f"id-{number}" for number in range(MANY + 1)))
        told = []
        for _ in range(3):
            node.steady.advance(0.02)
            told.append(await feed.poll(None))
        assert told[0] == told[1] == told[2]
        assert told[0]["fresh_for"] == 1.4

    run(action)
