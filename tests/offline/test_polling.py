"""How often a verifier asks: one poll at a time, never in a loop, and one login for each."""

import time
from itertools import pairwise

from tests import signing
from tests.conftest import DATABASE_ID
from tests.offline.conftest import Start
from tests.offline.driving import ACCEPTED, REFUSED, UNAVAILABLE
from tests.offline.feed import Exchange, Feed, kid_of


def make_no_answer(exchange: Exchange) -> None:
    exchange.status, exchange.body = 503, {"error": "temporarily_unavailable"}


def test_it_holds_a_poll_for_nearly_half_of_the_lease(feed: Feed, start: Start) -> None:
    feed.lease = 0.4
    start(lease=20).until_status(state="fresh")
    feed.wait_for("/revocations", 4)
    waits = [float(each.query["wait"]) for each in feed.seen if "after" in each.query][1:]
    assert all(0.16 <= wait <= 0.2 for wait in waits)
    assert len(set(waits)) > 1


def test_it_holds_none_for_longer_than_the_service_allows(feed: Feed, start: Start) -> None:
    feed.lease = 60
    start().until_status(state="fresh")
    feed.wait_for("/revocations")
    assert feed.seen[-1].query["wait"] == "5.000"


def test_no_poll_begins_while_another_is_held(feed: Feed, start: Start) -> None:
    held: list[int] = []

    def note(exchange: Exchange) -> None:
        held.append(feed.count("/revocations") - len(feed.exchanges))

    feed.twist = note
    start().until_status(state="fresh")
    for number in range(20):
        feed.end(f"session-{number}")
        time.sleep(0.02)
    assert set(held) == {1}


def test_each_has_a_nonce_of_its_own(feed: Feed, start: Start) -> None:
    feed.hasten()
    start(lease=20).until_status(state="fresh")
    feed.wait_for("/revocations", 4)
    nonces = [exchange.nonce for exchange in feed.exchanges]
    assert len(set(nonces)) == len(nonces)


def test_a_proxy_that_ends_polls_early_makes_no_loop(feed: Feed, start: Start) -> None:
    feed.longest_wait, feed.lease = 0, 0.4
    verifier = start(lease=20)
    verifier.until_status(state="fresh")
    feed.wait_for("/revocations")
    before = feed.count("/revocations")
    time.sleep(0.6)
    assert feed.count("/revocations") - before <= 4
    assert verifier.status()["state"] == "fresh"


def test_faults_are_retried_at_a_pace(feed: Feed, start: Start) -> None:
    feed.twist = make_no_answer
    start()
    feed.wait_for("/revocations", 6)
    times = [each.at for each in feed.seen if each.path == "/revocations"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for gap, pause in zip(gaps, (0.05, 0.1, 0.2, 0.4, 0.4), strict=False):
        assert gap >= pause / 2 - 0.005
        assert gap <= pause * 1.5 + 0.5  # and some for a machine that is busy


def test_at_most_one_login_goes_before_a_poll_and_none_without_need(
    feed: Feed, start: Start
) -> None:
    feed.hasten()
    verifier = start(lease=20)
    verifier.until_status(state="fresh")
    feed.wait_for("/revocations", 2)
    assert feed.count("/login") == 1
    feed.token_number += 1  # the service knows the verifier's token no more
    feed.wait_for("/login")
    verifier.until_status(state="fresh", last_fault="")
    assert feed.count("/login") == 2
    feed.twist = lambda exchange: setattr(exchange, "status", 403)
    feed.wait_for("/revocations", 4)
    paths = [each.path for each in feed.seen if each.path != "/.well-known/jwks.json"]
    assert ("/login", "/login") not in pairwise(paths)


def test_it_logs_in_anew_before_its_own_token_is_over(feed: Feed, start: Start) -> None:
    feed.hasten()
    verifier = start(lease=20)
    verifier.until_status(state="fresh")
    verifier.ask("move", steady=800)
    feed.wait_for("/login")
    verifier.until_status(state="fresh")
    assert all(exchange.status == 200 for exchange in feed.exchanges)


def test_a_login_that_was_refused_is_not_repeated_at_once(feed: Feed, start: Start) -> None:
    """Or the service would shut out the address, with all that log in from there."""
    feed.login = (401, {"error": "invalid_client"})
    verifier = start()
    verifier.until_status(state="empty", last_fault="logging in: 401 invalid_client")
    time.sleep(0.6)
    assert feed.count("/login") == 1
    feed.login = (200, {"expires_in": 900})
    verifier.ask("move", steady=5)
    verifier.until_status(state="fresh")


def test_a_login_that_met_an_outage_is_repeated(feed: Feed, start: Start) -> None:
    feed.login = (503, {"error": "temporarily_unavailable"})
    verifier = start()
    feed.wait_for("/login", 3)
    feed.login = (200, {"expires_in": 900})
    verifier.until_status(state="fresh")


# The public keys


def test_a_key_that_is_no_longer_in_force_opens_nothing(
    feed: Feed, start: Start, key: signing.ES256
) -> None:
    verifier, token = start(), signing.token(key)
    verifier.until_accepted(token)
    feed.in_force = []
    feed.news()
    verifier.until_refused(token, seconds=1)


def test_a_new_key_is_loaded_when_the_feed_names_it(
    feed: Feed, start: Start, key: signing.ES256
) -> None:
    verifier = start(patience=10)
    assert verifier.verify(signing.token(key)) == ACCEPTED
    new = signing.ES256(kid="new")
    token = signing.token(new)
    assert verifier.judge(token) == REFUSED
    feed.keys.append(new)
    feed.in_force = [kid_of(key), kid_of(new)]
    feed.news()
    verifier.until_accepted(token)
    assert verifier.judge(signing.token(key)) == ACCEPTED
    assert feed.count("/.well-known/jwks.json") == 2


def test_a_key_that_is_in_force_and_cannot_be_loaded_makes_its_tokens_unavailable(
    feed: Feed, start: Start, key: signing.ES256
) -> None:
    """They are refused by nobody; and the keys are not asked for in a loop."""
    verifier, token = start(), signing.token(key)
    verifier.until_accepted(token)
    new, feed.keys_status = signing.ES256(kid="new"), 503
    feed.in_force = [kid_of(key), kid_of(new)]
    for number in range(20):
        feed.end(f"session-{number + 2}")
        time.sleep(0.05)
    verifier.until_status(entries=20, last_fault="loading keys: 503")
    assert verifier.verdicts("judge", token, signing.token(new)) == [ACCEPTED, UNAVAILABLE]
    assert verifier.judge(signing.token(new, alg="RS256")) == REFUSED
    assert verifier.judge(signing.token(signing.ES256(kid="newer"))) == REFUSED
    assert 2 <= feed.count("/.well-known/jwks.json") <= 4
    feed.keys.append(new)
    feed.keys_status = 200
    verifier.until_accepted(signing.token(new))


def test_an_algorithm_that_is_not_on_the_list_opens_nothing(
    feed: Feed, start: Start, key: signing.ES256
) -> None:
    rs, ed = signing.RS256(), signing.Ed25519()
    feed.keys += [rs, ed]
    feed.in_force = [kid_of(each) for each in feed.keys]
    verifier = start(algorithms=["ES256", "Ed25519"])
    verifier.until_accepted(signing.token(key))
    tokens = [signing.token(each) for each in (rs, ed)]
    assert verifier.verdicts("judge", *tokens) == [REFUSED, ACCEPTED]
    assert feed.count("/.well-known/jwks.json") == 1


def test_a_key_of_another_database_opens_nothing(
    feed: Feed, start: Start, key: signing.ES256
) -> None:
    verifier = start()
    verifier.until_accepted(signing.token(key))
    other = signing.token(key, kid=f"es.{DATABASE_ID[::-1]}")
    assert verifier.judge(other) == REFUSED
