"""Empty, fresh and stale: which answers move a verifier, and what it says of a token there."""

import time

import pytest

from tests import signing
from tests.conftest import NOW
from tests.offline.conftest import Start
from tests.offline.driving import ACCEPTED, REFUSED, UNAVAILABLE, Driver
from tests.offline.feed import Exchange, Feed, Twist, honest

SHORT_LEASE = 0.4
LATE_SECONDS = 0.5
"""On its way, and yet an answer: a verifier waits for half of the lease beyond its `wait`."""
TIMER_SECONDS = 0.001
"""Node's timers count milliseconds, and may ring that much sooner by a clock that is more exact."""


@pytest.fixture
def token(key: signing.ES256) -> str:
    return signing.token(key)


def make_no_answer(exchange: Exchange) -> None:
    exchange.status, exchange.body = 503, {"error": "temporarily_unavailable"}


def fresh(start: Start, token: str) -> Driver:
    """A verifier that accepts the token: it has the keys, too."""
    verifier = start()
    verifier.until_accepted(token)
    return verifier


def assert_it_ends_with_the_lease(verifier: Driver, feed: Feed, token: str) -> None:
    """What was believed stands, and not for longer than the last answer but these had said."""
    assert verifier.judge(token) == ACCEPTED
    before = time.monotonic()
    left = verifier.status()["lease_left"]
    assert 0 < left <= feed.good_until() - before
    verifier.move(left)
    assert verifier.status()["state"] == "stale"
    assert verifier.judge(token) == UNAVAILABLE


def cut(exchange: Exchange) -> None:
    exchange.is_cut = True


def with_status(status: int, error: str) -> Twist:
    def twist(exchange: Exchange) -> None:
        exchange.status, exchange.body = status, {"error": error}

    return twist


def of_another_request(exchange: Exchange) -> None:
    exchange.headers["X-Request-ID"] = "an-answer-to-another-one"


def without_a_nonce(exchange: Exchange) -> None:
    del exchange.headers["X-Request-ID"]


def late(exchange: Exchange) -> None:
    exchange.delay = float(exchange.query.get("wait", 0)) + SHORT_LEASE / 2 + 0.1


def no_json(exchange: Exchange) -> None:
    exchange.body = "an error page"  # type: ignore[assignment]


def without_keys(exchange: Exchange) -> None:
    exchange.body.pop("keys")


def of_no_end(exchange: Exchange) -> None:
    exchange.body["fresh_for"] = float("inf")


NO_ANSWERS = [
    cut,
    with_status(400, "invalid_request"),
    with_status(401, "invalid_token"),
    with_status(403, "insufficient_scope"),
    with_status(500, "server_error"),
    with_status(503, "temporarily_unavailable"),
    of_another_request,
    without_a_nonce,
    late,
    no_json,
    without_keys,
    of_no_end,
]
NAMES = ["cut", "400", "401", "403", "500", "503", *(each.__name__ for each in NO_ANSWERS[6:])]


# To be late takes as long as the lease, and has a test of its own.
PROMPT = [twist for twist in NO_ANSWERS if twist is not late]
PROMPT_NAMES = [name for name in NAMES if name != "late"]


# Empty


def test_an_empty_one_waits_for_the_first_answer(feed: Feed, start: Start, token: str) -> None:
    feed.twist = make_no_answer
    verifier = start(patience=10)
    asked = verifier.send("verify", tokens=[token])
    feed.wait_for("/revocations", 3)
    feed.twist = honest
    assert verifier.receive(asked)[0][0] == ACCEPTED


def test_an_empty_one_is_unavailable_after_its_patience(
    feed: Feed, start: Start, token: str
) -> None:
    feed.twist = make_no_answer
    verifier = start(patience=0.3)
    began = time.monotonic()
    assert verifier.verify(token) == UNAVAILABLE
    assert time.monotonic() - began >= 0.3 - TIMER_SECONDS
    assert verifier.judge(token) == UNAVAILABLE
    status = verifier.until_status(last_fault="polling: 503 temporarily_unavailable")
    assert (status["state"], status["lease_left"], status["entries"]) == ("empty", 0, 0)


@pytest.mark.parametrize("twist", NO_ANSWERS, ids=NAMES)
def test_what_is_no_answer_leaves_an_empty_one_empty(
    feed: Feed, start: Start, token: str, twist: Twist
) -> None:
    feed.twist, feed.lease = twist, SHORT_LEASE
    verifier = start(lease=SHORT_LEASE)
    feed.wait_for("/revocations", 2)
    assert verifier.judge(token) == UNAVAILABLE
    status = verifier.status()
    assert status["state"] == "empty"
    assert status["last_fault"]


def test_nothing_is_believed_before_the_last_page(feed: Feed, start: Start, token: str) -> None:
    feed.page_length = 2
    feed.end("a", "b", "c", "d", "session-1")

    def without_the_last(exchange: Exchange) -> None:
        if exchange.body.get("fresh_for"):
            make_no_answer(exchange)

    feed.twist = without_the_last
    verifier = start()
    verifier.until_status(entries=4)
    assert verifier.judge(token) == UNAVAILABLE
    feed.twist = honest
    verifier.until_status(state="fresh", entries=5)
    verifier.until_refused(token)


# Fresh


@pytest.mark.parametrize("id_", ["session-1", "token-1", "key-1"])
def test_what_is_ended_is_refused_as_soon_as_the_feed_tells(
    feed: Feed, start: Start, key: signing.ES256, token: str, id_: str
) -> None:
    verifier = fresh(start, token)
    others = signing.token(key, sid="session-2", jti="token-2", key_id="key-2")
    assert verifier.judge(others) == ACCEPTED
    feed.end(id_)
    verifier.until_refused(token, seconds=1)
    assert verifier.judge(others) == ACCEPTED


def test_all_sessions_of_a_client_end_up_to_an_era(
    feed: Feed, start: Start, key: signing.ES256, token: str
) -> None:
    verifier = fresh(start, token)
    eras = [signing.token(key, era=era) for era in (0, NOW - 5, NOW, NOW + 5)]
    feed.end("client-1", when=NOW)
    verifier.until_refused(token)
    wanted = [REFUSED, REFUSED, ACCEPTED, ACCEPTED]
    assert verifier.verdicts("judge", *eras) == wanted
    feed.end("client-1", when=NOW - 10)
    feed.end("another")
    verifier.until_status(entries=2)
    assert verifier.verdicts("judge", *eras) == wanted


@pytest.mark.parametrize("twist", PROMPT, ids=PROMPT_NAMES)
def test_what_is_no_answer_leaves_it_fresh_until_the_lease_is_over(
    feed: Feed, start: Start, token: str, twist: Twist
) -> None:
    feed.lease = 20
    verifier = fresh(start, token)
    feed.twist = twist
    feed.end("session-1")  # which would be known by an answer
    feed.wait_for("/revocations", 2)
    assert verifier.status()["last_fault"]
    assert_it_ends_with_the_lease(verifier, feed, token)
    assert verifier.verify(token) == UNAVAILABLE


def test_an_answer_that_is_late_is_none(feed: Feed, start: Start, token: str) -> None:
    feed.lease = SHORT_LEASE
    verifier = start(lease=20)
    verifier.until_accepted(token)
    feed.twist = late
    feed.end("session-1")
    verifier.until_status(last_fault="late")
    assert verifier.judge(token) == ACCEPTED
    assert verifier.status()["entries"] == 0


def test_the_lease_counts_from_when_the_request_was_sent(
    feed: Feed, start: Start, token: str
) -> None:
    """The answer is on its way for 0.4 s, and in that time the lease runs."""
    feed.lease = 20
    verifier = fresh(start, token)
    before = len(feed.exchanges)

    def slow_once(exchange: Exchange) -> None:
        if len(feed.exchanges) == before:
            exchange.delay = 0.4
            return
        cut(exchange)

    feed.twist = slow_once
    feed.longest_wait = 0
    feed.end("another")
    verifier.until_status(entries=1)
    assert verifier.status()["lease_left"] <= feed.exchanges[before].body["fresh_for"] - 0.39


def test_what_was_ended_behind_a_late_answer_is_accepted_no_longer_than_the_lease(
    feed: Feed, start: Start, token: str
) -> None:
    """It was true when it was given. The node is frozen then, and nothing more is heard."""
    verifier = fresh(start, token)
    before = len(feed.exchanges)

    def late_and_the_last(exchange: Exchange) -> None:
        if len(feed.exchanges) == before:
            exchange.delay = LATE_SECONDS
        else:
            cut(exchange)

    feed.twist = late_and_the_last
    feed.end("another")
    verifier.until_status(entries=1)
    feed.end("session-1")
    accepted = began = time.monotonic()
    last = feed.exchanges[before]
    while verifier.judge(token) == ACCEPTED:
        accepted, began = began, time.monotonic()
        assert began < last.came + 10
    assert accepted <= last.came + last.body["fresh_for"]
    assert verifier.judge(token) == UNAVAILABLE


def test_an_answer_that_is_older_takes_nothing_of_the_lease(
    feed: Feed, start: Start, token: str
) -> None:
    feed.lease = 20
    verifier = fresh(start, token)
    feed.read_age = 15
    feed.end("another")
    verifier.until_status(entries=1)
    assert verifier.status()["lease_left"] > 10


def test_what_is_held_may_be_believed_no_longer_than_the_answer_says(
    feed: Feed, start: Start, token: str
) -> None:
    feed.read_age = 1.6
    verifier = start()
    feed.wait_for("/revocations", 3)
    assert verifier.judge(token) == UNAVAILABLE
    assert verifier.status()["last_fault"] == "an answer that is too old"


def test_when_the_lease_is_over_it_is_stale_at_once(feed: Feed, start: Start, token: str) -> None:
    feed.lease = 20
    verifier = fresh(start, token)
    feed.twist = make_no_answer
    feed.end("another")
    feed.wait_for("/revocations", 2)
    left = verifier.status()["lease_left"]
    verifier.move(left - 2)
    assert verifier.judge(token) == ACCEPTED
    verifier.move(2)
    assert verifier.judge(token) == UNAVAILABLE


# Stale


def test_a_stale_one_waits_and_accepts_after_an_answer(
    feed: Feed, start: Start, key: signing.ES256, token: str
) -> None:
    verifier = start(patience=10)
    assert verifier.verify(token) == ACCEPTED
    feed.twist = make_no_answer
    verifier.move(60)
    other = signing.token(key, sid="session-2")
    asked = verifier.send("verify", tokens=[token, other])
    feed.end("session-1")
    feed.wait_for("/revocations", 2)
    feed.twist = honest
    assert [verdict for verdict, _ in verifier.receive(asked)] == [REFUSED, ACCEPTED]


def test_patience_never_ends_in_acceptance(feed: Feed, start: Start, token: str) -> None:
    verifier = start(patience=0.3)
    verifier.until_accepted(token)
    feed.twist = make_no_answer
    verifier.move(60)
    began = time.monotonic()
    assert verifier.verify(token) == UNAVAILABLE
    assert time.monotonic() - began >= 0.3 - TIMER_SECONDS


# 410


def test_after_a_410_nothing_is_left_and_all_is_loaded_anew(
    feed: Feed, start: Start, key: signing.ES256, token: str
) -> None:
    feed.lease = 20
    feed.end("session-1", "another")
    verifier = start()
    verifier.until_status(state="fresh", entries=2)
    other = signing.token(key, sid="session-2")
    verifier.until_accepted(other)
    feed.database_id, feed.ended = "another", []
    feed.end("session-3")

    def not_anew(exchange: Exchange) -> None:
        if "after" not in exchange.query:
            make_no_answer(exchange)

    feed.twist = not_anew
    verifier.until_status(state="empty")
    assert verifier.verdicts("judge", token, other) == [UNAVAILABLE] * 2
    assert verifier.status()["entries"] == 0
    feed.twist = honest
    verifier.until_status(state="fresh", entries=1)
    assert verifier.judge(other) == ACCEPTED


# Replays


def test_answers_that_are_replayed_keep_nothing_alive(feed: Feed, start: Start, token: str) -> None:
    verifier = fresh(start, token)
    (first, *_) = feed.exchanges

    def replay(exchange: Exchange) -> None:
        exchange.body, exchange.headers = first.body, first.headers

    feed.twist = replay
    feed.end("session-1")
    feed.wait_for("/revocations", 2)
    assert_it_ends_with_the_lease(verifier, feed, token)
    feed.twist = honest
    verifier.until_refused(token)


# A lease of one's own


def test_a_shorter_lease_is_stricter(feed: Feed, start: Start, token: str) -> None:
    feed.lease = 20
    verifier = start(lease=2)
    verifier.until_accepted(token)
    status = verifier.status()
    assert status["lease_left"] <= 2.1
    assert status["fail_open"] is False
    waits = [float(each.query.get("wait", 0)) for each in feed.seen]
    assert max(waits) <= 1


def test_a_longer_lease_fails_open_and_says_so(feed: Feed, start: Start, token: str) -> None:
    verifier = start(lease=300)
    verifier.until_accepted(token)
    status = verifier.status()
    assert status["lease_left"] > 200
    assert status["fail_open"] is True
    (line,) = verifier.ask("lines")
    assert line.endswith("fresh, but fails open by a lease of 300 s")


# What is told


def test_one_line_tells_of_each_change_and_why(feed: Feed, start: Start, token: str) -> None:
    verifier = fresh(start, token)
    feed.twist = make_no_answer
    verifier.move(60)
    feed.end("another")
    feed.wait_for("/revocations", 3)
    feed.twist = honest
    verifier.until_status(state="fresh", last_fault="")
    lines = [line.removeprefix("auth-api-verifier: ") for line in verifier.ask("lines")]
    assert lines == [
        "fresh",
        "unavailable: no token is accepted: polling: 503 temporarily_unavailable",
        "fresh",
    ]
