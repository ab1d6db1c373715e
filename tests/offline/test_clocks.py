"""No clock that is wrong, set or asleep brings a token back, and what is held is bounded."""

from typing import Any

import pytest

from tests import signing
from tests.conftest import NOW
from tests.offline.conftest import Start
from tests.offline.driving import ACCEPTED, REFUSED, UNAVAILABLE, Driver
from tests.offline.feed import Exchange, Feed, honest

YEAR = 31_536_000


def make_no_answer(exchange: Exchange) -> None:
    exchange.status, exchange.body = 503, {"error": "temporarily_unavailable"}


def issued(key: signing.ES256, at: int = 0, **changes: Any) -> str:
    """A token of the 15 minutes from then on; `at` is in seconds from the start of the test."""
    times = {"iat": int(NOW) + at, "exp": int(NOW) + at + 900}
    return signing.token(key, **times | changes)


def moved(verifier: Driver, feed: Feed, **by: float) -> None:
    """Another answer comes after its clocks have jumped."""
    verifier.ask("move", **by)
    feed.wait_for("/revocations", 2)
    verifier.until_status(state="fresh")


@pytest.fixture
def following(feed: Feed, start: Start, key: signing.ES256) -> Driver:
    """A verifier that knows the keys. It asks often, and believes for as long as a test takes."""
    feed.hasten()
    verifier = start(lease=60)
    verifier.until_accepted(issued(key, sid="any"))
    return verifier


# The wall clock


def test_a_token_that_is_remembered_is_judged_anew_by_the_clock(
    feed: Feed, following: Driver, key: signing.ES256
) -> None:
    token = issued(key)
    assert following.judge(token) == ACCEPTED
    moved(following, feed, wall=905)
    assert following.judge(token) == ACCEPTED
    moved(following, feed, wall=6)
    assert following.judge(token) == REFUSED


def test_a_token_of_the_future_or_of_a_longer_life_is_refused(
    following: Driver, key: signing.ES256
) -> None:
    tokens = [issued(key, 5), issued(key, 30), issued(key, exp=int(NOW) + 901)]
    assert following.verdicts("judge", *tokens) == [ACCEPTED, REFUSED, REFUSED]


def test_a_clock_that_is_set_back_revives_no_token_that_had_expired(
    feed: Feed, following: Driver, key: signing.ES256
) -> None:
    token = issued(key)
    moved(following, feed, wall=911)
    assert following.verdicts("judge", token, issued(key, 900)) == [REFUSED, ACCEPTED]
    moved(following, feed, wall=-900)
    assert following.judge(token) == REFUSED


@pytest.mark.parametrize("seconds", [YEAR, -YEAR], ids=["ahead", "back"])
def test_a_clock_that_is_set_and_set_right_revives_nothing(
    feed: Feed, following: Driver, key: signing.ES256, seconds: int
) -> None:
    ended, alive = issued(key), issued(key, sid="session-2")
    feed.end("session-1")
    following.until_refused(ended)
    moved(following, feed, wall=seconds)
    feed.end("another")
    feed.wait_for("/revocations", 2)
    moved(following, feed, wall=-seconds)
    assert following.verdicts("judge", ended, alive) == [REFUSED, ACCEPTED]


# Forgetting


@pytest.mark.parametrize("clock", ["wall", "steady"])
def test_nothing_is_forgotten_by_one_clock_alone(
    feed: Feed, following: Driver, key: signing.ES256, clock: str
) -> None:
    feed.end("session-1")
    following.until_status(entries=1)
    moved(following, feed, **{clock: 100_000.0})
    assert following.status()["entries"] == 1


def test_what_is_forgotten_stays_dead_by_whatever_clock(
    feed: Feed, following: Driver, key: signing.ES256
) -> None:
    ended, later = issued(key), issued(key, 1000, sid="session-2")
    feed.end("session-1")
    following.until_status(entries=1)
    moved(following, feed, wall=feed.keep + 1, steady=feed.keep + 1)
    following.until_status(entries=0)
    # It was not shown meanwhile, so nothing else remembers that it is over.
    moved(following, feed, wall=-feed.keep)
    assert following.judge(ended) == REFUSED
    moved(following, feed, wall=1000)
    assert following.judge(later) == ACCEPTED


def test_an_entry_is_kept_for_as_long_as_the_longest_that_was_said(
    feed: Feed, following: Driver
) -> None:
    feed.keep = 5000
    feed.end("session-1")
    following.until_status(entries=1)
    feed.keep = 970
    feed.end("session-1")
    feed.wait_for("/revocations", 2)
    moved(following, feed, wall=4900, steady=4900)
    assert following.status()["entries"] == 1
    moved(following, feed, wall=200, steady=200)
    following.until_status(entries=0)


def test_up_to_what_the_service_has_purged_no_token_opens_anything(
    feed: Feed, start: Start, key: signing.ES256
) -> None:
    feed.hasten()
    following = start(lease=60, leeway=500)
    token, later = issued(key, -1000), issued(key, -999, sid="session-2")
    following.until_accepted(token)
    assert following.judge(later) == ACCEPTED
    feed.purged_until = NOW - 100
    feed.end("another", when=NOW - 100)
    following.until_refused(token)
    assert following.judge(later) == ACCEPTED
    feed.purged_until = NOW - 1000
    feed.end("yet-another")
    feed.wait_for("/revocations", 2)
    assert following.judge(token) == REFUSED


def test_after_a_410_the_purges_of_the_other_database_count_no_more(
    feed: Feed, following: Driver, key: signing.ES256
) -> None:
    token = issued(key)
    feed.purged_until = NOW + 5000
    feed.end("another")
    following.until_refused(token)
    feed.purged_until = NOW - 1000
    feed.database_id = "another"
    feed.news()
    following.until_accepted(token)


def test_what_is_held_is_bounded(feed: Feed, following: Driver) -> None:
    """A log-out each two seconds for hours, and no more held than of one token's life."""
    most = 0
    for hour in range(4):
        feed.end(*(f"{hour}-{number}" for number in range(500)), when=NOW + 1000 * hour)
        feed.wait_for("/revocations", 2)
        most = max(most, following.status()["entries"])
        moved(following, feed, wall=1000, steady=1000)
    assert most <= 1000


def test_the_service_bounds_it_for_a_verifier_whose_clock_stands_still(
    feed: Feed, following: Driver
) -> None:
    for hour in range(3):
        feed.end(*(f"{hour}-{number}" for number in range(500)), when=NOW + 1000 * hour)
        feed.purged_until = NOW + 1000 * hour
        feed.wait_for("/revocations", 2)
        moved(following, feed, steady=1000)
    assert following.status()["entries"] <= 1000


# A machine that was suspended


def test_after_a_suspension_nothing_is_accepted_before_an_answer(
    feed: Feed, following: Driver, key: signing.ES256, language: str
) -> None:
    """The steady clock of Node stands still meanwhile, and the wall clock tells of it."""
    feed.twist = make_no_answer
    following.ask("move", **{"python": {"steady": 100.0}, "node": {"wall": 100.0}}[language])
    assert following.judge(issued(key)) == UNAVAILABLE
    assert following.status()["state"] == "stale"
    feed.twist = honest
    following.until_accepted(issued(key))
