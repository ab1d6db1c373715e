"""Both verifiers, installed, beside the real service: what ends there ends here, in time."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.forge import header_of
from tests.offline.driving import ACCEPTED, REFUSED, UNAVAILABLE, Driver, Process, drive
from tests.offline.service import Service, serve_it

LEASE_SECONDS = 1.5
"""As the service has it: after a log-out, no verifier accepts the token for longer."""
SLACK_SECONDS = 0.1
"""Between the end of a check here and of the one that came just before, there."""
PICK_UP_SECONDS = 1.0
"""Until workers know of a changed file of signing keys."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve_it(tmp_path_factory.mktemp("followed")) as service:
        yield service


@pytest.fixture(scope="module")
def both(service: Service, installed: dict[str, Process]) -> Iterator[list[Driver]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(drive(process, patience=10, **service.options))
            for process in installed.values()
        ]


def accepted_by(verifiers: list[Driver], service: Service) -> str:
    """A new token, which each of them accepts."""
    token = service.log_in()
    for verifier in verifiers:
        assert verifier.verify(token) == ACCEPTED
    return token


def last_acceptance(verifiers: list[Driver], token: str) -> float:
    """When the last check began that was one, by a steady clock. All have to refuse it then."""
    accepted, give_up = time.monotonic(), time.monotonic() + 10
    for verifier in verifiers:
        while True:
            began = time.monotonic()
            assert began < give_up
            if (verdict := verifier.judge(token)) != ACCEPTED:
                assert verdict == REFUSED
                break
            accepted = max(accepted, began)
    return accepted


def test_a_log_out_is_known_before_the_lease_is_over(service: Service, both: list[Driver]) -> None:
    token, other = service.log_in(), service.log_in()
    for verifier in both:
        assert verifier.verdicts("verify", token, other) == [ACCEPTED] * 2
    service.log_out(token)
    answered = time.monotonic()
    assert last_acceptance(both, token) <= answered + LEASE_SECONDS + SLACK_SECONDS
    for verifier in both:
        assert verifier.verdicts("verify", token, other) == [REFUSED, ACCEPTED]


def test_a_log_out_everywhere_ends_all_and_later_sessions_go_on(
    service: Service, both: list[Driver]
) -> None:
    tokens = [service.log_in() for _ in range(2)]
    for verifier in both:
        assert verifier.verdicts("verify", *tokens) == [ACCEPTED] * 2
    service.log_out(tokens[0], everywhere=True)
    last_acceptance(both, tokens[1])
    later = service.log_in()
    for verifier in both:
        assert verifier.verdicts("verify", *tokens, later) == [REFUSED, REFUSED, ACCEPTED]


def test_a_log_out_for_verifiers_is_answered_when_they_know(
    service: Service, both: list[Driver]
) -> None:
    token = accepted_by(both, service)
    service.log_out(token, verifiers=True)
    assert [verifier.judge(token) for verifier in both] == [REFUSED] * 2


def test_a_signing_key_that_is_retired_opens_nothing_and_its_successor_does(
    service: Service, both: list[Driver]
) -> None:
    token = accepted_by(both, service)
    service.manage("new-signing-key", "--now")
    kid = header_of(token)["kid"].partition(".")[0]
    service.manage("retire-signing-key", kid, "--yes")
    ended = time.monotonic()
    longest = PICK_UP_SECONDS + LEASE_SECONDS + SLACK_SECONDS
    assert last_acceptance(both, token) <= ended + longest
    later = service.log_in()
    assert header_of(later)["kid"].partition(".")[0] != kid
    for verifier in both:
        assert verifier.verdicts("verify", token, later) == [REFUSED, ACCEPTED]


def test_a_client_that_is_disabled_follows_nothing_and_then_nothing_is_accepted(
    service: Service, both: list[Driver]
) -> None:
    """The last one, since these verifiers are of no use after it."""
    token = accepted_by(both, service)
    service.manage("disable-client", "verifier", "--yes")
    time.sleep(LEASE_SECONDS + SLACK_SECONDS)
    for verifier in both:
        assert verifier.judge(token) == UNAVAILABLE
        assert verifier.status()["last_fault"] == "logging in: 401 invalid_client"
