"""A clock of the service was ahead and is set right: a verifier recovers, and revives nothing."""

import pytest

from tests import signing
from tests.conftest import NOW
from tests.offline.conftest import Start
from tests.offline.driving import ACCEPTED, REFUSED, Driver
from tests.offline.feed import Exchange, Feed, Twist, honest

AHEAD = NOW + 5000
BEHIND = NOW - 1000
RENEW_EVERY_SECONDS = 60


@pytest.fixture
def tokens(key: signing.ES256) -> list[str]:
    """One that nothing ends, and one that is logged out."""
    return [signing.token(key, sid="session-2"), signing.token(key)]


@pytest.fixture
def following(feed: Feed, start: Start, tokens: list[str]) -> Driver:
    """A verifier that knows of the log-out, and believes for as long as a test takes."""
    feed.hasten()
    feed.end("session-1")
    verifier = start(lease=600)
    verifier.until_accepted(tokens[0])
    return verifier


def tell(feed: Feed, purged_until: float) -> None:
    feed.purged_until = purged_until
    feed.end(f"news-{len(feed.ended)}", when=BEHIND)


def be_told_and_forget(feed: Feed, following: Driver, token: str) -> None:
    """By a worker whose clock is ahead: all that it ends is dropped."""
    tell(feed, AHEAD)
    following.until_refused(token)
    following.ask("move", steady=11)
    tell(feed, AHEAD)
    following.until_status(entries=0)


def whole_answers(feed: Feed) -> int:
    return sum("after" not in exchange.query for exchange in feed.exchanges)


def test_when_the_clock_is_right_again_all_is_loaded_anew(
    feed: Feed, following: Driver, tokens: list[str]
) -> None:
    be_told_and_forget(feed, following, tokens[0])
    assert following.verdicts("judge", *tokens) == [REFUSED, REFUSED]
    tell(feed, BEHIND)
    following.until_accepted(tokens[0])
    assert following.verdicts("judge", *tokens) == [ACCEPTED, REFUSED]


def without_the_last(exchange: Exchange) -> None:
    if exchange.body.get("fresh_for") and exchange.body["revoked"]:
        exchange.status, exchange.body = 503, {}


@pytest.mark.parametrize("kind", ["not the last page", "a replay"])
def test_until_all_has_come_right_now_nothing_is_revived(
    feed: Feed, following: Driver, tokens: list[str], kind: str
) -> None:
    old = feed.exchanges[0]

    def replay(exchange: Exchange) -> None:
        if "after" not in exchange.query:
            exchange.body, exchange.headers = old.body, old.headers

    be_told_and_forget(feed, following, tokens[0])
    feed.page_length = 2
    twists: dict[str, Twist] = {"not the last page": without_the_last, "a replay": replay}
    feed.twist = twists[kind]
    tell(feed, BEHIND)
    feed.wait_for("/revocations", 6)
    assert following.status()["state"] == "fresh"
    assert following.verdicts("judge", *tokens) == [REFUSED, REFUSED]
    feed.twist = honest
    following.until_accepted(tokens[0])
    assert following.verdicts("judge", *tokens) == [ACCEPTED, REFUSED]


def test_what_another_worker_has_told_meanwhile_is_kept(
    feed: Feed, following: Driver, tokens: list[str], key: signing.ES256
) -> None:
    """The one that is asked for all may not know of it yet."""
    token = signing.token(key, sid="session-3")
    assert following.judge(token) == ACCEPTED
    tell(feed, AHEAD)
    following.until_refused(tokens[0])
    feed.end("session-3")
    following.until_status(entries=3)
    feed.ended = [each for each in feed.ended if each[0] != "session-3"]
    tell(feed, BEHIND)
    following.until_accepted(tokens[0])
    assert following.judge(token) == REFUSED


def test_it_loads_all_no_more_than_once_a_minute(
    feed: Feed, following: Driver, tokens: list[str]
) -> None:
    """As where one worker's clock stays wrong, and another's is right."""
    for number in range(3):
        tell(feed, AHEAD)
        following.until_refused(tokens[0])
        tell(feed, BEHIND)
        feed.wait_for("/revocations", 3)
        assert whole_answers(feed) == 2 + (number == 2)
        if number == 1:
            following.ask("move", steady=RENEW_EVERY_SECONDS)
    following.until_accepted(tokens[0])


def test_what_was_purged_in_time_is_no_reason(
    feed: Feed, following: Driver, tokens: list[str]
) -> None:
    """Workers forget each at its own time."""
    for purged_until in (NOW - 10, NOW - 500, NOW - 10):
        tell(feed, purged_until)
        feed.wait_for("/revocations", 2)
    assert whole_answers(feed) == 1
