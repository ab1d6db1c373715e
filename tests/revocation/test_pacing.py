"""News goes out to all who wait for it together, and not too often."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from authapi.errors import TemporarilyUnavailable
from authapi.revocation.pacing import BATCH, PAUSE_SECONDS, Pacing
from tests.conftest import Clock

LEASE = 1.5
LONG = 60.0


def run(action: Callable[[Pacing, Clock], Awaitable[None]], max_held: int = 10) -> None:
    async def act() -> None:
        steady = Clock()
        await action(Pacing(LEASE, max_held, steady), steady)

    asyncio.run(asyncio.wait_for(act(), 20))


def always() -> bool:
    return True


async def hold(
    pacing: Pacing,
    seconds: float = LONG,
    lacks: Callable[[], bool] = always,
    gone: asyncio.Future[None] | None = None,
) -> None:
    await pacing.hold(seconds, lacks, gone or asyncio.get_running_loop().create_future())


def begin(pacing: Pacing, lacks: Callable[[], bool] = always) -> asyncio.Task[None]:
    return asyncio.create_task(hold(pacing, lacks=lacks))


def test_who_waits_is_answered_when_there_is_news() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        polls = [begin(pacing) for _ in range(3)]
        await asyncio.sleep(0)
        assert pacing.held == 3
        pacing.tell()
        await asyncio.gather(*polls)
        assert pacing.held == 0

    run(action)


def test_who_hears_nothing_is_answered_after_the_wait() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        await hold(pacing, 0.01)
        assert pacing.held == 0

    run(action)


def test_news_that_one_has_already_is_none_to_him() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        news = False
        poll = begin(pacing, lambda: news)
        await asyncio.sleep(0)
        pacing.tell()
        await asyncio.sleep(0.01)
        assert not poll.done()
        news = True
        steady.advance(PAUSE_SECONDS)
        pacing.tell()
        await poll

    run(action)


def test_more_news_goes_out_together_after_a_pause() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        loop = asyncio.get_running_loop()
        pacing.tell()
        assert not pacing.is_due
        poll, began = begin(pacing), loop.time()
        await asyncio.sleep(0)
        for _ in range(3):
            pacing.tell()
        assert pacing.is_due
        await poll
        assert not pacing.is_due
        assert loop.time() - began >= PAUSE_SECONDS - 0.002
        steady.advance(PAUSE_SECONDS)
        pacing.tell()
        assert not pacing.is_due

    run(action)


@pytest.mark.parametrize(("held", "pause"), [(0, 0.1), (250, 0.1), (500, 0.2), (5_000, LEASE / 4)])
def test_the_pause_grows_with_those_who_wait_up_to_a_quarter_of_the_lease(
    held: int, pause: float
) -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        pacing.tell()
        pacing.held = held
        steady.advance(pause - 0.001)
        pacing.tell()
        assert pacing.is_due
        pacing.is_due = False
        steady.advance(0.002)
        pacing.tell()
        assert not pacing.is_due

    run(action)


def test_those_whom_news_just_went_to_count_for_the_pause() -> None:
    """They ask again in a moment, and would all be answered at the next log-out."""

    async def action(pacing: Pacing, steady: Clock) -> None:
        pacing.held = 500
        pacing.tell()
        pacing.held = 0
        steady.advance(0.199)
        pacing.tell()
        assert pacing.is_due

    run(action)


def test_no_more_wait_than_may() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        polls = [begin(pacing) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TemporarilyUnavailable):
            await hold(pacing)
        pacing.tell()
        await asyncio.gather(*polls)
        await hold(pacing, 0.001)

    run(action, max_held=2)


def test_who_goes_away_leaves_room() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        polls = [asyncio.create_task(hold(pacing, gone=gone)), begin(pacing)]
        await asyncio.sleep(0)
        assert pacing.held == 2
        gone.set_result(None)
        await polls[0]
        assert pacing.held == 1
        polls[1].cancel()
        await asyncio.wait(polls)
        assert pacing.held == 0

    run(action)


def test_who_goes_away_when_news_goes_out_is_let_go_once() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        poll = asyncio.create_task(hold(pacing, gone=gone))
        await asyncio.sleep(0)
        gone.set_result(None)
        pacing.tell()
        await poll
        assert pacing.held == 0

    run(action)


def test_many_are_not_let_go_at_once_so_that_others_have_their_turn() -> None:
    async def action(pacing: Pacing, steady: Clock) -> None:
        polls = [begin(pacing) for _ in range(2 * BATCH + 1)]
        await asyncio.sleep(0)
        pacing.tell()
        held = []
        while pacing.held:
            await asyncio.sleep(0)
            held.append(pacing.held)
        assert held == [BATCH + 1, 1, 0]
        await asyncio.gather(*polls)

    run(action, max_held=3 * BATCH)
