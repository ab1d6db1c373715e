"""The Python verifier in a thread of its own, for services that have no event loop."""

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from auth_api_verifier import Refused, ThreadedVerifier, Unavailable

from tests import signing
from tests.conftest import NOW
from tests.offline.driving import ACCEPTED, UNAVAILABLE, Process, drive
from tests.offline.feed import CLIENT_KEY, Exchange, Feed, honest

OPTIONS: dict[str, Any] = {"wall": lambda: NOW}


def make_no_answer(exchange: Exchange) -> None:
    exchange.status, exchange.body = 503, {}


def make_no_answer_anew(exchange: Exchange) -> None:
    if "after" not in exchange.query:
        make_no_answer(exchange)


def until_state(verifier: ThreadedVerifier, state: str) -> None:
    give_up = time.monotonic() + 10
    while verifier.status()["state"] != state:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_it_judges_as_the_other_does(feed: Feed, key: signing.ES256, from_here: Process) -> None:
    token = signing.token(key)
    with drive(from_here, feed.url, threaded=True, patience=5) as verifier:
        assert verifier.verify(token) == ACCEPTED
        assert verifier.judge(token) == ACCEPTED
        feed.end("session-1")
        verifier.until_refused(token)
        feed.twist = make_no_answer
        verifier.move(60)
        assert verifier.judge(token) == UNAVAILABLE


def test_it_blocks_until_an_answer_comes_and_no_longer_than_its_patience(
    feed: Feed, key: signing.ES256
) -> None:
    feed.twist = make_no_answer
    with ThreadedVerifier(feed.url, CLIENT_KEY, patience=0.3, **OPTIONS) as verifier:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            verifier.verify(signing.token(key))
        assert 0.3 <= time.monotonic() - began < 5
        feed.twist = honest
        until_state(verifier, "fresh")
        assert verifier.verify(signing.token(key)).scopes == []


def test_it_starts_by_itself_and_once_whoever_judges_first(feed: Feed, key: signing.ES256) -> None:
    verifier = ThreadedVerifier(feed.url, CLIENT_KEY, patience=10, **OPTIONS)
    assert not feed.seen
    token = signing.token(key)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: verifier.verify(token), range(8)))
    assert {each.sub for each in claims} == {"client-1"}
    assert feed.count("/login") == 1
    verifier.close()
    verifier.close()
    assert "auth-api-verifier" not in {thread.name for thread in threading.enumerate()}
    assert verifier.verify(token).sub == "client-1"
    verifier.close()


def test_it_can_be_started_before_anybody_judges_and_starts_once(
    feed: Feed, key: signing.ES256
) -> None:
    with ThreadedVerifier(feed.url, CLIENT_KEY, patience=10, **OPTIONS) as verifier:
        verifier.start()
        verifier.start()
        until_state(verifier, "fresh")
        assert verifier.judge(signing.token(key)).sub == "client-1"
    assert feed.count("/login") == 1


def test_a_410_in_the_middle_of_a_check_lets_nothing_through(
    feed: Feed, key: signing.ES256
) -> None:
    """It comes between the look at the lease and the look at what was ended."""
    feed.end("session-1")
    own = threading.get_ident()
    is_due = threading.Event()

    def wall() -> float:
        if threading.get_ident() == own and is_due.is_set():
            feed.twist = make_no_answer_anew
            feed.database_id = "another"
            feed.news()
            until_state(verifier, "empty")
        return NOW

    with ThreadedVerifier(feed.url, CLIENT_KEY, patience=10, wall=wall) as verifier:
        with pytest.raises(Refused):
            verifier.verify(signing.token(key))
        is_due.set()
        with pytest.raises(Refused):
            verifier.judge(signing.token(key))
        with pytest.raises(Unavailable):
            verifier.judge(signing.token(key))


def verify_in_child(verifier: ThreadedVerifier, token: str) -> None:
    assert verifier.verify(token).sub == "client-1"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_was_forked_has_a_thread_of_its_own(feed: Feed, key: signing.ES256) -> None:
    """As by a server that loads the service and forks its workers then."""
    with ThreadedVerifier(feed.url, CLIENT_KEY, patience=10, **OPTIONS) as verifier:
        assert verifier.verify(signing.token(key)).sub == "client-1"
        child = multiprocessing.get_context("fork").Process(
            target=verify_in_child, args=(verifier, signing.token(key))
        )
        child.start()
        child.join(20)
        assert child.exitcode == 0
    assert feed.count("/login") == 2


@pytest.mark.parametrize(
    "wrong", [{"algorithms": ["HS256"]}, {"algorithms": []}, {"lease": 0}], ids=str
)
def test_an_option_that_cannot_be_is_told_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ThreadedVerifier("http://127.0.0.1:1", CLIENT_KEY, **wrong)
