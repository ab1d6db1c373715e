"""Both verifiers, installed, say of each token of the catalogue what the service says."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests import forge as by_hand
from tests import signing
from tests.attacks.recipes import load
from tests.conftest import NOW
from tests.offline import forging
from tests.offline.driving import ACCEPTED, REFUSED, Driver, Process, drive
from tests.offline.feed import kid_of, serve_feed

CASES = [
    case
    for case in load("tokens.json")
    if forging.opening(case) and "send" not in case["input"] and "known" not in case
]


@pytest.fixture(scope="module")
def both(installed: dict[str, Process]) -> Iterator[list[Driver]]:
    """At a time that stands still, with the keys of the catalogue."""
    with ExitStack() as stack:
        feed = stack.enter_context(serve_feed(forging.CURRENT, forging.PREVIOUS))
        drivers = [
            stack.enter_context(drive(process, feed.url, patience=0, still=NOW))
            for process in installed.values()
        ]
        for driver in drivers:
            driver.until_accepted(token())
        yield drivers


def token(**changes: Any) -> str:
    return signing.token(forging.CURRENT, **changes)


def test_each_token_is_judged_as_the_service_judges_it(both: list[Driver]) -> None:
    forger = forging.PublicKeyForger(NOW, "")
    tokens = [forging.shown(forging.forge(forger, case)) for case in CASES]
    expected = [ACCEPTED if forging.is_accepted(case) else REFUSED for case in CASES]
    for driver in both:
        verdicts = driver.verdicts("verify", *tokens)
        triples = zip(CASES, expected, verdicts, strict=True)
        assert not [(case["id"], got) for case, wanted, got in triples if got != wanted]
    assert len(CASES) > 400
    assert expected.count(ACCEPTED) >= 8


def test_a_public_key_is_no_secret(both: list[Driver]) -> None:
    """An HMAC under each form of the published key, by the name of the key."""
    public = forging.CURRENT.key.public_key()
    header = {"alg": "HS256", "typ": "at+jwt", "kid": kid_of(forging.CURRENT)}
    text = f"{by_hand.segment(header)}.{by_hand.segment(by_hand.ACCESS_CLAIMS)}"
    info = PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(Encoding.PEM, info).decode()
    forged = [by_hand.sign(text, secret) for secret in (pem, pem.strip(), "", "\0")]
    for driver in both:
        assert driver.verdicts("judge", *forged) == [REFUSED] * len(forged)


@pytest.mark.parametrize("era", [0, 1, 1.5, NOW, 1795614000.0, 1795614000.123456, 2**53 - 1])
def test_an_era_is_read_as_the_service_writes_it(both: list[Driver], era: float) -> None:
    for driver in both:
        assert driver.judge(token(era=era)) == ACCEPTED


@pytest.mark.parametrize("text", ["0.10", "00", "+1", "1e3", "1E3", "1.", ".5", "1.00", "1_0"])
def test_an_era_that_is_spelt_otherwise_is_refused(both: list[Driver], text: str) -> None:
    payload = by_hand.decode(token().split(".")[1]).decode().replace('"era":0', f'"era":{text}')
    head = f"{token().split('.')[0]}.{by_hand.encode(payload.encode())}"
    spelt = f"{head}.{by_hand.encode(forging.CURRENT.sign(head.encode()))}"
    for driver in both:
        assert driver.judge(spelt) == REFUSED
